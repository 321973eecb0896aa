//! The log's level by `log.level`: at start and at each reload, in place of the flag's.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{lab, reload};
use crate::support::{Exporter, Lab, wait_for};

/// Writes the configuration of one tenant, with this `log` block.
fn write(lab: &Lab, log: &str) -> std::path::PathBuf {
    let path = lab.configuration("poll_interval: 1s", &[("contoso", "")]);
    let yaml = fs::read_to_string(&path).unwrap();
    fs::write(&path, yaml + log).unwrap();
    path
}

fn start(lab: &Lab, configuration: &Path, level: &str) -> Exporter {
    let flags = ["--web.enable-lifecycle".to_owned(), format!("--log.level={level}")];
    Exporter::start(lab.arguments(configuration).into_iter().chain(flags))
}

fn polls(exporter: &mut Exporter) -> f64 {
    exporter.scrape().sum("polls_total", &[])
}

/// The levels of what is logged during the next two polls. What was under way before is not seen.
fn heard(exporter: &mut Exporter) -> Vec<String> {
    let next = |exporter: &mut Exporter| {
        let before = polls(exporter);
        wait_for("a poll", || (polls(exporter) > before).then_some(()));
    };
    next(exporter);
    let before = exporter.log().len();
    next(exporter);
    next(exporter);
    let level = |line: &String| line.split_once("level=").unwrap().1.split(' ').next().unwrap().to_owned();
    let mut levels: Vec<_> = exporter.log()[before..].iter().map(level).collect();
    levels.sort();
    levels.dedup();
    levels
}

#[test]
fn the_level_follows_the_configuration_and_without_its_word_the_flag() {
    let lab = lab(&["contoso"]);
    let mut exporter = start(&lab, &write(&lab, ""), "info");
    exporter.wait_for_log(&["msg=Listening"]);
    assert_eq!(heard(&mut exporter), ["info"]);

    write(&lab, "log: {level: debug}\n");
    exporter.signal("HUP");
    exporter.wait_for_log(&["level=info msg=\"The log's level changes\" from=info to=debug"]);
    assert_eq!(heard(&mut exporter), ["debug", "info"]);
    let debug = exporter.log().into_iter().filter(|line| line.contains("level=debug")).collect::<Vec<_>>().join("\n");
    assert!(!debug.contains("-secret") && !debug.contains("Bearer"), "{debug}");

    // A bad configuration changes nothing, not even this.
    write(&lab, "log: {level: error}\nbogus: 1\n");
    assert_eq!(exporter.reload().status, 500);
    assert!(heard(&mut exporter).contains(&"debug".to_owned()));

    write(&lab, "log: {level: error}\n");
    reload(&mut exporter);
    exporter.wait_for_log(&["from=debug to=error"]);
    assert_eq!(heard(&mut exporter), Vec::<String>::new());

    write(&lab, "");
    reload(&mut exporter);
    exporter.wait_for_log(&["from=error to=info"]);
    assert_eq!(heard(&mut exporter), ["info"]);
    exporter.stop();
}

#[test]
fn the_configuration_wins_from_the_start() {
    let lab = lab(&["contoso"]);
    let mut exporter = start(&lab, &write(&lab, "log: {level: info}\n"), "error");
    exporter.wait_for_log(&["msg=Listening"]);
    assert_eq!(heard(&mut exporter), ["info"]);
    exporter.stop();
}

/// And for the commands that end by themselves.
#[test]
fn commands_that_end_follow_it_too() {
    let lab = lab(&["contoso"]);
    let configuration = write(&lab, "log: {level: debug}\n");
    for command in ["once", "check"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
        let output = program.arg(command).args(lab.arguments(&configuration)).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{command}: {log}");
        assert!(log.contains("level=debug"), "{command}: {log}");
    }
}
