//! A real Prometheus scrapes the real program: what PromQL says is what happened.

mod native;
mod relay;
mod secured;
pub mod server;

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use remote_assistance_exporter::exposition::Format;
use remote_assistance_exporter::metrics::catalogue::{self, Kind, Metric};
use remote_assistance_exporter::session::{Label, SessionType};
use remote_assistance_exporter::simulator::{COLLECTION_PATH, Scenario, Session, TenantOptions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;

use crate::support::{Exporter, Lab, PATIENCE, exchange, get_with, wait_for};
use crate::tools;
use relay::Relay;
use server::{Prometheus, Vector};

const SESSIONS: &str = "remote_assistance_sessions_total";

/// The range of every `increase` here: longer than the test.
const RANGE: &str = "1h";

const TENANTS: [&str; 2] = ["contoso", "fabrikam"];

/// Prometheus sees every series from zero on, since Graph refuses all reading until it has scraped
/// once; sessions arrive while it scrapes; the exporter is killed and started again in between; then
/// the simulator's clock stops, so that what is counted can be compared with what ended.
#[test]
fn promql_tells_exactly_what_the_simulator_ended() {
    let lab = lab();
    let tenant = |name| lab.simulator.tenant(name).unwrap();
    TENANTS.iter().for_each(|name| tenant(name).set_scenario(Scenario::MissingRole));
    let source = format!("source: {{kind: collection, page_size: 500, path: {COLLECTION_PATH}}}");
    let report = "source: {kind: sessions_report, page_size: 500}";
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", report), ("fabrikam", &source)]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let relay = Relay::new(exporter.address());
    let prometheus = Prometheus::start(relay.address());
    let series = (TENANTS.len() * SessionType::ALL.len()) as f64;
    prometheus.wait_for(&format!("count({SESSIONS} == 0)"), |count| count.values().eq(&[series]));
    assert!(relay.compressed() > 0, "what Prometheus took in had come compressed");

    TENANTS.iter().for_each(|name| tenant(name).set_scenario(Scenario::None));
    let ended = || TENANTS.iter().map(|name| tenant(name).truth(lab.now()).ended).sum::<u64>();
    let grows_by = |sessions: u64| {
        let enough = (ended() + sessions) as f64;
        prometheus.wait_for(&format!("sum({SESSIONS})"), |sum| sum.values().all(|sum| *sum >= enough));
    };
    grows_by(20);
    exporter.kill();
    exporter = Exporter::start(lab.arguments(&configuration));
    relay.lead_to(exporter.address());
    grows_by(20);

    let now = lab.freeze();
    let sessions: Vec<_> = TENANTS.map(|name| (name, tenant(name).ended(now))).into();
    let truth = by_type(&sessions);
    let by = format!("sum by (session_type, tenant) ({SESSIONS})");
    prometheus.wait_for(&by, |shown| *shown == truth);

    increases_are_the_truth(&prometheus, &truth);
    durations_are_the_truth(&prometheus, sessions.iter().flat_map(|(_, sessions)| sessions));
    nothing_was_reset_by_the_restart(&prometheus);
}

fn lab() -> Lab {
    let tenants = TENANTS.map(|name| TenantOptions { live_per_second: 4.0, ..TenantOptions::new(name) });
    Lab::new(tenants.into(), |options| {
        options.late_share = 0.2;
        options.late_max = TimeDelta::seconds(4);
        options.duplicate_share = 0.1;
        options.amended_share = 0.1;
        options.amended_after = TimeDelta::seconds(3);
        options.missing_start_share = 0.05;
    })
}

/// How many sessions ended, by `type,tenant`; 0 for what did not happen.
fn by_type(sessions: &[(&str, Vec<Arc<Session>>)]) -> Vector {
    let mut truth = Vector::new();
    for (tenant, sessions) in sessions {
        truth.extend(SessionType::ALL.iter().map(|name| (format!("{},{tenant}", name.as_str()), 0.0)));
        for session in sessions {
            let session_type = session.session_type.as_deref().unwrap_or("unreported");
            *truth.entry(format!("{session_type},{tenant}")).or_default() += 1.0;
        }
    }
    truth
}

/// `increase` extrapolates from its first and last sample to the ends of its range. Not at its start
/// here, where a series that begins at zero is not taken to have been below it; and not at its end,
/// if the query is for the very moment of a scrape. Then it is exact, but for floating point.
/// At any other moment it is stretched by at most 1.1 intervals between its samples.
fn increases_are_the_truth(prometheus: &Prometheus, truth: &Vector) {
    let scraped = prometheus.value(&format!("max(timestamp({SESSIONS}))"));
    let increase = format!("sum by (session_type, tenant) (increase({SESSIONS}[{RANGE}]))");
    let exact = prometheus.query_at(&increase, scraped);
    assert!(exact.keys().eq(truth.keys()), "{exact:?}");
    for (series, value) in &exact {
        let ended = truth[series];
        assert!((value - ended).abs() <= ended * 1e-9, "{series}: {value}, {ended} ended");
    }
    let all: f64 = truth.values().sum();
    let samples = prometheus.value(&format!("min(count_over_time({SESSIONS}[{RANGE}]))"));
    let stretched = prometheus.value(&format!("sum(increase({SESSIONS}[{RANGE}]))"));
    assert!(all * (1.0 - 1e-9) <= stretched, "{stretched}, {all} ended");
    assert!(stretched <= all * (1.0 + 1.1 / (samples - 1.0)), "{stretched}, {all} ended, {samples} samples");
}

fn durations_are_the_truth<'a>(prometheus: &Prometheus, sessions: impl Iterator<Item = &'a Arc<Session>>) {
    let mut seconds: Vec<_> = sessions.filter_map(|session| Some(session.duration_ticks()? as f64 / 1e7)).collect();
    seconds.sort_by(f64::total_cmp);
    let name = catalogue::SESSION_DURATION.name;
    assert_eq!(prometheus.value(&format!("sum({name}_count)")), seconds.len() as f64);
    let (sum, true_sum) = (prometheus.value(&format!("sum({name}_sum)")), seconds.iter().sum::<f64>());
    assert!((sum - true_sum).abs() <= true_sum * 1e-9, "{sum}, {true_sum} in truth");
    // An estimate within the bucket that the true one is in.
    let bounds = prometheus.query(&format!("sum by (le) ({name}_bucket)"));
    let bounds: Vec<f64> = bounds.keys().map(|bound| bound.parse().unwrap()).collect();
    for quantile in [0.1, 0.5, 0.9] {
        let estimate = prometheus.value(&format!("histogram_quantile({quantile}, sum by (le) ({name}_bucket))"));
        let true_one = seconds[(quantile * seconds.len() as f64).ceil() as usize - 1];
        let upper = bounds.iter().copied().filter(|bound| *bound >= true_one).fold(f64::INFINITY, f64::min);
        let lower = bounds.iter().copied().filter(|bound| *bound < true_one).fold(0.0, f64::max);
        assert!(lower <= estimate && estimate <= upper, "{quantile}: {estimate}, {true_one} in truth");
    }
}

fn nothing_was_reset_by_the_restart(prometheus: &Prometheus) {
    let restarts = format!("changes(process_start_time_seconds[{RANGE}])");
    assert_eq!(prometheus.value(&restarts), 1.0);
    assert!(prometheus.value(&format!("max(resets({}[{RANGE}]))", catalogue::POLLS.name)) >= 1.0, "resets are seen");
    for metric in catalogue::BUSINESS.iter().filter(|metric| metric.kind != Kind::Gauge && !is_opt_in(metric)) {
        for name in series_names(metric) {
            assert_eq!(prometheus.value(&format!("max(resets({name}[{RANGE}]))")), 0.0, "{name}");
        }
    }
}

/// Whether only those tenants have the metric whose configuration asks for it; the demo's do not.
fn is_opt_in(metric: &Metric) -> bool {
    let of_others = [
        catalogue::HELPER_SESSIONS,
        catalogue::FILES_SET_ASIDE,
        catalogue::CREDENTIAL_EXPIRY,
        catalogue::WEB_CERTIFICATE_EXPIRY,
        catalogue::WEB_CONFIG_RELOAD_SUCCESSFUL,
        catalogue::WEB_CONFIG_RELOAD_SUCCESS,
    ];
    of_others.iter().any(|other| other.name == metric.name) || metric.name.contains("_enrollment_lookup_")
}

fn series_names(metric: &Metric) -> Vec<String> {
    match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", metric.name)).into(),
        _ => vec![metric.name.to_owned()],
    }
}

/// The demo as a newcomer starts it, but faster.
#[test]
fn the_demo_is_scraped_and_goes_on_rising() {
    let directory = tempfile::tempdir().unwrap();
    let storage = format!("--storage.path={}", directory.path().display());
    let mut demo = Exporter::start(["demo", "--demo.speed=10", &storage]);
    let simulator = Simulated::of(&mut demo, directory.path());
    let prometheus = Prometheus::start(demo.address());
    prometheus.wait_for("up", |up| up.values().eq(&[1.0]));
    prometheus.wait_for("sum(remote_assistance_up)", |tenants| tenants.values().eq(&[3.0]));

    let (from, first) = look(&prometheus, &simulator);
    let types: Vec<_> = first.keys().filter(|name| **name != "other").collect();
    wait_for("sessions of every type", || {
        let ended = simulator.truth();
        types.iter().all(|name| ended[*name] >= first[*name] + 5.0).then_some(())
    });
    let (to, last) = look(&prometheus, &simulator);
    // Where a range begins and ends with a scrape, nothing is extrapolated.
    let range = ((to - from) * 1000.0).round();
    let increase = prometheus.query_at(&format!("sum by (session_type) (increase({SESSIONS}[{range}ms]))"), to);
    for (name, value) in &increase {
        let risen = last[name] - first[name];
        assert!((value - risen).abs() <= risen * 1e-9, "{name}: {value}, from {} to {}", first[name], last[name]);
        assert!(risen > 0.0 || name == "other", "{name} stays at {risen}");
    }
    assert_eq!(increase.len(), SessionType::ALL.len());

    everybody_reads_it(&mut demo);
    metadata_is_the_catalogue(&prometheus);
}

/// What Prometheus shows, with the time of its scrape. It is held against what had ended: no less than
/// some moments before, no more than now.
fn look(prometheus: &Prometheus, simulator: &Simulated) -> (f64, Vector) {
    let by_type = format!("sum by (session_type) ({SESSIONS})");
    let before = simulator.truth();
    prometheus.wait_for(&by_type, |shown| before.iter().all(|(name, ended)| shown.get(name) >= Some(ended)));
    let scraped = prometheus.value(&format!("max(timestamp({SESSIONS}))"));
    let shown = prometheus.query_at(&by_type, scraped);
    let after = simulator.truth();
    for (name, value) in &shown {
        let [at_least, at_most] = [&before, &after].map(|ended| ended.get(name).copied().unwrap_or(0.0));
        assert!((at_least..=at_most).contains(value), "{name}: {value}, but {at_least} to {at_most} have ended");
    }
    (scraped, shown)
}

/// The demo's simulated Graph, from outside of its process.
struct Simulated {
    address: String,
    tls: Arc<rustls::ClientConfig>,
}

impl Simulated {
    fn of(demo: &mut Exporter, storage: &Path) -> Self {
        let line = demo.wait_for_log(&["Simulating Microsoft Graph", "graph=https://"]);
        let address = line.split("graph=https://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(storage.join("simulator-ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.unwrap().with_root_certificates(roots).with_no_client_auth();
        Self { address, tls: tls.into() }
    }

    /// How many sessions have ended by now, by type.
    fn truth(&self) -> Vector {
        let connection =
            rustls::ClientConnection::new(self.tls.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET /simulator/truth HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        let answer = exchange(rustls::StreamOwned::new(connection, stream), &request).unwrap();
        let truth: Value = serde_json::from_slice(&answer.body).unwrap();
        let mut ended = Vector::new();
        for tenant in truth.as_object().unwrap().values() {
            for (name, of_type) in tenant["by_type"].as_object().unwrap() {
                *ended.entry(name.clone()).or_default() += of_type["sessions"].as_u64().unwrap() as f64;
            }
        }
        ended
    }
}

/// What is served live goes through the official tools.
fn everybody_reads_it(demo: &mut Exporter) {
    let mut page =
        |accept: &str| get_with(demo.address(), "/metrics", &format!("Accept: {accept}\r\n")).unwrap().text();
    let (text, openmetrics) = (page("text/plain;version=0.0.4"), page("application/openmetrics-text;version=1.0.0"));
    tools::promtool_is_silent(&text);
    let (text, openmetrics) = (tools::parse(Format::Text, &text), tools::parse(Format::OpenMetrics, &openmetrics));
    assert!(text.families.keys().eq(openmetrics.families.keys()));
    assert!(text.families.keys().any(|name| name.starts_with("process_")));
}

/// Prometheus has units from OpenMetrics alone, so they show in which format it scrapes us.
fn metadata_is_the_catalogue(prometheus: &Prometheus) {
    let metadata = prometheus.api("metadata", &[]);
    for metric in catalogue::all().filter(|metric| !is_opt_in(metric)) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let family = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        let expected = serde_json::json!([{"type": kind, "help": metric.help, "unit": metric.unit().unwrap_or("")}]);
        assert_eq!(metadata[family], expected, "{family}");
    }
    assert_eq!(metadata[catalogue::SESSION_DURATION.name][0]["unit"], "seconds");
}
