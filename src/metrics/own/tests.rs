//! Each instrument says what it is told, under the right tenant.

use chrono::TimeZone;
use prometheus::TextEncoder;

use super::*;
use crate::metrics::{HttpMetrics, Live as _};

const BUILD: Build = Build { version: "1.2.3", revision: "abc", rust_version: "1.99" };

fn began() -> DateTime<Utc> {
    Utc.timestamp_opt(1_773_000_000, 0).unwrap()
}

trait Gather {
    fn families(&self) -> Vec<MetricFamily>;
}

impl Gather for Own {
    fn families(&self) -> Vec<MetricFamily> {
        self.part().gather()
    }
}

fn text(metrics: &impl Gather) -> String {
    TextEncoder::new().encode_to_string(&metrics.families()).unwrap()
}

fn has(metrics: &impl Gather, line: &str) -> bool {
    text(metrics).lines().any(|l| l == format!("{}{line}", catalogue::PREFIX))
}

#[test]
fn a_tenant_starts_with_its_counters_at_zero_and_its_state_unknown() {
    let own = Own::new(&BUILD, began).unwrap();
    own.tenant("a").declare(Duration::from_secs(300));
    for line in [
        r#"poll_interval_seconds{tenant="a"} 300"#,
        r#"polls_total{tenant="a"} 0"#,
        r#"poll_failures_total{reason="throttled",tenant="a"} 0"#,
        r#"graph_retries_total{tenant="a"} 0"#,
        r#"graph_request_duration_seconds_count{endpoint="token"} 0"#,
        "ledger_commits_total 0",
        r#"exporter_build_info{revision="abc",rustversion="1.99",version="1.2.3"} 1"#,
    ] {
        assert!(has(&own, line), "{line}");
    }
    let failures = text(&own).matches("poll_failures_total{").count();
    assert_eq!(failures, FailureReason::ALL.len());
    for unknown in ["_up{", "last_poll_success", "last_poll_duration", "token_expiry", "credential_expiry"] {
        assert!(!text(&own).contains(unknown), "{unknown}");
    }
}

#[test]
fn polls_requests_and_commits_are_told() {
    let own = Own::new(&BUILD, began).unwrap();
    let (a, b) = (own.tenant("a"), own.tenant("b"));
    [&a, &b].iter().for_each(|tenant| tenant.declare(Duration::from_secs(1)));
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
    observer.files_set_aside(2);
    observer.credential_expires(at);
    own.committed(Duration::from_millis(4));
    own.commit_failed();
    own.config_loaded((1 << 48) - 1, at);
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
        r#"files_set_aside{tenant="a"} 2"#,
        r#"credential_expiry_timestamp_seconds{tenant="a"} 1774000000.5"#,
        "ledger_commits_total 1",
        "ledger_commit_failures_total 1",
        r#"ledger_commit_duration_seconds_bucket{le="0.005"} 1"#,
        "exporter_config_last_reload_successful 1",
        "exporter_config_hash 281474976710655",
    ] {
        assert!(has(&own, line), "{line}\n{}", text(&own));
    }
    assert!(!text(&own).contains(r#"last_poll_success_timestamp_seconds{tenant="b"}"#));
}

#[test]
fn look_ups_are_told_where_they_are_on() {
    let own = Own::new(&BUILD, began).unwrap();
    let on = own.tenant("on");
    let off = own.tenant("off");
    off.declare(Duration::from_secs(1));
    off.looks_up_enrollment(false);
    on.looks_up_enrollment(true);
    assert!(has(&own, r#"enrollment_lookup_failures_total{reason="forbidden",tenant="on"} 0"#));
    assert!(!text(&own).contains("enrollment_lookup_up"), "neither up nor down before the first");
    on.enrollment_looked_up(Utc.timestamp_millis_opt(1_774_000_000_500).unwrap(), 3);
    assert!(has(&own, r#"enrollment_lookup_up{tenant="on"} 1"#));
    on.enrollment_lookup_failed(FailureReason::Forbidden);
    for line in [
        r#"enrollment_lookup_up{tenant="on"} 0"#,
        r#"enrollment_lookup_devices{tenant="on"} 3"#,
        r#"enrollment_lookup_last_success_timestamp_seconds{tenant="on"} 1774000000.5"#,
        r#"enrollment_lookup_failures_total{reason="forbidden",tenant="on"} 1"#,
    ] {
        assert!(has(&own, line), "{line}");
    }
    let lookups = |tenant: &str| {
        let label = format!("tenant=\"{tenant}\"");
        text(&own).lines().filter(|line| line.contains(&label) && line.contains("lookup")).count()
    };
    assert_eq!(lookups("off"), 0);
    // As a reload does, which first leaves it on and then turns it off.
    let reloaded = |on_now| {
        own.forget_sources(&["on".into()].into());
        on.looks_up_enrollment(on_now);
    };
    reloaded(true);
    assert!(has(&own, r#"enrollment_lookup_failures_total{reason="forbidden",tenant="on"} 1"#));
    assert_eq!(lookups("on"), FailureReason::ALL.len());
    reloaded(false);
    assert_eq!(lookups("on"), 0);
}

#[test]
fn every_own_metric_is_registered_and_nothing_twice() {
    let own = Own::new(&BUILD, began).unwrap();
    let http = HttpMetrics::new(began).unwrap();
    let tenant = own.tenant("a");
    tenant.declare(Duration::from_secs(1));
    tenant.poll_succeeded(Utc.timestamp_opt(0, 0).unwrap(), Duration::ZERO);
    tenant.token_expires(Utc.timestamp_opt(0, 0).unwrap());
    tenant.files_set_aside(0);
    tenant.credential_expires(Utc.timestamp_opt(0, 0).unwrap());
    tenant.enrollment_looked_up(Utc.timestamp_opt(0, 0).unwrap(), 1);
    tenant.enrollment_lookup_failed(FailureReason::Forbidden);
    tenant.request(Endpoint::Token, Some(200), Duration::ZERO);
    own.config_loaded(1, Utc.timestamp_opt(0, 0).unwrap());
    own.sharded(0, 1, 1);
    own.web_config_loaded(Utc.timestamp_opt(0, 0).unwrap());
    own.web_certificate(Some(Utc.timestamp_opt(0, 0).unwrap()));
    http.declare(http.path("/metrics"), &[200]);
    let families = [own.families(), http.gather()].concat();
    let mut gathered: Vec<_> = families.iter().map(|family| family.name().to_owned()).collect();
    gathered.sort_unstable();
    let mut known: Vec<_> = catalogue::OWN.iter().map(|metric| metric.name).collect();
    known.sort_unstable();
    assert_eq!(gathered, known);
}

#[test]
fn a_tenant_that_goes_takes_every_series_along() {
    let own = Own::new(&BUILD, began).unwrap();
    let at = Utc.timestamp_opt(1_774_000_000, 0).unwrap();
    for name in ["a", "b", "c"] {
        let tenant = own.tenant(name);
        assert!(!text(&own).contains(&format!("tenant=\"{name}\"")), "nothing before it is declared");
        tenant.declare(Duration::from_secs(1));
        tenant.poll_succeeded(at, Duration::ZERO);
        tenant.poll_failed(FailureReason::Timeout, Duration::ZERO);
        tenant.token_expires(at);
        tenant.request(Endpoint::Token, Some(599), Duration::ZERO);
        tenant.request(Endpoint::Collection, None, Duration::ZERO);
    }
    let lines = |tenant: &str| {
        let label = format!("tenant=\"{tenant}\"");
        text(&own).lines().filter(|line| line.contains(&label)).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = [lines("b"), lines("c")];
    own.forget(&["a".into()].into());
    assert_eq!(lines("a"), Vec::<String>::new());
    assert_eq!([lines("b"), lines("c")], before);

    own.forget_sources(&["b".into()].into());
    let gone: Vec<_> = before[0].iter().filter(|line| !lines("b").contains(line)).cloned().collect();
    assert_eq!(gone, [r#"remote_assistance_token_expiry_timestamp_seconds{tenant="b"} 1774000000"#]);
    assert_eq!(lines("c"), before[1]);
}

#[test]
fn a_configuration_that_is_refused_leaves_the_hash_and_the_time_of_the_one_in_force() {
    let own = Own::new(&BUILD, began).unwrap();
    own.config_loaded(7, Utc.timestamp_opt(1_774_000_000, 0).unwrap());
    own.config_refused();
    for line in [
        "exporter_config_last_reload_successful 0",
        "exporter_config_last_reload_success_timestamp_seconds 1774000000",
        "exporter_config_hash 7",
    ] {
        assert!(has(&own, line), "{line}");
    }
}

#[test]
fn every_event_is_another_version() {
    let own = Own::new(&BUILD, began).unwrap();
    let (part, tenant) = (own.part(), own.tenant("a"));
    let at = Utc.timestamp_opt(1_774_000_000, 0).unwrap();
    let mut versions = vec![part.version()];
    let mut event = |happens: &dyn Fn()| {
        let before = part.gather();
        happens();
        assert_ne!(part.gather(), before);
        versions.push(part.version());
    };
    event(&|| tenant.declare(Duration::from_secs(1)));
    event(&|| tenant.poll_succeeded(at, Duration::from_secs(2)));
    event(&|| tenant.poll_failed(FailureReason::Timeout, Duration::from_secs(3)));
    event(&|| tenant.request(Endpoint::Token, Some(200), Duration::ZERO));
    event(&|| tenant.retry());
    event(&|| own.committed(Duration::from_millis(4)));
    event(&|| own.config_loaded(7, at));
    event(&|| own.config_refused());
    event(&|| own.web_config_loaded(at));
    event(&|| own.web_config_refused());
    event(&|| own.forget(&["a".into()].into()));
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

#[test]
fn counters_and_histograms_tell_when_each_of_their_series_began() {
    use std::sync::atomic::AtomicI64;
    static NOW: AtomicI64 = AtomicI64::new(1_000);
    fn now() -> DateTime<Utc> {
        Utc.timestamp_opt(NOW.load(Ordering::SeqCst), 0).unwrap()
    }
    let at = |time| NOW.store(time, Ordering::SeqCst);
    let own = Own::new(&BUILD, now).unwrap();
    let began = |name: &str, labels: &[&str]| {
        let families = own.families();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let of_labels = |series: &&prometheus::proto::Metric| {
            labels.iter().all(|value| series.get_label().iter().any(|label| label.value() == *value))
        };
        let series = family.get_metric().iter().find(of_labels).unwrap();
        crate::metrics::wire::created(series).unwrap().timestamp()
    };
    at(2_000);
    let tenant = own.tenant("a");
    tenant.declare(Duration::from_secs(1));
    at(3_000);
    tenant.request(Endpoint::Token, Some(200), Duration::ZERO);
    at(4_000);
    tenant.request(Endpoint::Token, Some(200), Duration::ZERO);
    tenant.poll_failed(FailureReason::Timeout, Duration::ZERO);
    tenant.held_back(Duration::ZERO);
    own.committed(Duration::ZERO);
    assert_eq!(began(catalogue::LEDGER_COMMITS.name, &[]), 1_000);
    assert_eq!(began(catalogue::LEDGER_COMMIT_DURATION.name, &[]), 1_000);
    assert_eq!(began(catalogue::GRAPH_REQUEST_DURATION.name, &["token"]), 1_000);
    assert_eq!(began(catalogue::POLL_FAILURES.name, &["a", "timeout"]), 2_000);
    assert_eq!(began(catalogue::GRAPH_THROTTLE_WAIT.name, &["a"]), 2_000);
    assert_eq!(began(catalogue::GRAPH_REQUESTS.name, &["a", "200"]), 3_000);
    // One that is taken away and comes back begins anew.
    own.forget(&["a".into()].into());
    at(5_000);
    tenant.declare(Duration::from_secs(1));
    assert_eq!(began(catalogue::POLLS.name, &["a"]), 5_000);
    tenant.looks_up_enrollment(true);
    at(6_000);
    tenant.looks_up_enrollment(false);
    tenant.looks_up_enrollment(true);
    assert_eq!(began(catalogue::ENROLLMENT_LOOKUP_FAILURES.name, &["a", "timeout"]), 6_000);
}
