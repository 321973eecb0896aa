//! The exporter's own health: polls, requests to Graph, commits, configuration.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec, Registry};

use super::families::unix_seconds;
use super::{catalogue, instrument};
use crate::session::Label;
use crate::source::{Endpoint, Observer};
use crate::status::FailureReason;

/// From a near gateway to the client's own time-out.
const GRAPH_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
/// From a fast disk's flush to a disk that is in trouble.
const COMMIT_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// A sample is an IEEE double: it holds 53 bits exactly. Alertmanager shows 48 of its hash too.
const CONFIG_HASH_BITS: u64 = (1 << 48) - 1;

/// What `exporter_build_info` tells.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The package's version.
    pub version: &'static str,
    /// The revision of the source; empty where it is not known.
    pub revision: &'static str,
    /// The compiler's version.
    pub rust_version: &'static str,
}

/// The instruments. Clones share them.
#[derive(Clone, Debug)]
pub struct Own(Arc<Instruments>);

#[derive(Debug)]
struct Instruments {
    up: GaugeVec,
    last_success: GaugeVec,
    last_duration: GaugeVec,
    poll_interval: GaugeVec,
    polls: IntCounterVec,
    poll_failures: IntCounterVec,
    requests: IntCounterVec,
    request_durations: HistogramVec,
    retries: IntCounterVec,
    throttled: IntCounterVec,
    throttle_wait: CounterVec,
    token_expiry: GaugeVec,
    credential_expiry: GaugeVec,
    lookup_up: GaugeVec,
    lookup_success: GaugeVec,
    lookup_devices: GaugeVec,
    lookup_failures: IntCounterVec,
    commits: IntCounterVec,
    commit_failures: IntCounterVec,
    commit_durations: HistogramVec,
    reload_successful: GaugeVec,
    reload_success: GaugeVec,
    config_hash: GaugeVec,
}

impl Own {
    /// Registers the instruments; those of the whole process start at zero.
    ///
    /// # Errors
    /// Where they are registered already.
    pub fn register(registry: &Registry, build: &Build) -> prometheus::Result<Self> {
        use catalogue as c;
        let counters = |metric| instrument::counters(registry, metric);
        let gauges = |metric| instrument::gauges(registry, metric);
        let info = gauges(&c::BUILD_INFO)?;
        info.with_label_values(&[build.version, build.revision, build.rust_version]).set(1.0);
        let own = Instruments {
            up: gauges(&c::UP)?,
            last_success: gauges(&c::LAST_POLL_SUCCESS)?,
            last_duration: gauges(&c::LAST_POLL_DURATION)?,
            poll_interval: gauges(&c::POLL_INTERVAL)?,
            polls: counters(&c::POLLS)?,
            poll_failures: counters(&c::POLL_FAILURES)?,
            requests: counters(&c::GRAPH_REQUESTS)?,
            request_durations: instrument::histograms(registry, &c::GRAPH_REQUEST_DURATION, GRAPH_BUCKETS)?,
            retries: counters(&c::GRAPH_RETRIES)?,
            throttled: counters(&c::GRAPH_THROTTLED)?,
            throttle_wait: instrument::seconds(registry, &c::GRAPH_THROTTLE_WAIT)?,
            token_expiry: gauges(&c::TOKEN_EXPIRY)?,
            credential_expiry: gauges(&c::CREDENTIAL_EXPIRY)?,
            lookup_up: gauges(&c::ENROLLMENT_LOOKUP_UP)?,
            lookup_success: gauges(&c::ENROLLMENT_LOOKUP_SUCCESS)?,
            lookup_devices: gauges(&c::ENROLLMENT_LOOKUP_DEVICES)?,
            lookup_failures: counters(&c::ENROLLMENT_LOOKUP_FAILURES)?,
            commits: counters(&c::LEDGER_COMMITS)?,
            commit_failures: counters(&c::LEDGER_COMMIT_FAILURES)?,
            commit_durations: instrument::histograms(registry, &c::LEDGER_COMMIT_DURATION, COMMIT_BUCKETS)?,
            reload_successful: gauges(&c::CONFIG_RELOAD_SUCCESSFUL)?,
            reload_success: gauges(&c::CONFIG_RELOAD_SUCCESS)?,
            config_hash: gauges(&c::CONFIG_HASH)?,
        };
        for endpoint in Endpoint::ALL {
            own.request_durations.with_label_values(&[endpoint.as_str()]);
        }
        own.commits.with_label_values(NONE);
        own.commit_failures.with_label_values(NONE);
        own.commit_durations.with_label_values(NONE);
        Ok(Self(Arc::new(own)))
    }

    /// The instruments of one tenant. Its counters start at zero, except `graph_requests_total`,
    /// whose statuses are no closed set. Its gauges are absent until they are known: a tenant that
    /// has not been polled is neither up nor down, and a zero would read as "down since 1970".
    pub fn tenant(&self, name: &str, poll_interval: Duration) -> Arc<TenantMetrics> {
        let own = &self.0;
        own.poll_interval.with_label_values(&[name]).set(poll_interval.as_secs_f64());
        for counters in [&own.polls, &own.retries, &own.throttled] {
            counters.with_label_values(&[name]);
        }
        own.throttle_wait.with_label_values(&[name]);
        for reason in FailureReason::ALL {
            own.poll_failures.with_label_values(&[name, reason.as_str()]);
        }
        Arc::new(TenantMetrics { name: name.into(), own: own.clone() })
    }

    /// A configuration with this hash was loaded.
    pub fn config_loaded(&self, hash: u64, at: DateTime<Utc>) {
        self.0.reload_successful.with_label_values(NONE).set(1.0);
        self.0.reload_success.with_label_values(NONE).set(unix_seconds(at));
        self.0.config_hash.with_label_values(NONE).set((hash & CONFIG_HASH_BITS) as f64);
    }

    /// A transaction became durable.
    pub fn committed(&self, took: Duration) {
        self.0.commits.with_label_values(NONE).inc();
        self.0.commit_durations.with_label_values(NONE).observe(took.as_secs_f64());
    }

    /// A transaction could not be committed.
    pub fn commit_failed(&self) {
        self.0.commit_failures.with_label_values(NONE).inc();
    }
}

/// The label values of a metric that has no labels.
const NONE: &[&str] = &[];

/// The instruments of one tenant.
#[derive(Debug)]
pub struct TenantMetrics {
    name: Box<str>,
    own: Arc<Instruments>,
}

impl TenantMetrics {
    /// The last successful poll ended then, perhaps before a restart.
    pub fn last_success(&self, ended: DateTime<Utc>) {
        self.own.last_success.with_label_values(&[&*self.name]).set(unix_seconds(ended));
    }

    /// A poll succeeded.
    pub fn poll_succeeded(&self, ended: DateTime<Utc>, took: Duration) {
        self.last_success(ended);
        self.poll_ended(true, took);
    }

    /// A poll failed.
    pub fn poll_failed(&self, reason: FailureReason, took: Duration) {
        self.own.poll_failures.with_label_values(&[&*self.name, reason.as_str()]).inc();
        self.poll_ended(false, took);
    }

    /// The tenant's enrolment states are looked up: its failures start at zero.
    pub fn looks_up_enrollment(&self) {
        for reason in FailureReason::ALL {
            self.own.lookup_failures.with_label_values(&[&*self.name, reason.as_str()]);
        }
    }

    /// The enrolment states of so many devices were looked up.
    pub fn enrollment_looked_up(&self, ended: DateTime<Utc>, devices: usize) {
        self.own.lookup_success.with_label_values(&[&*self.name]).set(unix_seconds(ended));
        self.own.lookup_devices.with_label_values(&[&*self.name]).set(devices as f64);
        self.own.lookup_up.with_label_values(&[&*self.name]).set(1.0);
    }

    /// They could not be.
    pub fn enrollment_lookup_failed(&self, reason: FailureReason) {
        self.own.lookup_failures.with_label_values(&[&*self.name, reason.as_str()]).inc();
        self.own.lookup_up.with_label_values(&[&*self.name]).set(0.0);
    }

    fn poll_ended(&self, up: bool, took: Duration) {
        self.own.last_duration.with_label_values(&[&*self.name]).set(took.as_secs_f64());
        self.own.polls.with_label_values(&[&*self.name]).inc();
        // Last, so that a scrape in between never shows an outcome without what belongs to it.
        self.own.up.with_label_values(&[&*self.name]).set(f64::from(up));
    }
}

impl Observer for TenantMetrics {
    fn request(&self, endpoint: Endpoint, status: Option<u16>, duration: Duration) {
        let code = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
        self.own.requests.with_label_values(&[&*self.name, endpoint.as_str(), &code]).inc();
        self.own.request_durations.with_label_values(&[endpoint.as_str()]).observe(duration.as_secs_f64());
    }

    fn retry(&self) {
        self.own.retries.with_label_values(&[&*self.name]).inc();
    }

    fn throttled(&self) {
        self.own.throttled.with_label_values(&[&*self.name]).inc();
    }

    fn held_back(&self, duration: Duration) {
        self.own.throttle_wait.with_label_values(&[&*self.name]).inc_by(duration.as_secs_f64());
    }

    fn token_expires(&self, at: DateTime<Utc>) {
        self.own.token_expiry.with_label_values(&[&*self.name]).set(unix_seconds(at));
    }

    fn credential_expires(&self, at: DateTime<Utc>) {
        self.own.credential_expiry.with_label_values(&[&*self.name]).set(unix_seconds(at));
    }
}

/// Registers `process_*`, where the system tells them.
///
/// # Errors
/// Where they are registered already.
pub fn register_process(registry: &Registry) -> prometheus::Result<()> {
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    #[cfg(not(target_os = "linux"))]
    let _ = registry;
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use prometheus::TextEncoder;

    use super::*;
    use crate::metrics::HttpMetrics;

    const BUILD: Build = Build { version: "1.2.3", revision: "abc", rust_version: "1.99" };

    fn text(registry: &Registry) -> String {
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    fn has(registry: &Registry, line: &str) -> bool {
        text(registry).lines().any(|l| l == format!("{}{line}", catalogue::PREFIX))
    }

    #[test]
    fn a_tenant_starts_with_its_counters_at_zero_and_its_state_unknown() {
        let registry = Registry::new();
        let own = Own::register(&registry, &BUILD).unwrap();
        own.tenant("a", Duration::from_secs(300));
        for line in [
            r#"poll_interval_seconds{tenant="a"} 300"#,
            r#"polls_total{tenant="a"} 0"#,
            r#"poll_failures_total{reason="throttled",tenant="a"} 0"#,
            r#"graph_retries_total{tenant="a"} 0"#,
            r#"graph_request_duration_seconds_count{endpoint="token"} 0"#,
            "ledger_commits_total 0",
            r#"exporter_build_info{revision="abc",rustversion="1.99",version="1.2.3"} 1"#,
        ] {
            assert!(has(&registry, line), "{line}");
        }
        let failures = text(&registry).matches("poll_failures_total{").count();
        assert_eq!(failures, FailureReason::ALL.len());
        for unknown in ["_up{", "last_poll_success", "last_poll_duration", "token_expiry", "credential_expiry"] {
            assert!(!text(&registry).contains(unknown), "{unknown}");
        }
    }

    #[test]
    fn polls_requests_and_commits_are_told() {
        let registry = Registry::new();
        let own = Own::register(&registry, &BUILD).unwrap();
        let (a, b) = (own.tenant("a", Duration::from_secs(1)), own.tenant("b", Duration::from_secs(1)));
        let at = Utc.timestamp_millis_opt(1_774_000_000_500).unwrap();
        a.poll_failed(FailureReason::Timeout, Duration::from_secs(2));
        a.poll_succeeded(at, Duration::from_secs(3));
        b.poll_failed(FailureReason::Forbidden, Duration::from_secs(4));
        let observer: Arc<dyn Observer> = a;
        observer.request(Endpoint::SessionsReport, Some(429), Duration::from_millis(200));
        observer.request(Endpoint::SessionsReport, None, Duration::from_millis(200));
        observer.throttled();
        observer.held_back(Duration::from_millis(1500));
        observer.held_back(Duration::from_millis(250));
        observer.retry();
        observer.token_expires(at);
        observer.credential_expires(at);
        own.committed(Duration::from_millis(4));
        own.commit_failed();
        own.config_loaded(u64::MAX, at);
        for line in [
            r#"up{tenant="a"} 1"#,
            r#"up{tenant="b"} 0"#,
            r#"polls_total{tenant="a"} 2"#,
            r#"poll_failures_total{reason="timeout",tenant="a"} 1"#,
            r#"poll_failures_total{reason="forbidden",tenant="b"} 1"#,
            r#"last_poll_success_timestamp_seconds{tenant="a"} 1774000000.5"#,
            r#"last_poll_duration_seconds{tenant="b"} 4"#,
            r#"graph_requests_total{code="429",endpoint="sessions_report",tenant="a"} 1"#,
            r#"graph_requests_total{code="error",endpoint="sessions_report",tenant="a"} 1"#,
            r#"graph_request_duration_seconds_count{endpoint="sessions_report"} 2"#,
            r#"graph_throttled_total{tenant="a"} 1"#,
            r#"graph_throttle_wait_seconds_total{tenant="a"} 1.75"#,
            r#"graph_throttle_wait_seconds_total{tenant="b"} 0"#,
            r#"graph_retries_total{tenant="a"} 1"#,
            r#"graph_retries_total{tenant="b"} 0"#,
            r#"token_expiry_timestamp_seconds{tenant="a"} 1774000000.5"#,
            r#"credential_expiry_timestamp_seconds{tenant="a"} 1774000000.5"#,
            "ledger_commits_total 1",
            "ledger_commit_failures_total 1",
            r#"ledger_commit_duration_seconds_bucket{le="0.005"} 1"#,
            "exporter_config_last_reload_successful 1",
            "exporter_config_hash 281474976710655",
        ] {
            assert!(has(&registry, line), "{line}\n{}", text(&registry));
        }
        assert!(!text(&registry).contains(r#"last_poll_success_timestamp_seconds{tenant="b"}"#));
    }

    #[test]
    fn look_ups_are_told_where_they_are_on() {
        let registry = Registry::new();
        let own = Own::register(&registry, &BUILD).unwrap();
        let (on, _off) = (own.tenant("on", Duration::from_secs(1)), own.tenant("off", Duration::from_secs(1)));
        on.looks_up_enrollment();
        assert!(has(&registry, r#"enrollment_lookup_failures_total{reason="forbidden",tenant="on"} 0"#));
        assert!(!text(&registry).contains("enrollment_lookup_up"), "neither up nor down before the first");
        on.enrollment_looked_up(Utc.timestamp_millis_opt(1_774_000_000_500).unwrap(), 3);
        assert!(has(&registry, r#"enrollment_lookup_up{tenant="on"} 1"#));
        on.enrollment_lookup_failed(FailureReason::Forbidden);
        for line in [
            r#"enrollment_lookup_up{tenant="on"} 0"#,
            r#"enrollment_lookup_devices{tenant="on"} 3"#,
            r#"enrollment_lookup_last_success_timestamp_seconds{tenant="on"} 1774000000.5"#,
            r#"enrollment_lookup_failures_total{reason="forbidden",tenant="on"} 1"#,
        ] {
            assert!(has(&registry, line), "{line}");
        }
        assert!(!text(&registry).lines().any(|line| line.contains(r#"tenant="off""#) && line.contains("lookup")));
    }

    #[test]
    fn every_own_metric_is_registered_and_nothing_twice() {
        let registry = Registry::new();
        let own = Own::register(&registry, &BUILD).unwrap();
        let http = HttpMetrics::register(&registry).unwrap();
        assert!(Own::register(&registry, &BUILD).is_err());
        let tenant = own.tenant("a", Duration::from_secs(1));
        tenant.poll_succeeded(Utc.timestamp_opt(0, 0).unwrap(), Duration::ZERO);
        tenant.token_expires(Utc.timestamp_opt(0, 0).unwrap());
        tenant.credential_expires(Utc.timestamp_opt(0, 0).unwrap());
        tenant.enrollment_looked_up(Utc.timestamp_opt(0, 0).unwrap(), 1);
        tenant.enrollment_lookup_failed(FailureReason::Forbidden);
        tenant.request(Endpoint::Token, Some(200), Duration::ZERO);
        own.config_loaded(1, Utc.timestamp_opt(0, 0).unwrap());
        http.declare("/metrics", &[200]);
        let gathered: Vec<_> = registry.gather().iter().map(|family| family.name().to_owned()).collect();
        let mut known: Vec<_> = catalogue::OWN.iter().map(|metric| metric.name).collect();
        known.sort_unstable();
        assert_eq!(gathered, known);
    }

    #[test]
    fn requests_in_flight_end_when_dropped() {
        let registry = Registry::new();
        let http = HttpMetrics::register(&registry).unwrap();
        let (one, two) = (http.begin(), http.begin());
        assert!(has(&registry, "exporter_http_requests_in_flight 2"));
        drop((one, two));
        http.answered("/metrics", 503, Duration::from_millis(3));
        assert!(has(&registry, "exporter_http_requests_in_flight 0"));
        assert!(has(&registry, r#"exporter_http_requests_total{code="503",path="/metrics"} 1"#));
        assert!(has(&registry, r#"exporter_http_request_duration_seconds_bucket{path="/metrics",le="0.005"} 1"#));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_told() {
        let registry = Registry::new();
        register_process(&registry).unwrap();
        assert!(text(&registry).contains("\nprocess_resident_memory_bytes "));
    }
}
