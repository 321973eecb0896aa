//! Reports that come as files: the program, a directory, and what is dropped into it.

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use remote_assistance_exporter::clock;
use remote_assistance_exporter::simulator::{Session, TenantOptions};
use serde_json::{Value, json};

use super::mounts;
use super::support::{Exporter, Lab, Scrape};

const TENANT: &str = "contoso";

/// A directory to drop files into, and the configuration that reads it.
struct Place {
    place: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("drop")).unwrap();
        let yaml =
            format!("tenants: [{{name: {TENANT}, poll_interval: 1s, source: {{kind: files, directory: drop}}}}]\n");
        fs::write(place.path().join("exporter.yaml"), yaml).unwrap();
        Self { place }
    }

    fn arguments(&self) -> Vec<String> {
        let path = |name: &str| self.place.path().join(name).display().to_string();
        vec![format!("--config.file={}", path("exporter.yaml")), format!("--storage.path={}", path("data"))]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("drop").join(name)
    }

    fn put(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }
}

fn session(id: &str) -> Session {
    let end = clock::now() - TimeDelta::hours(2);
    Session { id: id.to_owned(), start: Some(end - TimeDelta::minutes(5)), end: Some(end), ..Session::default() }
}

fn times(session: &Session) -> [String; 2] {
    [session.start, session.end].map(|time| time.unwrap().to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn object(id: &str) -> Value {
    let [start, end] = times(&session(id));
    json!({"id": id, "startDateTime": start, "endDateTime": end, "remoteAssistanceSessionType": "fullControl"})
}

fn csv(ids: &[&str]) -> String {
    let rows = ids.iter().map(|id| {
        let [start, end] = times(&session(id));
        format!("fullControl,{end},{id},{start}\r\n")
    });
    format!("\u{feff}Attribute,Sessionend,SessionId,Sessionstart\r\n{}", rows.collect::<String>())
}

fn zip(contents: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("RemoteAssistanceSessions.csv", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(contents.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

fn counted(scrape: &Scrape) -> f64 {
    scrape.sum("sessions_total", &[])
}

fn polls(scrape: &Scrape) -> f64 {
    scrape.sum("polls_total", &[])
}

/// Waits until so many sessions are counted and two more polls have changed nothing.
#[track_caller]
fn settled(exporter: &mut Exporter, sessions: f64) -> Scrape {
    let first = exporter.wait_for_scrape(&format!("{sessions} sessions"), |scrape| counted(scrape) >= sessions);
    let last = exporter.wait_for_scrape("two polls", |scrape| polls(scrape) >= polls(&first) + 2.0);
    assert_eq!((counted(&last), last.sum("up", &[])), (sessions, 1.0));
    last
}

#[test]
fn every_format_is_picked_up_and_each_session_counts_once() {
    let drop = Place::new();
    let secret = drop.place.path().join("elsewhere");
    fs::write(&secret, object("elsewhere").to_string()).unwrap();
    std::os::unix::fs::symlink(&secret, drop.path("link.json")).unwrap();
    assert!(Command::new("mkfifo").arg(drop.path("pipe.csv")).status().unwrap().success());
    let mut exporter = Exporter::start(drop.arguments());
    exporter.wait_for_scrape("a poll of nothing", |scrape| scrape.sum("up", &[]) == 1.0);

    let mut expected = 0.0;
    for (name, contents) in [
        ("array", json!([object("array"), object("again")]).to_string().into_bytes()),
        ("lines.csv", format!("{}\n{}\n", object("lines"), object("again")).into()),
        ("page", json!({"value": [object("page"), object("again")]}).to_string().into()),
        ("export.json", csv(&["csv", "again"]).into()),
        ("export.zip", zip(&csv(&["zip", "again"]))),
    ] {
        drop.put(name, contents);
        expected += if expected == 0.0 { 2.0 } else { 1.0 };
        exporter.wait_for_scrape(name, |scrape| counted(scrape) == expected);
    }
    let scrape = settled(&mut exporter, 6.0);
    assert_eq!(scrape.sum("sessions_total", &["fullControl"]), 6.0);
    assert_eq!(scrape.sum("reports_read_total", &[]), 10.0, "no file is read twice");
    assert_eq!(scrape.sum("files_set_aside", &[]), 0.0);
    exporter.stop();

    let mut exporter = Exporter::start(drop.arguments());
    let read = exporter.wait_for_scrape("all of it again", |scrape| scrape.sum("reports_read_total", &[]) == 20.0);
    assert_eq!(counted(&read), 6.0);
    exporter.stop();
}

#[test]
fn what_files_and_graph_both_tell_counts_once() {
    let lab = Lab::new(vec![TenantOptions::manual(TENANT)], |_| {});
    let tenant = lab.simulator.tenant(TENANT).unwrap();
    let ids = ["one", "two", "three"];
    tenant.set_sessions(ids.iter().map(|id| session(id)).collect());
    fs::write(lab.directory.path().join("export.csv"), csv(&["two", "three", "four"])).unwrap();
    let files = lab.configuration("poll_interval: 1s", &[(TENANT, "source: {kind: files, directory: .}")]);
    let mut exporter = Exporter::start(lab.arguments(&files));
    // The directory holds other files too, which are no reports.
    exporter.wait_for_scrape("the file's", |scrape| counted(scrape) == 3.0);
    exporter.stop();
    let graph = lab.configuration("poll_interval: 1s", &[(TENANT, "")]);
    let mut exporter = Exporter::start(lab.arguments(&graph));
    let scrape = settled(&mut exporter, 4.0);
    assert_eq!(scrape.sum("reports_rejected_total", &[]), 0.0);
    exporter.stop();
}

#[test]
fn a_file_is_read_when_it_has_stopped_growing() {
    let drop = Place::new();
    let mut exporter = Exporter::start(drop.arguments());
    let go_on = Arc::new(AtomicBool::new(true));
    let (path, going) = (drop.path("growing"), go_on.clone());
    let writer = std::thread::spawn(move || {
        let mut file = File::create(path).unwrap();
        let mut rows = 0;
        while going.load(Ordering::Relaxed) {
            writeln!(file, "{}", object(&format!("row-{rows}"))).unwrap();
            rows += 1;
            std::thread::park_timeout(Duration::from_millis(20));
        }
        rows
    });
    let during = exporter.wait_for_scrape("polls beside the writer", |scrape| polls(scrape) >= 3.0);
    assert_eq!(during.sum("reports_read_total", &[]), 0.0);
    exporter.wait_for_log(&["level=warn", "A file changes at every look and is not read", "file=growing"]);
    go_on.store(false, Ordering::Relaxed);
    let rows = f64::from(writer.join().unwrap());
    let scrape = settled(&mut exporter, rows);
    assert_eq!(scrape.sum("reports_read_total", &[]), rows);
    let log = exporter.stop();
    assert_eq!(log.iter().filter(|line| line.contains("A file changes at every look")).count(), 1, "{log:#?}");
}

#[test]
fn a_bad_file_is_told_by_name_and_row_and_left_alone() {
    let drop = Place::new();
    let cut = json!([object("before"), object("cut")]).to_string();
    let cut = &cut[..cut.len() - 20];
    drop.put("bad.json", cut);
    drop.put("rows.csv", csv(&["good", "broken"]).replace("broken", "") + "too,few\r\n");
    drop.put("other.csv", "A,B\n1,2\n");
    drop.put("good.json", json!([object("fine")]).to_string());
    let mut exporter = Exporter::start(drop.arguments());
    let scrape = settled(&mut exporter, 3.0);
    assert_eq!((scrape.sum("files_set_aside", &[]), scrape.sum("reports_rejected_total", &[])), (2.0, 2.0));
    let told = [
        "file=bad.json error=\"it is cut off in row 2; copy it again\"",
        "file=other.csv error=\"the report has no column for id, startDateTime, endDateTime; it has A, B: name the right ones under source.columns\"",
        "file=rows.csv session=unknown error=\"missing_id: row 2: id is missing\"",
    ];
    for line in told {
        exporter.wait_for_log(&["level=warn", "tenant=contoso", line]);
    }
    assert_eq!(fs::read_to_string(drop.path("bad.json")).unwrap(), cut);
    drop.put("bad.json", json!([object("before"), object("cut")]).to_string());
    fs::remove_file(drop.path("other.csv")).unwrap();
    let mended = settled(&mut exporter, 4.0);
    assert_eq!(mended.sum("files_set_aside", &[]), 0.0);
    // As many as in the last file, and in another.
    drop.put("later.csv", csv(&["later", "broken"]).replace("broken", ""));
    exporter.wait_for_log(&[
        "level=warn",
        "tenant=contoso",
        "file=later.csv session=unknown error=\"missing_id: row 2",
    ]);
    let log = exporter.stop();
    for line in told {
        assert_eq!(log.iter().filter(|logged| logged.contains(line)).count(), 1, "{line}: {log:#?}");
    }
}

#[test]
fn a_directory_that_is_not_there_fails_the_poll_until_it_is() {
    let drop = Place::new();
    fs::remove_dir(drop.place.path().join("drop")).unwrap();
    let mut exporter = Exporter::start(drop.arguments());
    let failed = exporter.wait_for_scrape("a failure", |scrape| {
        scrape.value(&format!("poll_failures_total{{reason=\"files\",tenant=\"{TENANT}\"}}")) >= 1.0
    });
    assert_eq!(failed.sum("up", &[]), 0.0);
    let message = exporter.status()["tenants"][0]["last_error"]["message"].as_str().unwrap().to_owned();
    let place = drop.place.path().display().to_string();
    insta::assert_snapshot!(message.replace(&place, "DIRECTORY"), @"the directory DIRECTORY/drop cannot be read (No such file or directory (os error 2)); check source.directory, its permissions, and that it is mounted");
    fs::create_dir(drop.place.path().join("drop")).unwrap();
    drop.put("a", object("a").to_string());
    settled(&mut exporter, 1.0);
    exporter.stop();
}

#[test]
fn the_horizon_follows_the_newest_file_and_not_the_machines_clock_alone() {
    let drop = Place::new();
    let mut exporter = Exporter::start(drop.arguments());
    // As after a jump of the machine's clock: polls of nothing, by a time that the files do not confirm.
    exporter.wait_for_scrape("a poll of nothing", |scrape| scrape.sum("up", &[]) == 1.0);
    let put = |name: &str, id: &str, days: i64| {
        let end = clock::now() - TimeDelta::days(days);
        let row = json!({"id": id, "endDateTime": end.to_rfc3339_opts(SecondsFormat::Secs, true)});
        let path = drop.path(&format!("{name}.tmp"));
        fs::write(&path, row.to_string()).unwrap();
        File::options().append(true).open(&path).unwrap().set_modified((end + TimeDelta::hours(1)).into()).unwrap();
        fs::rename(path, drop.path(name)).unwrap();
    };
    put("old", "old", 100);
    settled(&mut exporter, 1.0);
    put("new", "new", 1);
    settled(&mut exporter, 2.0);
    put("late", "late", 99);
    let scrape = exporter.wait_for_scrape("what is too old", |scrape| scrape.sum("reports_too_old_total", &[]) == 1.0);
    assert_eq!(counted(&scrape), 2.0);
    exporter.stop();
}

#[test]
fn what_could_not_be_committed_is_read_again() {
    let drop = Place::new();
    let data = drop.place.path().join("data");
    let mut exporter = mounts::start(&data, "mount -t tmpfs -o size=16m tmpfs \"$0\"", drop.arguments());
    exporter.wait_for_scrape("a poll", |scrape| scrape.sum("up", &[]) == 1.0);
    let storage = mounts::seen_by(&exporter, &data);
    mounts::fill(&storage.join("filler"));
    // More than the pages that the ledger has to spare, in two transactions.
    let ids: Vec<_> = (0..4000).map(|number| format!("session-{number}")).collect();
    drop.put("export.csv", csv(&ids.iter().map(String::as_str).collect::<Vec<_>>()));
    let failed =
        exporter.wait_for_scrape("failed commits", |scrape| scrape.value("ledger_commit_failures_total") >= 2.0);
    assert_eq!(failed.sum("up", &[]), 0.0);
    fs::remove_file(storage.join("filler")).unwrap();
    let scrape = settled(&mut exporter, 4000.0);
    assert_eq!(scrape.sum("reports_rejected_total", &[]), 0.0);
    exporter.stop();
}
