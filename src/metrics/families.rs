//! The business metrics: the ledger's totals as metric families.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, MetricFamily, MetricType};

use super::catalogue::{self, Kind, Metric};
use super::versioned::Versioned;
use super::{instrument, wire};
use crate::ledger::totals::native::Native;
use crate::ledger::totals::{self, Fate, PerLabel, Subject, Totals, Window};
use crate::ledger::{Snapshot, TenantSnapshot};
use crate::session::Label;

/// Shows the snapshot that was published last. Collecting waits for nothing and takes no lock.
#[derive(Clone, Debug)]
pub struct BusinessCollector {
    published: Arc<ArcSwap<Snapshot>>,
    descs: Vec<Desc>,
}

/// The business metrics as a part of the exposition that changes with each snapshot.
#[derive(Debug)]
pub struct Business {
    published: Arc<ArcSwap<Snapshot>>,
    registry: Registry,
}

impl BusinessCollector {
    /// A collector over what is published here, to be registered once.
    ///
    /// # Errors
    /// Where the catalogue has a name that Prometheus does not allow.
    pub fn new(published: Arc<ArcSwap<Snapshot>>) -> prometheus::Result<Self> {
        let descs = catalogue::BUSINESS.iter().map(instrument::desc).collect::<prometheus::Result<_>>()?;
        Ok(Self { published, descs })
    }
}

impl Collector for BusinessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families(&self.published.load())
    }
}

impl Business {
    /// Over what is published here.
    ///
    /// # Errors
    /// Where the catalogue has a name that Prometheus does not allow.
    pub fn new(published: Arc<ArcSwap<Snapshot>>) -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(BusinessCollector::new(published.clone())?))?;
        Ok(Self { published, registry })
    }
}

impl Versioned for Business {
    fn version(&self) -> u64 {
        self.published.load().version
    }

    fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

/// The families of a snapshot. What is not known yet (sessions in progress before the first complete
/// poll, the newest end before the first session) has no sample; neither has a helper's count
/// unless it is switched on.
pub fn families(snapshot: &Snapshot) -> Vec<MetricFamily> {
    use catalogue as c;
    let build = |metric: &Metric, fill: &dyn Fn(&mut Series, &Totals)| per_tenant(metric, &snapshot.tenants, fill);
    let mut families = vec![
        build(&c::SESSIONS, &|series, totals| series.counters(&totals.sessions)),
        build(&c::SESSION_DURATION, &|series, totals| {
            for (kind, histogram) in totals.durations.iter() {
                let native = histogram.native.as_ref().filter(|_| snapshot.native_histograms);
                series.histogram(&[kind.as_str()], histogram, native);
            }
        }),
        build(&c::PARTICIPANTS, &|series, totals| series.counters_by_two(&totals.participants)),
        build(&c::PARTICIPANT_OS, &|series, totals| series.counters_by_two(&totals.systems)),
        build(&c::CROSS_TENANT_SESSIONS, &|series, totals| series.counters(&totals.cross_tenant)),
        build(&c::INVALID_DURATIONS, &|series, totals| series.counter(&[], &totals.invalid_durations)),
        build(&c::REPORT_DELAY, &|series, totals| series.histogram(&[], &totals.delays, None)),
        build(&c::SESSIONS_IN_PROGRESS, &|series, totals| {
            totals.in_progress.iter().for_each(|sessions| series.gauge(&[], *sessions as f64));
        }),
        build(&c::LAST_SESSION_END, &|series, totals| {
            totals.last_session_end.iter().for_each(|end| series.gauge(&[], unix_seconds(*end)));
        }),
        build(&c::HELPER_SESSIONS, &|series, totals| {
            totals.helper_sessions.iter().for_each(|(helper, counter)| series.counter(&[helper], counter));
        }),
        build(&c::REPORTS_READ, &|series, totals| series.counter(&[], &totals.read)),
        build(&c::REPORTS_REJECTED, &|series, totals| series.counters(&totals.rejected)),
        build(&c::REPORT_ROWS_MISSING, &|series, totals| series.counter(&[], &totals.rows_missing)),
        lone_gauge(&c::LEDGER_SESSIONS, snapshot.sessions as f64),
        lone_gauge(&c::LEDGER_SIZE, snapshot.size_bytes as f64),
    ];
    for (metric, fate) in [
        (c::REPORTS_DUPLICATE, Fate::Duplicate),
        (c::REPORTS_AMENDED, Fate::Amended),
        (c::REPORTS_UNFINISHED, Fate::Unfinished),
        (c::REPORTS_TOO_OLD, Fate::TooOld),
        (c::REPORTS_BASELINE, Fate::Baseline),
    ] {
        families.push(build(&metric, &|series, totals| series.counter(&[], &totals.fates[fate])));
    }
    for (metric, subject) in [
        (c::ACTIVE_HELPERS, Subject::Helpers),
        (c::ACTIVE_SHARERS, Subject::Sharers),
        (c::HELPED_DEVICES, Subject::Devices),
    ] {
        families.push(build(&metric, &|series, totals| {
            let windows: &PerLabel<Window, u64> = &totals.active[subject];
            windows.iter().for_each(|(window, count)| series.gauge(&[window.as_str()], *count as f64));
        }));
    }
    families
}

/// A time as Prometheus has it: seconds since 1970, to the millisecond.
pub(super) fn unix_seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1000.0
}

fn per_tenant(metric: &Metric, tenants: &[TenantSnapshot], fill: &dyn Fn(&mut Series, &Totals)) -> MetricFamily {
    let mut metrics = Vec::new();
    for tenant in tenants {
        fill(&mut Series { names: metric.labels, tenant: &tenant.name, metrics: &mut metrics }, &tenant.totals);
    }
    family(metric, metrics)
}

fn lone_gauge(metric: &Metric, value: f64) -> MetricFamily {
    family(metric, vec![gauge(Vec::new(), value)])
}

pub(super) fn family(metric: &Metric, metrics: Vec<prometheus::proto::Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(match metric.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(metrics);
    family
}

/// One tenant's series of one family. Label values are given without the tenant, which comes first.
struct Series<'a> {
    names: &'static [&'static str],
    tenant: &'a str,
    metrics: &'a mut Vec<prometheus::proto::Metric>,
}

impl Series<'_> {
    fn counters<L: Label>(&mut self, counters: &PerLabel<L, totals::Counter>) {
        counters.iter().for_each(|(label, counter)| self.counter(&[label.as_str()], counter));
    }

    fn counters_by_two<A: Label, B: Label>(&mut self, counters: &PerLabel<A, PerLabel<B, totals::Counter>>) {
        for (first, inner) in counters.iter() {
            inner.iter().for_each(|(second, counter)| self.counter(&[first.as_str(), second.as_str()], counter));
        }
    }

    fn counter(&mut self, values: &[&str], counter: &totals::Counter) {
        let mut sample = Counter::default();
        sample.set_value(counter.value as f64);
        wire::set_counter_created(&mut sample, counter.started);
        let mut metric = prometheus::proto::Metric::from_label(self.labels(values));
        metric.set_counter(sample);
        self.metrics.push(metric);
    }

    fn gauge(&mut self, values: &[&str], value: f64) {
        let labels = self.labels(values);
        self.metrics.push(gauge(labels, value));
    }

    fn histogram(&mut self, values: &[&str], histogram: &totals::Histogram, native: Option<&Native>) {
        // Without the bucket `+Inf`, whose count is the sample count: every encoder adds it, and the
        // crate's text encoder would misspell its bound as `inf`.
        let mut cumulative = 0;
        let buckets = histogram.bounds.iter().zip(&histogram.counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut sample = Histogram::default();
        sample.set_bucket(buckets.collect());
        sample.set_sample_count(histogram.count());
        sample.set_sample_sum(histogram.sum_seconds());
        wire::set_histogram_created(&mut sample, histogram.started);
        if let Some(native) = native {
            wire::set_native(&mut sample, native);
        }
        let mut metric = prometheus::proto::Metric::from_label(self.labels(values));
        metric.set_histogram(sample);
        self.metrics.push(metric);
    }

    /// Sorted by name, as the crate's own instruments have theirs: one order in the whole exposition.
    fn labels(&self, values: &[&str]) -> Vec<LabelPair> {
        debug_assert_eq!(self.names.len(), values.len() + 1, "{:?} {values:?}", self.names);
        let values = [self.tenant].into_iter().chain(values.iter().copied());
        let mut labels: Vec<_> = self.names.iter().zip(values).map(|(name, value)| label(name, value)).collect();
        labels.sort_by(|a, b| a.name().cmp(b.name()));
        labels
    }
}

pub(super) fn gauge(labels: Vec<LabelPair>, value: f64) -> prometheus::proto::Metric {
    let mut sample = Gauge::default();
    sample.set_value(value);
    let mut metric = prometheus::proto::Metric::from_label(labels);
    metric.set_gauge(sample);
    metric
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use prometheus::{Registry, TextEncoder};

    use super::*;
    use crate::ledger::totals::{DURATION_BOUNDS, TICKS_PER_SECOND};
    use crate::session::{EnrollmentState, Os, RejectReason, Role, SessionType};

    fn tenant(name: &str, change: impl FnOnce(&mut Totals)) -> TenantSnapshot {
        let mut totals = Totals::zero(Utc.timestamp_opt(1_770_000_000, 0).unwrap(), DURATION_BOUNDS);
        change(&mut totals);
        TenantSnapshot { name: name.into(), totals: totals.into(), last_success: None }
    }

    fn lines(tenants: Vec<TenantSnapshot>) -> Vec<String> {
        let snapshot = Snapshot { tenants, sessions: 7, size_bytes: 4096, ..Snapshot::default() };
        let registry = Registry::new();
        let published = Arc::new(ArcSwap::from_pointee(snapshot));
        registry.register(Box::new(BusinessCollector::new(published).unwrap())).unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn every_bounded_label_set_starts_at_zero_and_the_unknown_is_absent() {
        let lines = lines(vec![tenant("a", |_| {})]);
        let series = |name: &str| {
            let name = format!("{}{name}{{", catalogue::PREFIX);
            lines.iter().filter(|line| line.starts_with(&name)).count()
        };
        let types = SessionType::ALL.len();
        assert_eq!(series("sessions_total"), types);
        assert_eq!(series("session_duration_seconds_bucket"), types * (DURATION_BOUNDS.len() + 1));
        assert_eq!(series("session_duration_seconds_count"), types);
        assert_eq!(series("participants_total"), Role::ALL.len() * EnrollmentState::ALL.len());
        assert_eq!(series("participant_os_total"), Role::ALL.len() * Os::ALL.len());
        assert_eq!(series("cross_tenant_sessions_total"), types);
        assert_eq!(series("reports_rejected_total"), RejectReason::ALL.len());
        assert_eq!(series("active_helpers"), Window::ALL.len());
        assert_eq!(series("reports_baseline_total"), 1);
        assert_eq!(series("sessions_in_progress"), 0);
        assert_eq!(series("last_session_end_timestamp_seconds"), 0);
        assert_eq!(series("helper_sessions_total"), 0);
        let zero = |line: &&String| !line.contains("ledger_") && !line.ends_with(" 0");
        assert_eq!(lines.iter().find(zero), None);
    }

    #[test]
    fn values_reach_their_own_series() {
        let lines = lines(vec![
            tenant("a", |totals| {
                totals.sessions[SessionType::FullControl].value = 3;
                totals.participants[Role::Sharer][EnrollmentState::PendingReset].value = 4;
                totals.fates[Fate::TooOld].value = 5;
                totals.active[Subject::Devices][Window::Week] = 6;
                totals.in_progress = Some(0);
                totals.last_session_end = Utc.timestamp_millis_opt(1_774_000_000_123).single();
                totals.helper_sessions.insert("mia@example.com".into(), totals.read);
            }),
            tenant("b", |totals| totals.sessions[SessionType::FullControl].value = 8),
        ]);
        for line in [
            r#"sessions_total{session_type="fullControl",tenant="a"} 3"#,
            r#"sessions_total{session_type="fullControl",tenant="b"} 8"#,
            r#"participants_total{enrollment_state="pendingReset",role="sharer",tenant="a"} 4"#,
            r#"reports_too_old_total{tenant="a"} 5"#,
            r#"helped_devices{tenant="a",window="7d"} 6"#,
            r#"sessions_in_progress{tenant="a"} 0"#,
            r#"last_session_end_timestamp_seconds{tenant="a"} 1774000000.123"#,
            r#"helper_sessions_total{helper="mia@example.com",tenant="a"} 0"#,
            "ledger_sessions 7",
            "ledger_size_bytes 4096",
        ] {
            let line = format!("{}{line}", catalogue::PREFIX);
            assert!(lines.contains(&line), "{line}");
        }
    }

    #[test]
    fn buckets_are_cumulative() {
        let lines = lines(vec![tenant("a", |totals| {
            let histogram = &mut totals.durations[SessionType::Elevation];
            for seconds in [30, 31, 100_000] {
                histogram.observe(seconds * TICKS_PER_SECOND);
            }
        })]);
        let value = |suffix: &str, le: &str| {
            let line = format!(
                "{}session_duration_seconds{suffix}{{session_type=\"elevation\",tenant=\"a\"{le}}} ",
                catalogue::PREFIX
            );
            lines.iter().find_map(|l| l.strip_prefix(&line)).unwrap().to_owned()
        };
        let bucket = |le: &str| value("_bucket", &format!(",le=\"{le}\""));
        assert_eq!([bucket("30"), bucket("60"), bucket("28800"), bucket("+Inf")], ["1", "2", "2", "3"]);
        assert_eq!([value("_count", ""), value("_sum", "")], ["3", "100061"]);
    }

    #[test]
    fn every_business_metric_is_built_once() {
        let snapshot = Snapshot { tenants: vec![tenant("a", |_| {})], ..Snapshot::default() };
        let mut built: Vec<_> = families(&snapshot).iter().map(|family| family.name().to_owned()).collect();
        let mut known: Vec<_> = catalogue::BUSINESS.iter().map(|metric| metric.name).collect();
        built.sort_unstable();
        known.sort_unstable();
        assert_eq!(built, known);
    }
}
