//! A real Prometheus on blocks of the history finds each session in its hour, and goes on with the live
//! series as if it had always scraped them.

use std::collections::BTreeMap;
use std::process::Command;

use chrono::TimeDelta;
use remote_assistance_exporter::metrics::catalogue;
use remote_assistance_exporter::session::{Label, SessionType};
use remote_assistance_exporter::simulator::{COLLECTION_PATH, TenantOptions};

use super::run;
use crate::prometheus::server::{Prometheus, Vector};
use crate::support::{Exporter, Lab};
use crate::truth;

const TENANTS: [&str; 2] = ["contoso", "fabrikam"];
const SESSIONS: &str = "remote_assistance_sessions_total";
/// Of the simulated history, and of the queries.
const DAYS: i64 = 4;

#[test]
fn prometheus_finds_sessions_when_they_happened_and_goes_on_with_the_live_series() {
    let tenant = |name| TenantOptions { live_per_second: 0.0, ..TenantOptions::new(name) };
    let lab = Lab::new(TENANTS.map(tenant).into(), |options| options.history = TimeDelta::days(DAYS));
    let now = lab.freeze();
    let source = format!("source: {{kind: collection, page_size: 500, path: {COLLECTION_PATH}}}");
    let configuration = lab.configuration("poll_interval: 1s", &TENANTS.map(|name| (name, &*source)));
    let arguments = lab.arguments(&configuration);
    let mut exporter = Exporter::start(&arguments);
    let truth = truth::truth(&lab, &TENANTS, now);
    exporter.wait_for_scrape("the history", |scrape| truth::business(scrape) == truth);

    // Beside the exporter, which goes on polling every second.
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let instance = format!("--label=instance={}", exporter.address());
    let output = format!("--output={}", path("history.txt"));
    let (code, _, line) = run(&[&*arguments[1], "--label=job=remote-assistance", &instance, &output]);
    assert_eq!(code, Some(0), "{line}");
    let mut promtool = Command::new("promtool");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=744h"]);
    let made = promtool.args([path("history.txt"), path("data")]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let prometheus = Prometheus::on(exporter.address(), directory.path(), &[], &["--storage.tsdb.retention.time=400d"]);
    prometheus.wait_for(&format!("count({SESSIONS})"), |count| count.values().eq(&[12.0]));
    each_hour_has_its_sessions(&lab, &prometheus, now.timestamp());
    // The same series, without a break: the live value is the truth, and none ever fell.
    let by = format!("sum by (session_type, tenant) ({SESSIONS})");
    let shown = prometheus.wait_for(&by, |shown| shown.len() == 12);
    let counted = TENANTS.iter().flat_map(|tenant| lab.simulator.tenant(tenant).unwrap().ended(now)).count();
    assert_eq!(shown.values().sum::<f64>(), counted as f64);
    for metric in
        [catalogue::SESSIONS.name, catalogue::PARTICIPANTS.name, "remote_assistance_session_duration_seconds_bucket"]
    {
        let at_most = |query: &str| prometheus.value(&format!("max({query}({metric}[{}d]))", DAYS + 1));
        assert_eq!(at_most("resets"), 0.0, "{metric}");
        let series = prometheus.value(&format!("count(count_over_time({metric}[{}d]))", DAYS + 1));
        assert_eq!(series, prometheus.value(&format!("count({metric})")), "{metric}: history and live are one series");
    }
}

/// By type and tenant, for every whole hour of the history: `increase` over it is what ended in it.
fn each_hour_has_its_sessions(lab: &Lab, prometheus: &Prometheus, now: i64) {
    const HOUR: i64 = 3600;
    let mut truth = BTreeMap::<i64, Vector>::new();
    for tenant in TENANTS {
        for session in lab.simulator.tenant(tenant).unwrap().ended(lab.now()) {
            let end = session.end.unwrap();
            // An end on the hour is in the hour that it ends.
            let whole = end.timestamp() + i64::from(end.timestamp_subsec_nanos() > 0);
            let hour = (whole + HOUR - 1).div_euclid(HOUR) * HOUR;
            let session_type = session.session_type.as_deref().unwrap_or("unreported");
            *truth.entry(hour).or_default().entry(format!("{session_type},{tenant}")).or_default() += 1.0;
        }
    }
    let last = (now - 3 * HOUR).div_euclid(HOUR) * HOUR;
    let first = *truth.keys().next().unwrap() + HOUR;
    let query = format!("sum by (session_type, tenant) (increase({SESSIONS}[1h]))");
    let mut found = 0.0;
    for hour in (first..=last).step_by(HOUR as usize) {
        let increase = prometheus.query_at(&query, hour as f64);
        assert_eq!(increase.len(), TENANTS.len() * SessionType::ALL.len());
        for (name, value) in increase {
            let ended = truth.get(&hour).and_then(|hour| hour.get(&name)).copied().unwrap_or(0.0);
            assert!((value - ended).abs() < 1e-6, "{name} in the hour up to {hour}: {value}, {ended} in truth");
            found += value;
        }
    }
    assert!(found > 100.0, "{found} sessions: the test shows nothing");
}
