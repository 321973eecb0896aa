//! The exporter's own health: polls, requests to Graph, commits, configuration.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec, Registry};

use super::catalogue::{self, Kind};
use super::families::unix_seconds;
use super::instrument::{self, Dated, PerTenant};
use super::versioned::Versioned;
use crate::session::Label;
use crate::source::{Endpoint, Observer};
use crate::status::FailureReason;

/// From a near gateway to the client's own time-out.
const GRAPH_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];
/// From a fast disk's flush to a disk that is in trouble.
const COMMIT_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

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
pub struct Own(Arc<Shared>);

/// What the exporter tells of itself, as a part of the exposition that changes with each event.
#[derive(Debug)]
pub struct OwnPart(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    registry: Registry,
    instruments: Instruments,
    /// How many events there were.
    events: AtomicU64,
}

/// The instruments while they are changed. When this is dropped, the change is over and counts as one.
struct Event<'a>(&'a Shared);

#[derive(Debug)]
struct Instruments {
    up: GaugeVec,
    last_success: GaugeVec,
    last_duration: GaugeVec,
    poll_interval: GaugeVec,
    polls: Dated<IntCounterVec>,
    poll_failures: Dated<IntCounterVec>,
    requests: Dated<IntCounterVec>,
    request_durations: Dated<HistogramVec>,
    retries: Dated<IntCounterVec>,
    throttled: Dated<IntCounterVec>,
    throttle_wait: Dated<CounterVec>,
    token_expiry: GaugeVec,
    files_set_aside: GaugeVec,
    credential_expiry: GaugeVec,
    lookup_up: GaugeVec,
    lookup_success: GaugeVec,
    lookup_devices: GaugeVec,
    lookup_failures: Dated<IntCounterVec>,
    commits: Dated<IntCounterVec>,
    commit_failures: Dated<IntCounterVec>,
    commit_durations: Dated<HistogramVec>,
    reload_successful: GaugeVec,
    reload_success: GaugeVec,
    config_hash: GaugeVec,
    shard_ordinal: GaugeVec,
    total_shards: GaugeVec,
    configured_tenants: GaugeVec,
    web_reload_successful: GaugeVec,
    web_reload_success: GaugeVec,
    web_certificate_expiry: GaugeVec,
    per_tenant: PerTenant,
}

impl Own {
    /// Makes the instruments, in a registry of their own; those of the whole process start at zero.
    /// The clock tells when each series begins.
    ///
    /// # Errors
    /// Where the catalogue has a name that Prometheus does not allow, or one twice.
    pub fn new(build: &Build, now: fn() -> DateTime<Utc>) -> prometheus::Result<Self> {
        use catalogue as c;
        let registry = &Registry::new();
        let per_tenant = RefCell::new(PerTenant::default());
        let counters = |metric| per_tenant.borrow_mut().keep(metric, instrument::counters(registry, metric, now));
        let seconds = |metric| per_tenant.borrow_mut().keep(metric, instrument::seconds(registry, metric, now));
        let gauges = |metric| per_tenant.borrow_mut().keep(metric, instrument::gauges(registry, metric));
        let info = gauges(&c::BUILD_INFO)?;
        info.with_label_values(&[build.version, build.revision, build.rust_version]).set(1.0);
        let instruments = Instruments {
            up: gauges(&c::UP)?,
            last_success: gauges(&c::LAST_POLL_SUCCESS)?,
            last_duration: gauges(&c::LAST_POLL_DURATION)?,
            poll_interval: gauges(&c::POLL_INTERVAL)?,
            polls: counters(&c::POLLS)?,
            poll_failures: counters(&c::POLL_FAILURES)?,
            requests: counters(&c::GRAPH_REQUESTS)?,
            request_durations: instrument::histograms(registry, &c::GRAPH_REQUEST_DURATION, GRAPH_BUCKETS, now)?,
            retries: counters(&c::GRAPH_RETRIES)?,
            throttled: counters(&c::GRAPH_THROTTLED)?,
            throttle_wait: seconds(&c::GRAPH_THROTTLE_WAIT)?,
            token_expiry: gauges(&c::TOKEN_EXPIRY)?,
            files_set_aside: gauges(&c::FILES_SET_ASIDE)?,
            credential_expiry: gauges(&c::CREDENTIAL_EXPIRY)?,
            lookup_up: gauges(&c::ENROLLMENT_LOOKUP_UP)?,
            lookup_success: gauges(&c::ENROLLMENT_LOOKUP_SUCCESS)?,
            lookup_devices: gauges(&c::ENROLLMENT_LOOKUP_DEVICES)?,
            lookup_failures: counters(&c::ENROLLMENT_LOOKUP_FAILURES)?,
            commits: counters(&c::LEDGER_COMMITS)?,
            commit_failures: counters(&c::LEDGER_COMMIT_FAILURES)?,
            commit_durations: instrument::histograms(registry, &c::LEDGER_COMMIT_DURATION, COMMIT_BUCKETS, now)?,
            reload_successful: gauges(&c::CONFIG_RELOAD_SUCCESSFUL)?,
            reload_success: gauges(&c::CONFIG_RELOAD_SUCCESS)?,
            config_hash: gauges(&c::CONFIG_HASH)?,
            shard_ordinal: gauges(&c::SHARD_ORDINAL)?,
            total_shards: gauges(&c::TOTAL_SHARDS)?,
            configured_tenants: gauges(&c::CONFIGURED_TENANTS)?,
            web_reload_successful: gauges(&c::WEB_CONFIG_RELOAD_SUCCESSFUL)?,
            web_reload_success: gauges(&c::WEB_CONFIG_RELOAD_SUCCESS)?,
            web_certificate_expiry: gauges(&c::WEB_CERTIFICATE_EXPIRY)?,
            per_tenant: per_tenant.take(),
        };
        for endpoint in Endpoint::ALL {
            instruments.request_durations.with_label_values(&[endpoint.as_str()]);
        }
        instruments.commits.with_label_values(NONE);
        instruments.commit_failures.with_label_values(NONE);
        instruments.commit_durations.with_label_values(NONE);
        Ok(Self(Arc::new(Shared { registry: registry.clone(), instruments, events: AtomicU64::new(0) })))
    }

    /// The instruments as a part of the exposition.
    pub fn part(&self) -> OwnPart {
        OwnPart(self.0.clone())
    }

    /// The instruments of one tenant; no series yet, see [`TenantMetrics::declare`].
    pub fn tenant(&self, name: &str) -> Arc<TenantMetrics> {
        Arc::new(TenantMetrics { name: name.into(), own: self.0.clone() })
    }

    /// Takes away every series of these tenants. Their polls must have ended.
    pub fn forget(&self, tenants: &BTreeSet<Arc<str>>) {
        self.0.event().per_tenant.forget(tenants, |_| true);
    }

    /// Takes away what these tenants' sources told of themselves, such as the expiry of a token: they
    /// are read otherwise from now on. What counts goes on, and so does what the last poll left.
    pub fn forget_sources(&self, tenants: &BTreeSet<Arc<str>>) {
        use catalogue as c;
        const OF_POLLS: [&str; 4] =
            [c::UP.name, c::LAST_POLL_SUCCESS.name, c::LAST_POLL_DURATION.name, c::POLL_INTERVAL.name];
        self.0
            .event()
            .per_tenant
            .forget(tenants, |metric| metric.kind == Kind::Gauge && !OF_POLLS.contains(&metric.name));
    }

    /// A configuration with this hash was loaded. A sample is an IEEE double: it holds 53 bits exactly,
    /// and the configuration's hash has 48.
    pub fn config_loaded(&self, hash: u64, at: DateTime<Utc>) {
        self.0.event().reload_successful.with_label_values(NONE).set(1.0);
        self.0.event().reload_success.with_label_values(NONE).set(unix_seconds(at));
        self.0.event().config_hash.with_label_values(NONE).set(hash as f64);
    }

    /// This exporter is shard `ordinal` of `total`, and so many tenants are configured for all of them.
    pub fn sharded(&self, ordinal: u32, total: u32, configured: usize) {
        let event = self.0.event();
        event.shard_ordinal.with_label_values(NONE).set(f64::from(ordinal));
        event.total_shards.with_label_values(NONE).set(f64::from(total));
        event.configured_tenants.with_label_values(NONE).set(configured as f64);
    }

    /// A configuration could not be loaded; the one before stays in force.
    pub fn config_refused(&self) {
        self.0.event().reload_successful.with_label_values(NONE).set(0.0);
    }

    /// The web server shows certificates of which the first expires then; none without TLS.
    pub fn web_certificate(&self, expiry: Option<DateTime<Utc>>) {
        let event = self.0.event();
        match expiry {
            Some(expiry) => event.web_certificate_expiry.with_label_values(NONE).set(unix_seconds(expiry)),
            None => event.web_certificate_expiry.reset(),
        }
    }

    /// The web configuration was loaded.
    pub fn web_config_loaded(&self, at: DateTime<Utc>) {
        self.0.event().web_reload_successful.with_label_values(NONE).set(1.0);
        self.0.event().web_reload_success.with_label_values(NONE).set(unix_seconds(at));
    }

    /// The web configuration could not be loaded; the one before stays in force.
    pub fn web_config_refused(&self) {
        self.0.event().web_reload_successful.with_label_values(NONE).set(0.0);
    }

    /// A transaction became durable.
    pub fn committed(&self, took: Duration) {
        self.0.event().commits.with_label_values(NONE).inc();
        self.0.event().commit_durations.with_label_values(NONE).observe(took.as_secs_f64());
    }

    /// A transaction could not be committed.
    pub fn commit_failed(&self) {
        self.0.event().commit_failures.with_label_values(NONE).inc();
    }
}

impl Shared {
    fn event(&self) -> Event<'_> {
        Event(self)
    }
}

impl Deref for Event<'_> {
    type Target = Instruments;

    fn deref(&self) -> &Instruments {
        &self.0.instruments
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        self.0.events.fetch_add(1, Ordering::Release);
    }
}

impl Versioned for OwnPart {
    fn version(&self) -> u64 {
        self.0.events.load(Ordering::Acquire)
    }

    fn gather(&self) -> Vec<MetricFamily> {
        self.0.registry.gather()
    }
}

/// The label values of a metric that has no labels.
const NONE: &[&str] = &[];

/// The instruments of one tenant.
#[derive(Debug)]
pub struct TenantMetrics {
    name: Box<str>,
    own: Arc<Shared>,
}

impl TenantMetrics {
    /// Starts its counters at zero, except `graph_requests_total`, whose statuses are no closed set. Its
    /// gauges are absent until they are known: a tenant that has not been polled is neither up nor down,
    /// and a zero would read as "down since 1970". Series that are there already stay as they are.
    pub fn declare(&self, poll_interval: Duration) {
        let (own, name) = (self.own.event(), &*self.name);
        own.poll_interval.with_label_values(&[name]).set(poll_interval.as_secs_f64());
        for counters in [&own.polls, &own.retries, &own.throttled] {
            counters.with_label_values(&[name]);
        }
        own.throttle_wait.with_label_values(&[name]);
        for reason in FailureReason::ALL {
            own.poll_failures.with_label_values(&[name, reason.as_str()]);
        }
    }

    /// The last successful poll ended then, perhaps before a restart.
    pub fn last_success(&self, ended: DateTime<Utc>) {
        self.own.event().last_success.with_label_values(&[&*self.name]).set(unix_seconds(ended));
    }

    /// A poll succeeded.
    pub fn poll_succeeded(&self, ended: DateTime<Utc>, took: Duration) {
        self.last_success(ended);
        self.poll_ended(true, took);
    }

    /// A poll failed.
    pub fn poll_failed(&self, reason: FailureReason, took: Duration) {
        self.own.event().poll_failures.with_label_values(&[&*self.name, reason.as_str()]).inc();
        self.poll_ended(false, took);
    }

    /// Whether the tenant's enrolment states are looked up from now on: if so, its failures start at zero
    /// or go on, if not, they go.
    pub fn looks_up_enrollment(&self, on: bool) {
        for reason in FailureReason::ALL {
            let labels = [&*self.name, reason.as_str()];
            if on {
                self.own.event().lookup_failures.with_label_values(&labels);
            } else {
                self.own.event().lookup_failures.remove_label_values(&labels);
            }
        }
    }

    /// The enrolment states of so many devices were looked up.
    pub fn enrollment_looked_up(&self, ended: DateTime<Utc>, devices: usize) {
        self.own.event().lookup_success.with_label_values(&[&*self.name]).set(unix_seconds(ended));
        self.own.event().lookup_devices.with_label_values(&[&*self.name]).set(devices as f64);
        self.own.event().lookup_up.with_label_values(&[&*self.name]).set(1.0);
    }

    /// They could not be.
    pub fn enrollment_lookup_failed(&self, reason: FailureReason) {
        self.own.event().lookup_failures.with_label_values(&[&*self.name, reason.as_str()]).inc();
        self.own.event().lookup_up.with_label_values(&[&*self.name]).set(0.0);
    }

    fn poll_ended(&self, up: bool, took: Duration) {
        self.own.event().last_duration.with_label_values(&[&*self.name]).set(took.as_secs_f64());
        self.own.event().polls.with_label_values(&[&*self.name]).inc();
        // Last, so that a scrape in between never shows an outcome without what belongs to it.
        self.own.event().up.with_label_values(&[&*self.name]).set(f64::from(up));
    }
}

impl Observer for TenantMetrics {
    fn request(&self, endpoint: Endpoint, status: Option<u16>, duration: Duration) {
        let code = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
        self.own.event().requests.with_label_values(&[&*self.name, endpoint.as_str(), &code]).inc();
        self.own.event().request_durations.with_label_values(&[endpoint.as_str()]).observe(duration.as_secs_f64());
    }

    fn retry(&self) {
        self.own.event().retries.with_label_values(&[&*self.name]).inc();
    }

    fn throttled(&self) {
        self.own.event().throttled.with_label_values(&[&*self.name]).inc();
    }

    fn held_back(&self, duration: Duration) {
        self.own.event().throttle_wait.with_label_values(&[&*self.name]).inc_by(duration.as_secs_f64());
    }

    fn token_expires(&self, at: DateTime<Utc>) {
        self.own.event().token_expiry.with_label_values(&[&*self.name]).set(unix_seconds(at));
    }

    fn files_set_aside(&self, files: u64) {
        self.own.event().files_set_aside.with_label_values(&[&*self.name]).set(files as f64);
    }

    fn credential_expires(&self, at: DateTime<Utc>) {
        self.own.event().credential_expiry.with_label_values(&[&*self.name]).set(unix_seconds(at));
    }
}

#[cfg(test)]
mod tests;
