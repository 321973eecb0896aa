//! The exposition of a small, fixed snapshot, in all formats, line by line; and who else reads what is served.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use remote_assistance_exporter::exposition::{Exposition, Format};
use remote_assistance_exporter::ledger::totals::{Fate, Subject, TICKS_PER_SECOND, Totals, Window};
use remote_assistance_exporter::ledger::{Snapshot, TenantSnapshot};
use remote_assistance_exporter::metrics::{Build, Business, HttpMetrics, Own};
use remote_assistance_exporter::session::{EnrollmentState, Os, RejectReason, Role, SessionType};
use remote_assistance_exporter::source::{Endpoint, Observer};
use remote_assistance_exporter::status::FailureReason;

use crate::{golden, tools};

mod readers;

#[test]
fn text() {
    golden::compare("snapshot.txt", &golden::render(&exposition(), Format::Text));
}

#[test]
fn openmetrics() {
    golden::compare("snapshot.openmetrics.txt", &golden::render(&exposition(), Format::OpenMetrics));
}

/// Without native histograms, which the history has.
#[test]
fn protobuf() {
    golden::twins_are_alike(&exposition());
    golden::compare("snapshot.protobuf.txt", &golden::render(&exposition(), Format::Protobuf));
}

/// Quotes, backslashes and letters beyond ASCII mean the same to others.
#[test]
fn official_parsers_agree_on_it() {
    let (text, openmetrics) =
        (golden::render(&exposition(), Format::Text), golden::render(&exposition(), Format::OpenMetrics));
    tools::promtool_is_silent(&text);
    let samples = tools::parse(Format::Text, &text).samples();
    assert!(samples.iter().any(|(_, labels, _)| labels.get("tenant").is_some_and(|name| name == FABRIKAM)));
    assert_eq!(samples, tools::parse(Format::OpenMetrics, &openmetrics).samples());
}

const FABRIKAM: &str = "fabrikam \"B\" \\ Söhne";

fn exposition() -> Exposition {
    let published = Arc::new(ArcSwap::from_pointee(snapshot()));
    let build = Build { version: "0.1.0", revision: "0123abc", rust_version: "1.89.0" };
    let own = Own::new(&build, start).unwrap();
    own.config_loaded(0xfeed_beef, start());
    own.committed(Duration::from_millis(8));
    own.commit_failed();
    let contoso = own.tenant("contoso");
    contoso.declare(Duration::from_secs(300));
    contoso.request(Endpoint::Token, Some(200), Duration::from_millis(100));
    contoso.token_expires(start() + TimeDelta::hours(1));
    contoso.request(Endpoint::SessionsReport, Some(429), Duration::from_millis(20));
    contoso.throttled();
    contoso.retry();
    contoso.request(Endpoint::SessionsReport, Some(200), Duration::from_millis(750));
    contoso.poll_succeeded(start() + TimeDelta::milliseconds(1500), Duration::from_millis(1500));
    let fabrikam = own.tenant(FABRIKAM);
    fabrikam.declare(Duration::from_secs(30));
    fabrikam.request(Endpoint::Collection, None, Duration::from_secs(30));
    fabrikam.poll_failed(FailureReason::Timeout, Duration::from_secs(30));
    let http = HttpMetrics::new(start).unwrap();
    let metrics = http.path("/metrics");
    http.declare(metrics, &[200, 500, 503]);
    http.answered(metrics, 200, Duration::from_millis(2));
    http.answered(http.path("other"), 404, Duration::from_micros(50));
    Exposition::new(vec![Box::new(Business::new(published).unwrap()), Box::new(own.part())], http)
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_774_000_000, 0).unwrap()
}

fn snapshot() -> Snapshot {
    let mut busy = Totals::zero(start(), &[60.0, 600.0, 3600.0]);
    for (session_type, seconds) in [(SessionType::FullControl, 90), (SessionType::FullControl, 600)] {
        busy.sessions[session_type].increment();
        busy.durations[session_type].observe(seconds * TICKS_PER_SECOND + 1);
        busy.participants[Role::Helper][EnrollmentState::Enrolled].increment();
        busy.participants[Role::Sharer][EnrollmentState::NotContacted].increment();
        busy.systems[Role::Helper][Os::Windows].increment();
        busy.systems[Role::Sharer][Os::MacOs].increment();
        busy.delays.observe(1200 * TICKS_PER_SECOND);
    }
    busy.sessions[SessionType::Unattended].increment();
    busy.invalid_durations.increment();
    busy.cross_tenant[SessionType::FullControl].increment();
    busy.read.value = 8;
    busy.fates[Fate::Counted].value = 3;
    busy.fates[Fate::Duplicate].value = 3;
    busy.fates[Fate::Unfinished].value = 1;
    busy.rejected[RejectReason::UnreadableDate].increment();
    busy.rows_missing.value = 2;
    busy.in_progress = Some(1);
    busy.active[Subject::Helpers][Window::Day] = 1;
    busy.active[Subject::Helpers][Window::Month] = 2;
    busy.helper_sessions.insert("5e8f".into(), busy.sessions[SessionType::FullControl]);
    busy.last_session_end = Some(start() - TimeDelta::milliseconds(12_500));
    let quiet = Totals::zero(start(), &[60.0, 600.0, 3600.0]);
    let tenant =
        |name: &str, totals| TenantSnapshot { name: name.into(), totals: Arc::new(totals), last_success: None };
    Snapshot {
        tenants: vec![tenant(FABRIKAM, quiet), tenant("contoso", busy)],
        sessions: 3,
        size_bytes: 1_589_248,
        ..Snapshot::default()
    }
}
