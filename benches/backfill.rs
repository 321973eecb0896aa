//! Backfill: how long the history of a large ledger takes to write, how much it is, and how much memory
//! the program holds meanwhile, for some steps.
//!
//! The program runs as a process of its own, so that the memory is its own. Its output is counted and
//! thrown away.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints its numbers")]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use remote_assistance_exporter::config::{FirstRun, HelperLabel};
use remote_assistance_exporter::ledger::totals::DURATION_BOUNDS;
use remote_assistance_exporter::ledger::{Batch, Clock, Ledger, Policy, Settings};
use remote_assistance_exporter::session::{Label, Participant, SessionReport, SessionType};

const TENANTS: [&str; 3] = ["contoso", "fabrikam", "tailspin"];
/// Sessions in the measured ledger, over so many days.
const SESSIONS: i64 = 1_000_000;
const DAYS: i64 = 300;
/// Sessions and days where the bench is only tried (`--test`).
const TRIED: (i64, i64) = (3_000, 10);
/// Days whose sessions are read at a time, each behind the other, as an exporter that has run for long
/// has read them: those before the look-back window are then in the history alone.
const DAYS_AT_ONCE: i64 = 5;

fn main() {
    let tried = std::env::args().any(|argument| argument == "--test");
    let (sessions, days) = if tried { TRIED } else { (SESSIONS, DAYS) };
    let directory = tempfile::tempdir().unwrap();
    let end = DateTime::from_timestamp(1_773_921_600, 0).unwrap();
    fill(directory.path(), sessions, days, end);
    let size = fs::metadata(directory.path().join("ledger.redb")).unwrap().len();
    println!("a ledger of {sessions} sessions in {days} days, {} tenants: {} MB", TENANTS.len(), size / 1_000_000);
    for step in ["1m", "5m", "1h"] {
        let (took, bytes, peak) = backfill(directory.path(), step, end);
        let (megabytes, mebibytes) = (bytes / 1_000_000, peak >> 20);
        println!("backfill --step={step}: {took:.1?}, {megabytes} MB written, {mebibytes} MiB resident at most");
    }
}

/// Makes a ledger with so many sessions that ended in the days up to `end`.
fn fill(directory: &Path, sessions: i64, days: i64, end: DateTime<Utc>) {
    let policy =
        |name: &&str| Policy { name: (*name).into(), lookback: TimeDelta::days(30), first_run: FirstRun::Count };
    let settings = Settings {
        tenants: TENANTS.iter().map(policy).collect(),
        duration_bounds: DURATION_BOUNDS.to_vec(),
        helper_label: HelperLabel::Off,
        native_histograms: true,
    };
    let first = end - TimeDelta::days(days);
    let mut ledger = Ledger::open(directory, settings, first).unwrap();
    let at = |number: i64| first + TimeDelta::milliseconds(days * 86_400_000 / sessions * (number + 1));
    let at_once = sessions * DAYS_AT_ONCE / days;
    for start in (0..sessions).step_by(at_once as usize) {
        let now = at(start + at_once);
        for (place, tenant) in (0..).zip(TENANTS) {
            let numbers = (start..start + at_once).filter(|number| number % TENANTS.len() as i64 == place);
            let batch = Batch {
                tenant: tenant.into(),
                clock: Clock { now, cautious: now },
                first: true,
                reports: numbers.map(|number| session(number, at(number))).collect(),
                devices: Arc::default(),
                rejects: Vec::new(),
                end: None,
            };
            ledger.commit(&[batch]).unwrap();
        }
    }
}

fn session(number: i64, end: DateTime<Utc>) -> SessionReport {
    let person = |kind: &str, of: i64| Participant {
        email: Some(format!("{kind}-{}@contoso.example", number % of).into()),
        device_name: Some(format!("{kind}-pc-{}", number % of).into()),
        ..Participant::default()
    };
    SessionReport {
        id: format!("{number:08x}-0000-4000-8000-000000000000").into(),
        start: Some(end - TimeDelta::seconds(number * 7919 % 4000)),
        end: Some(end),
        session_type: SessionType::ALL[(number / 7 % 4) as usize],
        helper: person("helper", 2_003),
        sharer: person("sharer", 100_003),
        ..SessionReport::default()
    }
}

/// How long it takes, the bytes that it writes, and the most that was ever resident.
fn backfill(directory: &Path, step: &str, end: DateTime<Utc>) -> (Duration, u64, u64) {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"))
        .args(["backfill", "--label=job=remote-assistance", "--label=instance=localhost:10112"])
        .args([format!("--step={step}"), format!("--end={}", end.timestamp())])
        .arg(format!("--storage.path={}", directory.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut bytes, mut peak, mut buffer) = (0, 0, vec![0; 1 << 20]);
    loop {
        let length = output.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        bytes += length as u64;
        peak = peak_bytes(&child).unwrap_or(peak);
    }
    assert!(child.wait().unwrap().success());
    (begun.elapsed(), bytes, peak)
}

/// `VmHWM`; none of a process that has just ended.
fn peak_bytes(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10)
}
