//! `check`: what it says of tenants that are well and of each thing that can be wrong, for people and
//! for machines, and how the program ends.

mod failures;
mod network;
mod progress;
mod report;
mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use remote_assistance_exporter::simulator::{Options, Participant, Session, TenantOptions};
use serde_json::Value;

use crate::support::Lab;
use crate::tools::follows_schema;

/// The program in an empty environment, with a configuration.
fn program(configuration: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.env_clear().stdin(Stdio::null()).arg(format!("--config.file={}", configuration.display()));
    command
}

/// What `check` gives.
struct Checked {
    code: i32,
    output: String,
    log: String,
}

impl Checked {
    fn run(configuration: &Path, flags: &[&str]) -> Self {
        Self::of(&program(configuration).arg("check").args(flags).output().unwrap())
    }

    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), output: text(&output.stdout), log: text(&output.stderr) }
    }

    /// The line with which the program ends when it fails.
    fn last_line(&self) -> &str {
        self.log.lines().last().unwrap_or_default()
    }

    /// The document, which follows its schema.
    #[track_caller]
    fn document(&self) -> Value {
        let document = serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {}", self.output));
        follows_schema("docs/check.schema.json", &self.output);
        document
    }
}

/// The steps of each tenant: status and message.
fn steps(document: &Value, tenant: &str) -> BTreeMap<String, (String, String)> {
    let tenants = document["tenants"].as_array().unwrap();
    let found = tenants.iter().find(|found| found["tenant"] == tenant).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let step = |step: &Value| (text(&step["step"]), (text(&step["status"]), text(&step["message"])));
    found["steps"].as_array().unwrap().iter().map(step).collect()
}

/// One step of a tenant.
fn step<'a>(document: &'a Value, tenant: &str, name: &str) -> &'a Value {
    let tenants = document["tenants"].as_array().unwrap();
    let found = tenants.iter().find(|found| found["tenant"] == tenant).unwrap();
    found["steps"].as_array().unwrap().iter().find(|step| step["step"] == name).unwrap()
}

/// When the sessions of these tests were.
fn noon() -> DateTime<Utc> {
    "2026-03-19T12:00:00Z".parse().unwrap()
}

/// Three sessions between people whose names must not be seen.
fn sessions() -> Vec<Session> {
    let person = |role: &str, os: Option<&str>| Participant {
        email: Some(format!("{role}@private.example")),
        first_name: Some(format!("First-{role}")),
        last_name: Some(format!("Last-{role}")),
        device_name: Some(format!("LAPTOP-{role}")),
        device_aad_id: Some(format!("aad-{role}")),
        os: os.map(str::to_owned),
        ..Participant::default()
    };
    let session = |number: i64, session_type: &'static str| Session {
        id: format!("session-{number}"),
        start: Some(noon() + TimeDelta::minutes(number)),
        end: Some(noon() + TimeDelta::minutes(number + 9)),
        session_type: Some(session_type.into()),
        helper: person("helper", None).into(),
        sharer: person("sharer", (number != 2).then_some("Windows 11")).into(),
        ..Session::default()
    };
    vec![session(1, "viewOnly"), session(2, "fullControl"), session(3, "fullControl")]
}

/// What no output may hold: people, devices and sessions.
const PRIVATE: &[&str] = &["private.example", "First-", "Last-", "LAPTOP-", "aad-", "session-1", "-secret"];

/// Holds that no person, device, session, secret or token is seen.
#[track_caller]
fn shows_nothing_private(lab: &Lab, checked: &Checked) {
    let seen = format!("{}{}", checked.output, checked.log);
    let tokens = lab.simulator.tokens();
    for private in PRIVATE.iter().copied().chain(tokens.iter().map(String::as_str)) {
        assert!(!seen.contains(private), "{private}: {seen}");
    }
}

/// What a tenant differs in.
type Change = fn(&mut TenantOptions);

/// A lab of tenants with those sessions.
fn lab(tenants: &[(&str, Change)], change: impl FnOnce(&mut Options)) -> Lab {
    let options = |(name, change): &(&str, Change)| {
        let mut options = TenantOptions::manual(name);
        change(&mut options);
        options
    };
    let lab = Lab::new(tenants.iter().map(options).collect(), change);
    for (name, _) in tenants {
        lab.simulator.tenant(name).unwrap().set_sessions(sessions());
    }
    lab
}

/// From here on, snapshots have stand-ins for what differs from run to run.
fn stand_ins() -> insta::internals::SettingsBindDropGuard {
    let common = crate::support::stand_ins();
    let mut settings = insta::Settings::clone_current();
    drop(common);
    settings.add_filter(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT");
    settings.add_filter(r"(?:::1, )?127\.0\.0\.1(?:, ::1)?", "127.0.0.1");
    settings.add_filter(r"expires( +)\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "expires${1}TIME");
    settings.add_filter(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "GUID");
    settings.bind_to_scope()
}

/// A configuration of one tenant with exactly these keys, beside the lab's certificate.
fn configuration(lab: &Lab, keys: &str) -> PathBuf {
    let path = lab.directory.path().join("one.yaml");
    std::fs::write(&path, format!("tenants: [{{name: contoso, {keys}}}]\n")).unwrap();
    path
}
