//! Opening: how long the program takes from its start to the first scrape that shows a large
//! ledger's totals, and how much memory it then holds; after a clean end and after a kill.
//!
//! The program runs as a process of its own, so that the memory is its own. Its one tenant's Graph
//! refuses connections: what is measured is the ledger and the scrape.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints its numbers")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use remote_assistance_exporter::clock;
use remote_assistance_exporter::config::{FirstRun, HelperLabel};
use remote_assistance_exporter::ledger::totals::DURATION_BOUNDS;
use remote_assistance_exporter::ledger::{Batch, Clock, Ledger, Policy, Settings};
use remote_assistance_exporter::session::{Participant, SessionReport, SessionType};

/// Sessions in the measured ledger.
const SESSIONS: u32 = 1_000_000;
/// Sessions where the bench is only tried (`--test`).
const SESSIONS_TRIED: u32 = 10_000;
/// Reports in a transaction, as `poll` gathers them.
const BATCH: u32 = 5_000;
/// Starts of each kind; the median is printed.
const STARTS: usize = 9;
/// The goals: from the start to the scrape, and resident memory.
const GOAL: (Duration, u64) = (Duration::from_millis(150), 64 << 20);
/// How long a start may take before the bench fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let tried = std::env::args().any(|argument| argument == "--test");
    let (sessions, starts) = if tried { (SESSIONS_TRIED, 1) } else { (SESSIONS, STARTS) };
    let directory = tempfile::tempdir().unwrap();
    fill(&directory.path().join("data"), sessions);
    configure(directory.path());
    for (kind, signal) in [("clean end", "TERM"), ("kill", "KILL")] {
        // The first start makes the end that the measured ones follow.
        start(directory.path(), sessions, signal);
        let mut results: Vec<_> = (0..starts).map(|_| start(directory.path(), sessions, signal)).collect();
        results.sort_by_key(|(took, _)| *took);
        let (took, _) = results[starts / 2];
        let peak = results.iter().map(|(_, peak)| *peak).max().unwrap_or_default();
        println!(
            "opening {sessions} sessions after a {kind}: {took:?} to the first scrape (goal {:?}), {} MiB resident at most (goal {})",
            GOAL.0,
            peak >> 20,
            GOAL.1 >> 20
        );
    }
}

/// Makes a ledger of so many sessions, spread over four weeks.
fn fill(directory: &Path, sessions: u32) {
    let now = clock::now();
    let policy = Policy { name: "contoso".into(), lookback: TimeDelta::days(30), first_run: FirstRun::Count };
    let settings = Settings {
        tenants: vec![policy],
        duration_bounds: DURATION_BOUNDS.to_vec(),
        helper_label: HelperLabel::Off,
        native_histograms: true,
    };
    let mut ledger = Ledger::open(directory, settings, now).unwrap();
    for first in (0..sessions).step_by(BATCH as usize) {
        let reports = (first..first + BATCH).map(|number| {
            let end = now - TimeDelta::days(28) * i32::try_from(number / 1000).unwrap() / 1000;
            let person = |kind: &str, of: u32| Participant {
                email: Some(format!("{kind}-{}@contoso.example", number % of).into()),
                device_name: Some(format!("{kind}-pc-{}", number % of).into()),
                ..Participant::default()
            };
            SessionReport {
                id: format!("{number:08x}-0000-4000-8000-000000000000").into(),
                start: Some(end - TimeDelta::seconds(i64::from(number % 4000))),
                end: Some(end),
                session_type: SessionType::FullControl,
                helper: person("helper", 2_003),
                sharer: person("sharer", 100_003),
                ..SessionReport::default()
            }
        });
        let batch = Batch {
            tenant: "contoso".into(),
            clock: Clock { now, cautious: now },
            first: true,
            reports: reports.collect(),
            devices: Arc::default(),
            rejects: Vec::new(),
            end: None,
        };
        ledger.commit(&[batch]).unwrap();
    }
    assert_eq!(ledger.snapshot().sessions, u64::from(sessions));
}

/// One tenant whose Graph refuses connections.
fn configure(directory: &Path) {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = format!(
        "tenants:\n  - {{name: contoso, tenant_id: 11111111-2222-3333-4444-555555555555, graph_url: \"http://{refusing}\", \
         credential: {{kind: none}}, source: {{kind: collection, path: /sessions}}}}\n"
    );
    fs::write(directory.join("exporter.yaml"), yaml).unwrap();
}

/// Starts the program and scrapes it; the time that took and the peak of its resident memory in
/// bytes. Then ends it with a signal.
fn start(directory: &Path, sessions: u32, signal: &str) -> (Duration, u64) {
    // A port that was free a moment ago. Waiting for the log to tell the port would measure pipes.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"))
        .arg(format!("--config.file={}", directory.join("exporter.yaml").display()))
        .arg(format!("--storage.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let wanted = format!("\nremote_assistance_ledger_sessions {sessions}\n");
    while !scrape(address).is_ok_and(|page| page.contains(&wanted)) {
        assert!(child.try_wait().unwrap().is_none(), "the program has ended");
        assert!(begun.elapsed() < PATIENCE, "no scrape shows the sessions");
        std::thread::yield_now();
    }
    let took = begun.elapsed();
    let peak = peak_bytes(&child);
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap();
    (took, peak)
}

fn scrape(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// `VmHWM`: the most that was ever resident.
fn peak_bytes(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
