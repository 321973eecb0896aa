//! Storage that fails, seen from outside: a full disk, a read-only one, a corrupt file, a later
//! schema, another process. Each with the message that its operator reads.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use remote_assistance_exporter::simulator::{Session, TenantOptions, Truth};

use crate::mounts;
use crate::support::{Exporter, Lab, Scrape, get};

const TENANT: &str = "contoso";

/// The program on storage of its own; see [`mounts::start`].
fn start_with_mount(lab: &Lab, global: &str, mount: &str) -> Exporter {
    mounts::start(&storage(lab), mount, lab.arguments(&configuration(lab, global)))
}

/// A lab of one tenant with a history and nothing that changes by itself.
fn lab() -> Lab {
    Lab::new(vec![TenantOptions { sessions_per_day: 20.0, live_per_second: 0.0, ..TenantOptions::new(TENANT) }], |_| ())
}

/// Reads the tenant's collection, in pages so large that all of it fits one transaction.
fn configuration(lab: &Lab, global: &str) -> PathBuf {
    let path = lab.simulator.tenant(TENANT).unwrap().gateway_path();
    let keys = format!("credential: {{kind: none}}, source: {{kind: collection, path: {path}, page_size: 1000}}");
    lab.configuration(global, &[(TENANT, &keys)])
}

fn storage(lab: &Lab) -> PathBuf {
    lab.directory.path().join("data")
}

/// The program's end and the one line that tells why, with the lab's directory as `DIR`.
#[track_caller]
fn refusal(lab: &Lab, exporter: Exporter) -> (Option<i32>, String) {
    let (status, log) = exporter.wait();
    let directory = lab.directory.path().to_str().unwrap();
    let (last, before) = log.split_last().unwrap();
    assert!(before.iter().all(|line| line.contains("level=info")), "{log:#?}");
    (status.code(), last.replace(directory, "DIR"))
}

#[track_caller]
fn assert_truth(scrape: &Scrape, truth: &Truth) {
    let mut total = 0;
    for (name, of_type) in &truth.by_type {
        let labels = format!("{{session_type=\"{name}\",tenant=\"{TENANT}\"}}");
        assert_eq!(scrape.value(&format!("sessions_total{labels}")), of_type.sessions as f64);
        assert_eq!(scrape.value(&format!("session_duration_seconds_count{labels}")), of_type.durations as f64);
        total += of_type.sessions;
    }
    assert_eq!((total, scrape.sum("sessions_total", &[])), (truth.ended, truth.ended as f64));
}

/// A session without people, ended `ago` before now.
fn session(number: usize, now: DateTime<Utc>) -> Session {
    let end = now - TimeDelta::hours(1) - TimeDelta::seconds(number as i64);
    Session {
        id: format!("pushed-{number}"),
        start: Some(end - TimeDelta::minutes(7)),
        end: Some(end),
        session_type: Some(Cow::Borrowed("elevation")),
        ..Session::default()
    }
}

fn durable(scrape: &Scrape) -> Vec<(String, f64)> {
    scrape.durable_counters().map(|(series, value)| (series.clone(), value)).collect()
}

#[test]
fn a_disk_that_fills_loses_nothing_and_shows_nothing_that_is_not_stored() {
    let lab = lab();
    let now = lab.freeze();
    let tenant = lab.simulator.tenant(TENANT).unwrap();
    let mut exporter = start_with_mount(&lab, "poll_interval: 1s", "mount -t tmpfs -o size=16m tmpfs \"$0\"");
    let before = exporter.wait_for_scrape("the history", |scrape| scrape.sum("up", &[]) == 1.0);
    assert_truth(&before, &tenant.truth(now));
    assert_eq!(before.value("ledger_commit_failures_total"), 0.0);

    let storage = mounts::seen_by(&exporter, &storage(&lab));
    mounts::fill(&storage.join("filler"));
    // More than the pages that the ledger has to spare, in one transaction.
    tenant.set_sessions((0..4000).map(|number| session(number, now)).collect());
    let failing = |least: f64| move |scrape: &Scrape| scrape.value("ledger_commit_failures_total") >= least;
    let first = exporter.wait_for_scrape("a failed commit", failing(1.0));
    let later = exporter.wait_for_scrape("two more", failing(first.value("ledger_commit_failures_total") + 2.0));
    assert_eq!(durable(&first), durable(&later), "the last committed totals stay");
    assert_eq!(first.sum("sessions_total", &[]), before.sum("sessions_total", &[]));
    assert_eq!(later.value(&format!("up{{tenant=\"{TENANT}\"}}")), 0.0);
    assert!(later.value(&format!("poll_failures_total{{reason=\"ledger\",tenant=\"{TENANT}\"}}")) >= 2.0);
    assert_eq!(get(exporter.address(), "/-/healthy").unwrap().status, 200);
    assert_eq!(get(exporter.address(), "/-/ready").unwrap().status, 200);

    let error = exporter.status()["tenants"][0]["last_error"].clone();
    assert_eq!(error["reason"], "ledger");
    let message = error["message"].as_str().unwrap();
    assert_eq!(
        message.replace(lab.directory.path().to_str().unwrap(), "DIR"),
        "DIR/data/ledger.redb: cannot commit (I/O error: No space left on device (os error 28)); \
         nothing was counted and the next poll tries again: check free space and permissions"
    );
    exporter.wait_for_log(&["level=error", "msg=\"Poll failed\"", "reason=ledger", message]);

    fs::remove_file(storage.join("filler")).unwrap();
    let after = exporter.wait_for_scrape("the next poll", |scrape| scrape.sum("up", &[]) == 1.0);
    assert_truth(&after, &tenant.truth(now));
    let fates = ["duplicate", "amended", "unfinished", "too_old", "baseline", "rejected"];
    let fates: f64 = fates.iter().map(|fate| after.sum(&format!("reports_{fate}_total"), &[])).sum();
    let counted = after.sum("sessions_total", &[]);
    assert_eq!(after.sum("reports_read_total", &[]), fates + counted, "every report has one fate");
    exporter.stop();
}

#[test]
fn no_room_for_a_first_ledger_ends_the_program() {
    let lab = lab();
    let exporter = start_with_mount(&lab, "poll_interval: 1h", "mount -t tmpfs -o size=8k tmpfs \"$0\"");
    let (code, line) = refusal(&lab, exporter);
    assert_eq!(code, Some(74));
    assert_eq!(
        line,
        "remote-assistance-exporter: error: DIR/data/ledger.redb: cannot open the ledger (No space left on device \
         (os error 28)); check that --storage.path is a writable directory with free space"
    );
}

#[test]
fn a_read_only_directory_ends_the_program() {
    let lab = lab();
    let exporter = start_with_mount(&lab, "poll_interval: 1h", "mount -t tmpfs -o ro tmpfs \"$0\"");
    let (code, line) = refusal(&lab, exporter);
    assert_eq!(code, Some(74));
    assert_eq!(
        line,
        "remote-assistance-exporter: error: DIR/data/ledger.lock: cannot open the lock file (Read-only file system \
         (os error 30)); check that --storage.path is a writable directory with free space"
    );
}

/// Lets the program count the history, and returns the ledger's file.
fn counted(lab: &Lab) -> PathBuf {
    let mut exporter = Exporter::start(lab.arguments(&configuration(lab, "poll_interval: 1h")));
    exporter.wait_for_scrape("the history", |scrape| scrape.sum("up", &[]) == 1.0);
    exporter.stop();
    storage(lab).join("ledger.redb")
}

#[test]
fn a_corrupt_ledger_ends_the_program_and_is_left_as_it_is() {
    let lab = lab();
    let file = counted(&lab);
    let whole = fs::read(&file).unwrap();
    let mut page_roots = whole.clone();
    page_roots[64..320].fill(0xaa);
    for (damaged, detail) in [
        (b"{\"value\": \"not a ledger at all\"}\n".repeat(20), "Not a redb database: magic number mismatch"),
        (whole[..100].to_vec(), "the file is cut off"),
        (page_roots, ""),
    ] {
        fs::write(&file, &damaged).unwrap();
        let exporter = Exporter::start(lab.arguments(&configuration(&lab, "poll_interval: 1h")));
        let (code, line) = refusal(&lab, exporter);
        assert_eq!(code, Some(74));
        let (start, end) = (
            format!("remote-assistance-exporter: error: DIR/data/ledger.redb: the ledger is corrupt ({detail}"),
            "); restore it from a backup, or move it away to start a new one, which counts the sessions of the \
             look-back window again",
        );
        assert!(line.starts_with(&start) && line.ends_with(end), "{line}");
        assert!(fs::read(&file).unwrap() == damaged, "the file is untouched");
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(counted(&lab), file, "the file that was put back opens");
}

#[test]
fn a_ledger_of_a_later_release_ends_the_program_and_is_left_as_it_is() {
    let lab = lab();
    let file = counted(&lab);
    set_schema_version(&file, 7);
    let exporter = Exporter::start(lab.arguments(&configuration(&lab, "poll_interval: 1h")));
    let (code, line) = refusal(&lab, exporter);
    assert_eq!(code, Some(74));
    assert_eq!(
        line,
        "remote-assistance-exporter: error: DIR/data/ledger.redb: the ledger has schema version 7, this release reads \
         up to 3; run the release that wrote it, or a later one"
    );
    // All that it holds is still there: nothing counts a second time.
    assert_eq!(set_schema_version(&file, 2), 7);
    let now = lab.freeze();
    let mut exporter = Exporter::start(lab.arguments(&configuration(&lab, "poll_interval: 1h")));
    let scrape = exporter.wait_for_scrape("another poll", |scrape| scrape.sum("up", &[]) == 1.0);
    assert_truth(&scrape, &lab.simulator.tenant(TENANT).unwrap().truth(now));
    assert_eq!(scrape.sum("reports_duplicate_total", &[]), scrape.sum("sessions_total", &[]));
}

/// Writes another schema version into a closed ledger; the one before.
fn set_schema_version(file: &Path, version: u32) -> u32 {
    let database = redb::Database::open(file).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = redb::TableDefinition::<&str, &[u8]>::new("meta");
    let before = {
        let mut meta = transaction.open_table(table).unwrap();
        let before = meta.insert("schema_version", &version.to_le_bytes()[..]).unwrap().unwrap();
        u32::from_le_bytes(before.value().try_into().unwrap())
    };
    transaction.commit().unwrap();
    before
}

#[test]
fn a_second_process_is_refused_and_the_first_goes_on() {
    let lab = lab();
    let arguments = lab.arguments(&configuration(&lab, "poll_interval: 1h"));
    let mut first = Exporter::start(&arguments);
    let before = first.wait_for_scrape("the history", |scrape| scrape.sum("up", &[]) == 1.0);
    let file = fs::read(storage(&lab).join("ledger.redb")).unwrap();
    let (code, line) = refusal(&lab, Exporter::start(&arguments));
    assert_eq!(code, Some(74));
    assert_eq!(
        line,
        format!(
            "remote-assistance-exporter: error: DIR/data/ledger.lock: another process has this ledger open (process \
             {}); stop it or choose another --storage.path",
            first.id()
        )
    );
    assert!(fs::read(storage(&lab).join("ledger.redb")).unwrap() == file, "the file is untouched");
    assert_eq!(durable(&first.scrape()), durable(&before));
    first.kill();
    // A crash leaves no lock behind.
    let mut next = Exporter::start(&arguments);
    next.address();
    assert_eq!(next.scrape().sum("sessions_total", &[]), before.sum("sessions_total", &[]));
}
