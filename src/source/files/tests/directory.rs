//! Tests of when files are read, and of what is remembered.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use insta::assert_snapshot;

use super::super::{Directory, Files};
use crate::source::columns::Columns;
use crate::source::reading::Reading;
use crate::source::{Endpoint, Observer, SourceError};
use crate::status::FailureReason;

#[derive(Default)]
struct SetAside(AtomicU64);

impl Observer for SetAside {
    fn request(&self, _: Endpoint, _: Option<u16>, _: Duration) {}
    fn retry(&self) {}
    fn held_back(&self, _: Duration) {}
    fn throttled(&self) {}
    fn token_expires(&self, _: DateTime<Utc>) {}
    fn files_set_aside(&self, files: u64) {
        self.0.store(files, Ordering::Relaxed);
    }
}

struct Bench {
    place: tempfile::TempDir,
    directory: Arc<Directory>,
    set_aside: Arc<SetAside>,
}

impl Bench {
    fn new() -> Self {
        let (place, set_aside) = (tempfile::tempdir().unwrap(), Arc::new(SetAside::default()));
        let directory = Arc::new(Directory::new(place.path().to_owned(), Columns::default(), set_aside.clone()));
        Self { place, directory, set_aside }
    }

    /// A file that was last written so many hours ago.
    fn drop(&self, name: &str, contents: &str, hours: u64) {
        let path = self.place.path().join(name);
        fs::write(&path, contents).unwrap();
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        fs::File::options().append(true).open(path).unwrap().set_modified(then).unwrap();
    }

    /// A reading, and what it read: ids, with a `?` where a session goes on, and rejects.
    async fn read(&self) -> (Reading, Vec<String>) {
        let mut reading = Reading::new(Files::new(self.directory.clone()));
        let mut read = Vec::new();
        while let Some(page) = reading.next_page().await.unwrap() {
            read.extend(page.reports.iter().map(|report| match report.end {
                Some(_) => report.id.to_string(),
                None => format!("{}?", report.id),
            }));
            read.extend(page.rejects.iter().map(ToString::to_string));
        }
        assert!(reading.is_complete() && reading.date().is_none());
        (reading, read)
    }

    /// The same, and all of it becomes durable.
    async fn committed(&self) -> Vec<String> {
        let (reading, read) = self.read().await;
        reading.committed();
        read
    }

    fn set_aside(&self) -> u64 {
        self.set_aside.0.load(Ordering::Relaxed)
    }
}

fn ended(id: &str) -> String {
    format!(r#"{{"id":"{id}","endDateTime":"2026-03-19T12:00:00Z"}}"#)
}

fn going(id: &str) -> String {
    format!(r#"{{"id":"{id}"}}"#)
}

async fn failure(path: &Path) -> SourceError {
    let directory = Directory::new(path.to_owned(), Columns::default(), Arc::new(SetAside::default()));
    Reading::new(Files::new(Arc::new(directory))).next_page().await.err().unwrap()
}

#[tokio::test]
async fn files_are_read_oldest_first_and_again_only_when_they_change() {
    let bench = Bench::new();
    bench.drop("a", &ended("newer"), 1);
    bench.drop("b", &ended("older"), 2);
    assert_eq!(bench.committed().await, ["older", "newer"]);
    assert!(bench.committed().await.is_empty());
    // As long as before, and no newer.
    bench.drop("a", &ended("other"), 1);
    assert_eq!(bench.committed().await, ["other"]);
    fs::remove_file(bench.place.path().join("a")).unwrap();
    assert!(bench.committed().await.is_empty());
    bench.drop("a", &ended("other"), 1);
    assert_eq!(bench.committed().await, ["other"]);
    // Another process has read nothing yet.
    let again = Arc::new(Directory::new(bench.place.path().to_owned(), Columns::default(), bench.set_aside.clone()));
    assert_eq!(Bench { directory: again, ..bench }.committed().await, ["older", "other"]);
}

#[tokio::test]
async fn the_newest_file_tells_how_much_time_has_passed() {
    let bench = Bench::new();
    assert_eq!(bench.read().await.0.written(), Some(DateTime::UNIX_EPOCH));
    bench.drop("a", &ended("a"), 5);
    bench.drop("b", &ended("b"), 9);
    let newest = fs::metadata(bench.place.path().join("a")).unwrap().modified().unwrap();
    for _ in 0..2 {
        assert_eq!(bench.read().await.0.written(), Some(newest.into()));
    }
}

#[tokio::test]
async fn what_was_not_committed_is_read_again() {
    let bench = Bench::new();
    bench.drop("a", &ended("a"), 1);
    bench.drop("bad", "[", 1);
    for _ in 0..2 {
        assert_eq!(bench.read().await.1, ["a"]);
        assert_eq!(bench.set_aside(), 0);
    }
    assert_eq!(bench.committed().await, ["a"]);
    assert_eq!(bench.set_aside(), 1);
    assert!(bench.committed().await.is_empty());
}

#[tokio::test]
async fn files_that_were_read_before_a_failure_need_not_be_read_again() {
    let bench = Bench::new();
    bench.drop("a", &ended("a"), 2);
    bench.drop("b", &ended("b"), 1);
    let mut reading = Reading::new(Files::new(bench.directory.clone()));
    for _ in 0..2 {
        assert_eq!(reading.next_page().await.unwrap().unwrap().rows(), 1);
    }
    // The first file's end was heard on the way to the second's page; the second's was not.
    reading.committed();
    assert_eq!(bench.committed().await, ["b"]);
}

#[tokio::test]
async fn a_bad_file_is_set_aside_until_it_is_mended_or_gone() {
    let bench = Bench::new();
    bench.drop("bad", &format!("[{},{},{}", ended("a"), ended("b"), &ended("c")[..20]), 1);
    bench.drop("worse", "<html>", 1);
    bench.drop("lines", &format!("{}\n{{\n{}\n", ended("d"), ended("e")), 1);
    let reject = "broken_row: lines, row 2: the row holds a value that is not JSON";
    assert_eq!(bench.committed().await, ["a", "b", "d", "e", reject]);
    assert_eq!(bench.set_aside(), 2);
    bench.drop("bad", &format!("[{},{},{}]", ended("a"), ended("b"), ended("c")), 1);
    assert_eq!(bench.committed().await, ["a", "b", "c"]);
    assert_eq!(bench.set_aside(), 1);
    fs::remove_file(bench.place.path().join("worse")).unwrap();
    bench.committed().await;
    assert_eq!(bench.set_aside(), 0);
    assert!(bench.place.path().join("bad").exists() && bench.place.path().join("lines").exists());
}

#[tokio::test]
async fn a_session_in_progress_stays_until_a_file_shows_its_end_or_none_tells_of_it() {
    let bench = Bench::new();
    bench.drop("1", &format!("{}\n{}\n{}\n", going("a"), going("b"), ended("c")), 5);
    assert_eq!(bench.committed().await, ["a?", "b?", "c"]);
    let sorted = async || {
        let mut read = bench.committed().await;
        read.sort_unstable();
        read
    };
    assert_eq!(sorted().await, ["a?", "b?"]);
    bench.drop("2", &ended("a"), 1);
    assert_eq!(sorted().await, ["a", "a?", "b?"]);
    assert_eq!(sorted().await, ["b?"]);
    // Later files are a day newer and do not speak of it: it has ended elsewhere.
    bench.drop("1", &going("b"), 27);
    assert_eq!(sorted().await, ["b?"]);
    assert!(sorted().await.is_empty());
    bench.drop("3", &going("d"), 1);
    assert_eq!((sorted().await, sorted().await), (vec!["d?".to_owned()], vec!["d?".to_owned()]));
    fs::remove_file(bench.place.path().join("3")).unwrap();
    assert!(sorted().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn while_a_thread_hangs_no_other_one_waits_for_the_file_system() {
    let bench = Bench::new();
    bench.drop("a", &ended("a"), 1);
    let hanging = bench.directory.thread.clone().lock_owned().await;
    for _ in 0..2 {
        let error = Reading::new(Files::new(bench.directory.clone())).next_page().await.unwrap_err();
        assert_eq!(error.reason, FailureReason::Timeout);
    }
    assert_eq!(Arc::strong_count(&bench.directory.thread), 2, "nobody else waits");
    drop(hanging);
    assert_eq!(bench.committed().await, ["a"]);
}

#[tokio::test]
async fn only_files_are_read() {
    let bench = Bench::new();
    for name in [".hidden", "x.tmp", "x.PART", "x~", "x.csv.crdownload"] {
        bench.drop(name, &ended(name), 1);
    }
    fs::create_dir(bench.place.path().join("folder")).unwrap();
    fs::write(bench.place.path().join("folder/x"), ended("below")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("secret"), ended("elsewhere")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(elsewhere.path().join("secret"), bench.place.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", bench.place.path().join("zero")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            bench.place.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
    }
    bench.drop("x.exe", &ended("x"), 1);
    assert_eq!(bench.committed().await, ["x"]);
}

#[tokio::test]
#[cfg(unix)]
async fn what_comes_in_place_of_a_file_is_not_opened() {
    use super::super::look::{look, open};
    let bench = Bench::new();
    bench.drop("x", &ended("x"), 1);
    let seen = look(bench.place.path()).unwrap().remove(0);
    let path = bench.place.path().join("x");
    let other = bench.place.path().join("other");
    assert!(open(bench.place.path(), &seen).unwrap().is_some());
    fs::rename(&path, &other).unwrap();
    assert!(open(bench.place.path(), &seen).unwrap().is_none());
    std::os::unix::fs::symlink(&other, &path).unwrap();
    assert!(open(bench.place.path(), &seen).is_err());
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_snapshot!(open(bench.place.path(), &seen).unwrap_err(), @"it is not a regular file");
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_says_so() {
    let bench = Bench::new();
    let name = bench.place.path().display().to_string();
    let told = |error: SourceError| format!("{:?}: {}", error.reason, error.message.replace(&name, "DIRECTORY"));
    assert_snapshot!(told(failure(&bench.place.path().join("none")).await), @"Files: the directory DIRECTORY/none cannot be read (No such file or directory (os error 2)); check source.directory, its permissions, and that it is mounted");
    bench.drop("file", "", 1);
    assert_snapshot!(told(failure(&bench.place.path().join("file")).await), @"Files: the directory DIRECTORY/file cannot be read (Not a directory (os error 20)); check source.directory, its permissions, and that it is mounted");
    for number in 0..super::super::look::MAX_FILES {
        fs::write(bench.place.path().join(number.to_string()), "").unwrap();
    }
    assert_snapshot!(told(failure(bench.place.path()).await), @"Files: the directory DIRECTORY holds more than 10000 files; move old ones away, what they held stays counted");
    assert_snapshot!(told(bench.directory.hangs()), @"Timeout: the directory DIRECTORY does not answer within 60 s; is its file system there?");
}
