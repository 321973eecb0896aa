//! The whole `/metrics` of a fixed history, in all formats: what the simulated Graph served was read
//! by the real client, counted in a ledger, and rendered.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it golden exposition` rewrites the golden files; look at their
//! diff as at code. Once a release has them, names, types, labels and values in them do not change.

mod history;

use std::path::Path;

use remote_assistance_exporter::exposition::{Exposition, Format, Wanted};
use remote_assistance_exporter::ledger::totals::Window;
use remote_assistance_exporter::metrics::catalogue;
use remote_assistance_exporter::session::{EnrollmentState, Label, Os, RejectReason, SessionType};

use crate::support::Scrape;
use crate::tools;

/// What another run, another machine or another release of a library may give otherwise, by the
/// beginning of the series, and why. Everything else is in the golden files.
const VOLATILE: &[(&str, &str)] = &[
    ("remote_assistance_enrollment_lookup_last_success_timestamp_seconds", "by the machine's clock"),
    ("remote_assistance_exporter_config_hash", "the simulator's port is part of the configuration"),
    ("remote_assistance_graph_request_duration_seconds", "measured"),
    ("remote_assistance_last_poll_duration_seconds", "measured"),
    ("remote_assistance_last_poll_success_timestamp_seconds", "by the machine's clock"),
    ("remote_assistance_ledger_commit_duration_seconds", "measured"),
    ("remote_assistance_ledger_size_bytes", "depends on the storage engine's version"),
    ("remote_assistance_token_expiry_timestamp_seconds", "by the machine's clock"),
];

/// Compares with a golden file; with `UPDATE_GOLDEN` set, writes it.
#[track_caller]
pub fn compare(name: &str, rendered: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, rendered).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (is, should)) in rendered.lines().zip(golden.lines()).enumerate() {
        assert_eq!(is, should, "{name}, line {}: UPDATE_GOLDEN=1 rewrites it", number + 1);
    }
    assert_eq!(rendered.len(), golden.len(), "{name} has another end: UPDATE_GOLDEN=1 rewrites it");
}

/// An exposition in one format; protobuf as another reader shows it.
pub fn render(exposition: &Exposition, format: Format) -> String {
    let bytes = exposition.render(Wanted { format, ..Wanted::default() }).unwrap().bytes();
    if format == Format::Protobuf { tools::decode(&bytes) } else { String::from_utf8(bytes).unwrap() }
}

/// Formats that differ in their number alone.
#[track_caller]
pub fn twins_are_alike(exposition: &Exposition) {
    for (one, other) in [(Format::Text, Format::Text1), (Format::OpenMetrics, Format::OpenMetricsDraft)] {
        assert_eq!(render(exposition, one), render(exposition, other), "{one:?} {other:?}");
    }
}

#[test]
fn of_a_fixed_history() {
    let exposition = history::play();
    let (text, openmetrics) = (render(&exposition, Format::Text), render(&exposition, Format::OpenMetrics));
    everything_happens_in_it(&Scrape::parse(&text));
    for rendered in [&text, &stable(&text)] {
        tools::promtool_is_silent(rendered);
    }
    for (text, openmetrics) in [(&text, &openmetrics), (&stable(&text), &stable(&openmetrics))] {
        let parsed = [(Format::Text, text), (Format::OpenMetrics, openmetrics)].map(|(f, page)| tools::parse(f, page));
        assert_eq!(parsed[0].samples(), parsed[1].samples());
    }
    compare("history.txt", &stable(&text));
    compare("history.openmetrics.txt", &stable(&openmetrics));
    twins_are_alike(&exposition);
    compare("history.protobuf.txt", &stable_protobuf(&render(&exposition, Format::Protobuf)));
}

/// The same of protobuf: of a volatile series, its labels alone are left.
fn stable_protobuf(decoded: &str) -> String {
    let mut volatile = false;
    let line = |line: &str| {
        if !line.starts_with(' ') {
            volatile = VOLATILE.iter().any(|(name, _)| line.starts_with(name));
        }
        match line.find("gauge {").or(line.find("histogram {")) {
            Some(value) if volatile && line.starts_with(' ') => format!("{}...\n", &line[..value]),
            _ => format!("{line}\n"),
        }
    };
    decoded.lines().map(line).collect()
}

/// The same with 0 for each volatile value. A histogram keeps how many observations it has.
fn stable(page: &str) -> String {
    let line = |line: &str| {
        let series = line.split(['{', ' ']).next().unwrap_or_default();
        let counts = series.ends_with("_count") || line.contains("le=\"+Inf\"");
        let volatile = VOLATILE.iter().any(|(name, _)| series.starts_with(name)) && !counts;
        match line.rsplit_once(' ') {
            Some((sample, _)) if volatile => format!("{sample} 0\n"),
            _ => format!("{line}\n"),
        }
    };
    page.lines().map(line).collect()
}

/// Only others have them: tenants that read files or have a certificate, servers with a web
/// configuration, and the second of several shards.
const OF_OTHERS: [&str; 6] = [
    "remote_assistance_exporter_shard_ordinal",
    "remote_assistance_files_set_aside",
    "remote_assistance_credential_expiry_timestamp_seconds",
    "remote_assistance_exporter_web_certificate_expiry_timestamp_seconds",
    "remote_assistance_exporter_web_config_last_reload_successful",
    "remote_assistance_exporter_web_config_last_reload_success_timestamp_seconds",
];

/// A golden file shows little of a series that stays at zero.
fn everything_happens_in_it(page: &Scrape) {
    let happens = |name: &str, label: &str, value: &str| {
        let label = format!("{label}=\"{value}\"");
        assert!(page.sum(name, &[&label]) > 0.0, "{name}{{{label}}}");
    };
    for metric in catalogue::all() {
        if OF_OTHERS.contains(&metric.name) {
            continue;
        }
        let name = metric.name.strip_prefix(catalogue::PREFIX).unwrap();
        let name = if metric.kind == catalogue::Kind::Histogram { &format!("{name}_count") } else { name };
        let parts = if metric.labels.contains(&"tenant") { &["tenant="][..] } else { &[] };
        assert!(page.sum(name, parts) > 0.0, "{name}");
    }
    for tenant in history::TENANTS {
        happens("sessions_total", "tenant", tenant);
    }
    SessionType::ALL.iter().for_each(|value| happens("sessions_total", SessionType::NAME, value.as_str()));
    SessionType::ALL.iter().for_each(|value| {
        happens("session_duration_seconds_count", SessionType::NAME, value.as_str());
    });
    EnrollmentState::ALL.iter().for_each(|value| happens("participants_total", EnrollmentState::NAME, value.as_str()));
    Os::ALL.iter().for_each(|value| happens("participant_os_total", Os::NAME, value.as_str()));
    RejectReason::ALL.iter().for_each(|value| happens("reports_rejected_total", RejectReason::NAME, value.as_str()));
    let windows =
        Window::ALL.iter().map(|window| page.sum("active_helpers", &[&format!("window=\"{}\"", window.as_str())]));
    let windows: Vec<_> = windows.collect();
    assert!(windows.windows(2).all(|two| two[0] < two[1]), "{windows:?}");
}
