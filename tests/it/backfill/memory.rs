//! A large ledger does not make the program large.

use std::io::Read;
use std::process::{Command, Stdio};

use chrono::TimeDelta;

use super::{noon, open, read, session};

const SESSIONS: i64 = 100_000;
/// Sessions in a transaction.
const BATCH: i64 = 20_000;
/// The program itself, its buffers and the sessions at 32 bytes each; not the 60 MB that it writes.
const MOST: u64 = 48 << 20;

#[test]
fn it_is_written_as_it_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let mut ledger = open(directory.path());
    for first in (0..SESSIONS).step_by(BATCH as usize) {
        let ended = |number: i64| session(&number.to_string(), noon() - TimeDelta::seconds(10 * number));
        read(&mut ledger, noon(), (first..first + BATCH).map(ended).collect());
    }
    drop(ledger);
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.args(["backfill", "--step=5m", "--end=2026-03-19T12:00:00Z"]);
    command.arg(format!("--storage.path={}", directory.path().display()));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut peak, mut bytes, mut buffer) = (0, 0, vec![0; 1 << 20]);
    loop {
        let length = output.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        bytes += length;
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        // Gone where the program has just ended.
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10);
    }
    assert!(child.wait().unwrap().success());
    assert!(bytes > 40 << 20, "{bytes} bytes: the test shows nothing");
    assert!(peak > 0 && peak < MOST, "{} MiB", peak >> 20);
}
