//! How `backfill` goes beside an exporter that counts all the time, and how it ends when it cannot go on:
//! a signal, a reader that goes away, a full disk.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chrono::TimeDelta;
use remote_assistance_exporter::ledger::history;

use super::{noon, open, read, run, session};
use crate::mounts;
use crate::support::{Exporter, wait_for};
use crate::terminal::Terminal;

/// A ledger with a session on each of so many days, and the arguments for its history.
fn ledger(directory: &Path, days: i64) -> Vec<String> {
    let mut ledger = open(directory);
    read(&mut ledger, noon(), (0..days).map(|day| session(&day.to_string(), noon() - TimeDelta::days(day))).collect());
    let storage = format!("--storage.path={}", directory.display());
    vec!["backfill".to_owned(), storage, "--end=2026-03-19T12:00:00Z".to_owned()]
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn program(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.env_clear().args(arguments);
    command
}

/// The last line, as a failure is told.
fn told(log: &[String], directory: &Path) -> String {
    let line = log.last().unwrap().replace(directory.to_str().unwrap(), "DIR");
    line.strip_prefix("remote-assistance-exporter: error: ").unwrap_or_else(|| panic!("{log:#?}")).to_owned()
}

/// Commits follow each other without a pause. Whatever is read is as of one of them: each of its totals is
/// explained by the sessions beside it, and no session is missing that was committed before.
#[test]
fn a_ledger_that_is_written_all_the_time_is_read_as_of_one_commit() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    read(&mut ledger, noon(), vec![session("first", noon())]);
    let (committed, enough) = (AtomicU64::new(1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                let first = committed.load(Ordering::Relaxed);
                let ended =
                    |number: u64| session(&number.to_string(), noon() - TimeDelta::seconds(number as i64 % 2000));
                read(&mut ledger, noon(), (first..first + 20).map(ended).collect());
                committed.store(first + 20, Ordering::Relaxed);
            }
        });
        let mut seen = Vec::new();
        for _ in 0..30 {
            let before = committed.load(Ordering::Relaxed);
            let tenants = history::read(directory.path());
            enough.store(tenants.is_err(), Ordering::Relaxed);
            let tenants = tenants.unwrap();
            let (counted, sessions) = (tenants[0].totals.counted(), tenants[0].sessions.len() as u64);
            enough.store(counted != sessions || counted < before, Ordering::Relaxed);
            assert_eq!(counted, sessions);
            assert!(counted >= before && counted % 20 == 1, "{counted}, {before} before");
            seen.push(counted);
        }
        let storage = format!("--storage.path={}", directory.path().display());
        let (code, page, line) = run(&[&*storage, "--end=2026-03-19T12:00:00Z"]);
        enough.store(true, Ordering::Relaxed);
        assert_eq!(code, Some(0), "{line}");
        assert!(page.ends_with("# EOF\n"));
        assert!(seen.first() < seen.last(), "nothing was committed meanwhile: {seen:?}");
    });
    assert_eq!(names(directory.path()), ["ledger.lock", "ledger.redb"]);
}

/// Nobody reads the pipe, so the program is in the middle of it; what it wrote by then is refused.
#[test]
fn a_signal_ends_it_though_nobody_reads_on() {
    for signal in ["INT", "TERM"] {
        let directory = tempfile::tempdir().unwrap();
        let arguments = ledger(directory.path(), 20);
        let (mut output, input) = std::io::pipe().unwrap();
        let mut command = program(&arguments);
        command.stdout(input);
        let exporter = Exporter::spawn_as_it_is(command);
        let mut begin = [0; 100];
        output.read_exact(&mut begin).unwrap();
        exporter.signal(signal);
        let (status, log) = exporter.wait();
        assert_eq!(status.code(), Some(1), "{log:#?}");
        assert_eq!(
            told(&log, directory.path()),
            "stopped while it waited for whoever reads the history: it is cut off"
        );
        let mut page = String::from_utf8(begin.to_vec()).unwrap();
        output.read_to_string(&mut page).unwrap();
        assert!(page.len() > 1000 && !page.contains("# EOF"));
        fs::write(directory.path().join("cut.txt"), page).unwrap();
        let mut promtool = Command::new("promtool");
        promtool.current_dir(directory.path()).args(["tsdb", "create-blocks-from", "openmetrics", "cut.txt", "blocks"]);
        assert!(!promtool.output().unwrap().status.success(), "half a history must not become blocks");
    }
}

#[test]
fn a_signal_leaves_no_half_file() {
    for signal in ["INT", "TERM"] {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("history.txt");
        fs::write(&output, "of last time").unwrap();
        let mut arguments = ledger(directory.path(), 30);
        arguments.extend(["--step=1s".to_owned(), format!("--output={}", output.display())]);
        let exporter = Exporter::spawn(program(&arguments));
        wait_for("the file under way", || directory.path().join("history.txt.part").exists().then_some(()));
        exporter.signal(signal);
        let (status, log) = exporter.wait();
        assert_eq!(status.code(), Some(1), "{log:#?}");
        assert_eq!(
            told(&log, directory.path()),
            "DIR/history.txt: stopped before the history was complete; begin again"
        );
        assert_eq!(names(directory.path()), ["history.txt", "ledger.lock", "ledger.redb"]);
        assert_eq!(fs::read_to_string(&output).unwrap(), "of last time");
    }
}

/// As with `| head`.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program(&ledger(directory.path(), 20));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("# HELP remote_assistance_sessions "), "{line}");
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.lines().last().unwrap().contains("msg=\"Whoever read the history has gone away"), "{log}");
    assert!(!log.contains("Wrote history"), "{log}");
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = ledger(directory.path(), 20);
    let small = directory.path().join("small");
    fs::create_dir(&small).unwrap();
    arguments.push(format!("--output={}", small.join("history.txt").display()));
    // What is left there is told by a file outside of it, since nobody else sees that disk.
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$0/small\"; cd \"$0\"; program=$1; shift; \
                 \"$program\" \"$@\" || { code=$?; ls small > left.txt; exit $code; }; exit 0";
    let (status, log) = mounts::start(directory.path(), mount, arguments).wait();
    assert_eq!(status.code(), Some(1), "{log:#?}");
    assert_eq!(
        told(&log, directory.path()),
        "DIR/small/history.txt: cannot write the history: No space left on device (os error 28); make room, or write \
         less with a longer --backfill.step"
    );
    assert_eq!(fs::read_to_string(directory.path().join("left.txt")).unwrap(), "");
}

/// A device is written to and stays what it is.
#[test]
fn a_device_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ledger(directory.path(), 2);
    let device = directory.path().join("device");
    let made = Command::new("mkfifo").arg(&device).status().unwrap();
    assert!(made.success());
    let mut command = program(&arguments);
    let mut child = command.arg(format!("--output={}", device.display())).stderr(Stdio::null()).spawn().unwrap();
    let written = fs::read_to_string(&device).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(written.ends_with("# EOF\n"));
    assert_eq!(names(directory.path()), ["device", "ledger.lock", "ledger.redb"]);
    let (code, _, line) = run(&[&*arguments[1], &*arguments[2], "--output=/dev/full"]);
    assert_eq!(code, Some(1));
    assert!(line.contains("/dev/full: cannot write the history: No space left on device"), "{line}");
}

#[test]
fn a_terminal_has_a_bar_unless_the_history_goes_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = ledger(directory.path(), 25);
    arguments.push("--step=1h".to_owned());
    let (code, raw, _) = Terminal::start(&program(&arguments), &[]).end();
    assert_eq!(code, Some(0));
    assert!(raw.contains("# EOF") && !raw.contains("backfill ["), "no bar among the history");
    arguments.push(format!("--output={}", directory.path().join("history.txt").display()));
    let (code, raw, seen) = Terminal::start(&program(&arguments), &[]).end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(raw.contains("backfill [") && raw.contains(" series, "), "a bar was drawn: {raw:?}");
    assert!(!seen.contains("backfill [") && seen.contains("Wrote history"), "it is gone at the end: {seen}");
    let log = program(&arguments).output().unwrap();
    let log = String::from_utf8(log.stderr).unwrap();
    assert!(log.contains("Wrote history") && !log.contains("backfill ["), "{log}");
}
