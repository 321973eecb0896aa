//! The `/metrics` of a fixed history, in both formats: every business series and every fate of a
//! report, counted by a real ledger.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use remote_assistance_exporter::config::{FirstRun, HelperLabel};
use remote_assistance_exporter::exposition::Format;
use remote_assistance_exporter::ledger::{Batch, Clock, EndOfReading, Ledger, Policy, Settings, Snapshot};
use remote_assistance_exporter::metrics::catalogue;
use remote_assistance_exporter::session::{
    DURATION_BOUNDS, EnrollmentState, Participant, Reject, RejectReason, SessionReport, SessionType,
};

use super::exposition::{compare, render};
use super::prometheus::promtool_is_silent;

#[test]
fn both_formats_of_a_history() {
    let snapshot = history();
    let text = render(snapshot.clone(), Format::Text);
    let openmetrics = render(snapshot, Format::OpenMetrics);
    compare("history.txt", &text);
    compare("history.openmetrics.txt", &openmetrics);
    for metric in catalogue::all() {
        assert!(text.contains(&format!("# TYPE {} ", metric.name)), "{} is in no golden file", metric.name);
    }
    promtool_is_silent(&text);
    let (of_text, of_openmetrics) = (samples("parser", &text), samples("openmetrics.parser", &openmetrics));
    assert!(of_text.lines().count() > 300, "{of_text}");
    assert_eq!(of_text, of_openmetrics);
}

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_774_008_000, 0).unwrap()
}

/// Two tenants over two polls. Of contoso, each fate but baseline; of fabrikam, a baseline first.
fn history() -> Snapshot {
    let directory = tempfile::tempdir().unwrap();
    let policy = |name: &str, first_run| Policy { name: name.into(), lookback: TimeDelta::days(30), first_run };
    let fabrikam = "fabrikam \"B\" \\ Söhne";
    let settings = Settings {
        tenants: vec![policy("contoso", FirstRun::Count), policy(fabrikam, FirstRun::Baseline)],
        duration_bounds: DURATION_BOUNDS.to_vec(),
        helper_label: HelperLabel::Plain,
    };
    let mut ledger = Ledger::open(directory.path(), settings, noon()).unwrap();
    let old = session("old", 40 * 1440, 600, SessionType::ViewOnly);
    let first = session("first", 90, 45, SessionType::FullControl);
    let baseline = session("baseline", 300, 60, SessionType::ViewOnly);
    let broken = Reject::anonymous(RejectReason::MissingId, "id is missing");
    ledger
        .commit(&[
            batch("contoso", 0, vec![old, first.clone(), unfinished("going-on")], vec![broken]),
            batch(fabrikam, 0, vec![baseline.clone()], vec![]),
        ])
        .unwrap();
    let amended = SessionReport { device_id: Some("repaired".into()), ..first.clone() };
    let second = session("second", -2, 1800, SessionType::ViewOnly);
    let without_start = SessionReport { start: None, ..session("third", -1, 0, SessionType::Unattended) };
    let mut foreign = session("fourth", 2000, 28_801, SessionType::Elevation);
    foreign.helper.tenant_id = Some("11111111-1111-1111-1111-111111111111".into());
    foreign.sharer.tenant_id = Some("22222222-2222-2222-2222-222222222222".into());
    let in_the_future = session("fifth", -3000, 60, SessionType::Other);
    let reports = vec![amended, second.clone(), second, without_start, foreign, in_the_future, unfinished("going-on")];
    let mut last = batch("contoso", 10, reports, vec![]);
    last.end = Some(EndOfReading { rows_missing: 2 });
    let new = session("new", -5, 7200, SessionType::Unreported);
    ledger.commit(&[last, batch(fabrikam, 10, vec![baseline, new], vec![])]).unwrap();
    // The file's size is the storage engine's matter and changes with its release.
    Snapshot { size_bytes: 1_589_248, ..Snapshot::clone(&ledger.snapshot()) }
}

/// A session that ended so many minutes before noon.
fn session(id: &str, minutes: i64, seconds: i64, session_type: SessionType) -> SessionReport {
    let end = noon() - TimeDelta::minutes(minutes);
    let person = |email: &str, os: &str, enrollment_state| Participant {
        email: Some(email.into()),
        os: Some(os.into()),
        enrollment_state,
        ..Participant::default()
    };
    SessionReport {
        id: id.into(),
        start: Some(end - TimeDelta::seconds(seconds)),
        end: Some(end),
        session_type,
        helper: person("helper@contoso.example", "Windows 11", EnrollmentState::Enrolled),
        sharer: person(&format!("{id}@contoso.example"), "macOS 15.1", EnrollmentState::NotContacted),
        device_id: Some(format!("device of {id}").into()),
        ..SessionReport::default()
    }
}

fn unfinished(id: &str) -> SessionReport {
    SessionReport { end: None, ..session(id, 0, 60, SessionType::FullControl) }
}

/// A whole reading, so many minutes after noon.
fn batch(tenant: &str, minutes: i64, reports: Vec<SessionReport>, rejects: Vec<Reject>) -> Batch {
    let now = noon() + TimeDelta::minutes(minutes);
    let end = Some(EndOfReading { rows_missing: 0 });
    Batch { tenant: tenant.into(), clock: Clock { now, cautious: now }, first: true, reports, rejects, end }
}

/// The samples that the official Python client reads, a line each, sorted.
fn samples(parser: &str, exposition: &str) -> String {
    let program = format!(
        "import sys\nfrom prometheus_client.{parser} import text_string_to_metric_families as parse\n\
         families = parse(sys.stdin.buffer.read().decode())\n\
         lines = [repr((s.name, sorted(s.labels.items()), float(s.value))) for f in families for s in f.samples]\n\
         sys.stdout.buffer.write('\\n'.join(sorted(lines)).encode())\n"
    );
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    let mut python = Command::new(python)
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("target/python has prometheus-client (tests/run makes it)");
    python.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The formats write a bucket's bound as 30 and 30.0.
    String::from_utf8(output.stdout).unwrap().replace(".0')", "')")
}
