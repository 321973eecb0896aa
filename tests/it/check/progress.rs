//! The progress of long reads: lines in a log, a bar on a terminal.

use std::path::{Path, PathBuf};
use std::process::Command;

use remote_assistance_exporter::simulator::TenantOptions;

use super::program;
use crate::support::{Lab, wait_for};
use crate::terminal::Terminal;

/// A tenant whose report has over a hundred pages, and its configuration.
fn long() -> (Lab, PathBuf) {
    let tenant = TenantOptions { sessions_per_day: 40.0, live_per_second: 0.0, ..TenantOptions::new("contoso") };
    let lab = Lab::new(vec![tenant], |_| ());
    let keys = "source: {kind: sessions_report, page_size: 10}, requests_per_minute: 100000";
    let configuration = lab.configuration("poll_interval: 1m", &[("contoso", keys)]);
    (lab, configuration)
}

#[test]
fn a_log_has_a_line_now_and_then() {
    let (lab, configuration) = long();
    let mut once = program(&configuration);
    once.arg(format!("--storage.path={}", lab.directory.path().join("data").display())).arg("once");
    for first in [true, false] {
        let output = once.output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{log}");
        let lines: Vec<_> = log.lines().filter(|line| line.contains("msg=Reading")).collect();
        let at = |pages: u64| lines.iter().filter(|line| line.contains(&format!(" pages={pages} "))).count();
        // Each process's first reading, also one that finds nothing new: it takes as long.
        assert_eq!([1, 10, 100].map(at), [1, 1, 1], "{first}: {log}");
        assert!(lines.len() < 20, "a line a page would be too many: {log}");
        assert!(lines[0].contains(" rows=10 rows_total=") && lines[0].ends_with(" percent=0 tenant=contoso"), "{log}");
    }
}

fn once(configuration: &Path, storage: &Path) -> Command {
    let mut command = program(configuration);
    command.arg(format!("--storage.path={}", storage.display())).arg("once");
    command
}

#[test]
fn a_terminal_has_a_bar_that_leaves_the_log_whole_and_goes_away() {
    let (lab, configuration) = long();
    // Each request is logged while the bar stands there.
    let mut once = once(&configuration, &lab.directory.path().join("data"));
    once.arg("--log.level=debug");
    let (code, raw, seen) = Terminal::start(&once, &[]).end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(raw.contains("contoso [") && raw.contains(" rows, "), "a bar was drawn: {raw:?}");
    assert!(!raw.contains("msg=Reading"), "and no line tells the same");
    assert!(!seen.contains("contoso ["), "it is gone at the end: {seen}");
    let log: Vec<_> = seen.lines().filter(|line| line.contains("level=")).collect();
    assert!(log.iter().all(|line| line.starts_with("time=")), "no line is garbled: {log:#?}");
    assert!(log.len() > 100 && log.iter().any(|line| line.contains("Poll succeeded")), "{seen}");
    assert!(seen.contains("remote_assistance_up{tenant=\"contoso\"} 1"), "{seen}");
}

#[test]
fn ctrl_c_takes_the_bar_away() {
    let (lab, configuration) = long();
    // Slow enough to be interrupted on the way.
    let keys = std::fs::read_to_string(&configuration).unwrap().replace("100000", "60");
    std::fs::write(&configuration, keys).unwrap();
    let mut terminal = Terminal::start(&once(&configuration, &lab.directory.path().join("data")), &[]);
    wait_for("the bar", || terminal.raw().contains("contoso [").then_some(()));
    terminal.press_ctrl_c();
    let (code, _, seen) = terminal.end();
    assert_eq!(code, Some(1), "{seen}");
    assert!(!seen.contains("contoso ["), "{seen}");
    let last = seen.trim_end().lines().last().unwrap();
    assert_eq!(last, "remote-assistance-exporter: error: stopped before every tenant was polled", "{seen}");
}

#[test]
fn check_on_a_terminal_is_coloured_unless_told_not_to() {
    let (_lab, configuration) = long();
    let mut check = program(&configuration);
    check.arg("check");
    for (environment, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let (code, raw, seen) = Terminal::start(&check, environment).end();
        assert_eq!(code, Some(0), "{seen}");
        assert_eq!(raw.contains("\u{1b}[32mok\u{1b}[0m"), coloured, "{raw:?}");
        assert!(seen.starts_with("contoso: ok\n  configuration    ok  source "), "{seen}");
        assert!(seen.trim_end().ends_with("1 tenant: 1 ok"), "{seen}");
    }
}
