//! The exporter's own HTTP server in numbers.
//!
//! Each scrape changes them, so no scrape finds them as the one before left them. They are therefore
//! kept such that their numbers can be read alone and at once, without making families of them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, Bucket, Counter, Histogram, MetricFamily};

use super::families::{family, gauge, label};
use super::live::{Live, Number, Numbers};
use super::{catalogue, instrument, wire};

/// From a health check to a scrape of many tenants on a busy machine.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Counts requests by path and status. The caller keeps the paths to a closed set. Clones share it.
#[derive(Clone)]
pub struct HttpMetrics(Arc<Shared>);

struct Shared {
    now: fn() -> DateTime<Utc>,
    descs: Vec<Desc>,
    in_flight: AtomicU64,
    /// Held for the time of some hundred additions or copies, never while anything is encoded.
    series: Mutex<Series>,
}

/// A path whose requests are counted, by the [`HttpMetrics`] that gave this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path(usize);

#[derive(Default)]
struct Series {
    /// Another number after each series that is added; none ever goes.
    shape: u64,
    /// How many requests were answered.
    version: u64,
    /// In the order in which they were named.
    paths: Vec<OfPath>,
    /// The version that changed each of them last: side by side, as each scrape looks for those that have.
    changed: Vec<u64>,
    /// Durations in the order of their labels' values: by place in `paths`.
    durations_by_label: Vec<usize>,
    /// Requests in the order of their labels' values: by place in `paths`, and among those of the path.
    requests_by_label: Vec<(usize, usize)>,
}

struct OfPath {
    name: Box<str>,
    durations: Durations,
    /// By status, of which there are few.
    requests: Vec<Requests>,
}

struct Durations {
    started: DateTime<Utc>,
    /// Not cumulative; the last one is above every bound.
    counts: [u64; BOUNDS.len() + 1],
    nanoseconds: u64,
}

struct Requests {
    code: u16,
    started: DateTime<Utc>,
    count: u64,
    /// The version that changed it last.
    changed: u64,
}

/// Numbers of one path's durations.
const PLACES: usize = BOUNDS.len() + 3;

impl HttpMetrics {
    /// Without any series yet. The clock tells when each begins.
    ///
    /// # Errors
    /// Where the catalogue has a name that Prometheus does not allow.
    pub fn new(now: fn() -> DateTime<Utc>) -> prometheus::Result<Self> {
        use catalogue::{HTTP_IN_FLIGHT, HTTP_REQUEST_DURATION, HTTP_REQUESTS};
        let descs = [HTTP_REQUEST_DURATION, HTTP_IN_FLIGHT, HTTP_REQUESTS].iter().map(instrument::desc);
        let descs = descs.collect::<prometheus::Result<_>>()?;
        Ok(Self(Arc::new(Shared { now, descs, in_flight: AtomicU64::new(0), series: Mutex::default() })))
    }

    /// The path of this name. Its durations start at zero where it is new.
    pub fn path(&self, name: &str) -> Path {
        self.series().path(name, self.0.now)
    }

    /// Starts the counters of a path at zero, for the statuses that are expected of it.
    pub fn declare(&self, path: Path, codes: &[u16]) {
        let (mut series, now) = (self.series(), self.0.now);
        codes.iter().for_each(|code| _ = series.requests(path, *code, now));
    }

    /// A request is in flight from now on, until what this returns is dropped.
    pub fn begin(&self) -> InFlight {
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.0.clone())
    }

    /// A request was answered, `took` after it had come in.
    pub fn answered(&self, path: Path, code: u16, took: Duration) {
        let (mut series, now) = (self.series(), self.0.now);
        series.version += 1;
        let version = series.version;
        series.changed[path.0] = version;
        series.paths[path.0].durations.observe(took);
        let requests = series.requests(path, code, now);
        requests.count += 1;
        requests.changed = version;
    }

    fn series(&self) -> MutexGuard<'_, Series> {
        self.0.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_flight(&self) -> Number {
        Number::Whole(self.0.in_flight.load(Ordering::Relaxed))
    }
}

impl Live for HttpMetrics {
    fn gather(&self) -> Vec<MetricFamily> {
        use catalogue as c;
        let series = self.series();
        let durations = series.all_durations().map(|path| path.durations.sample(&path.name)).collect();
        let requests = series.all_requests().map(|(path, requests)| requests.sample(&path.name)).collect();
        drop(series);
        vec![
            family(&c::HTTP_REQUEST_DURATION, durations),
            family(&c::HTTP_IN_FLIGHT, vec![gauge(Vec::new(), self.in_flight().value())]),
            family(&c::HTTP_REQUESTS, requests),
        ]
        .into_iter()
        // As a registry has it: a family without samples is none.
        .filter(|family| !family.get_metric().is_empty())
        .collect()
    }

    fn numbers(&self, since: Option<u64>) -> Option<Numbers> {
        let series = self.series();
        let is_other = |changed: u64| since.is_none_or(|since| changed > since);
        let in_flight = series.paths.len() * PLACES;
        let mut values = Vec::with_capacity(PLACES + 2);
        for (row, path) in series.durations_by_label.iter().enumerate() {
            if is_other(series.changed[*path]) {
                values.extend((row * PLACES..).zip(series.paths[*path].durations.numbers()));
            }
        }
        // Told without the lock, so no version tells when it changes.
        values.push((in_flight, self.in_flight()));
        for (row, (path, place)) in series.requests_by_label.iter().enumerate() {
            if is_other(series.changed[*path])
                && let requests = &series.paths[*path].requests[*place]
                && is_other(requests.changed)
            {
                values.push((in_flight + 1 + row, Number::Whole(requests.count)));
            }
        }
        let places = in_flight + 1 + series.requests_by_label.len();
        Some(Numbers { shape: series.shape, places, version: series.version, values })
    }
}

impl Collector for HttpMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gather()
    }
}

impl fmt::Debug for HttpMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpMetrics").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

impl Series {
    fn path(&mut self, name: &str, now: fn() -> DateTime<Utc>) -> Path {
        let known = self.paths.iter().position(|path| *path.name == *name);
        Path(known.unwrap_or_else(|| {
            let durations = Durations { started: now(), counts: Default::default(), nanoseconds: 0 };
            self.changed.push(0);
            self.paths.push(OfPath { name: name.into(), durations, requests: Vec::new() });
            self.sort();
            self.paths.len() - 1
        }))
    }

    fn requests(&mut self, path: Path, code: u16, now: fn() -> DateTime<Utc>) -> &mut Requests {
        let known = self.paths[path.0].requests.iter().position(|requests| requests.code == code);
        let place = known.unwrap_or_else(|| {
            let requests = &mut self.paths[path.0].requests;
            requests.push(Requests { code, started: now(), count: 0, changed: 0 });
            let place = requests.len() - 1;
            self.sort();
            place
        });
        &mut self.paths[path.0].requests[place]
    }

    /// After a series was added.
    fn sort(&mut self) {
        let Self { shape, paths, durations_by_label: durations, requests_by_label: requests, .. } = self;
        *shape += 1;
        *durations = (0..paths.len()).collect();
        durations.sort_unstable_by_key(|path| &paths[*path].name);
        *requests =
            durations.iter().flat_map(|path| (0..paths[*path].requests.len()).map(|place| (*path, place))).collect();
        // Of one status, they stay in the order of their paths.
        requests.sort_by_key(|(path, place)| paths[*path].requests[*place].code);
    }

    fn all_durations(&self) -> impl Iterator<Item = &OfPath> {
        self.durations_by_label.iter().map(|path| &self.paths[*path])
    }

    fn all_requests(&self) -> impl Iterator<Item = (&OfPath, &Requests)> {
        self.requests_by_label.iter().map(|(path, place)| {
            let path = &self.paths[*path];
            (path, &path.requests[*place])
        })
    }
}

impl Durations {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
        self.nanoseconds += u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    }

    /// The last one is of all.
    fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut below = 0;
        self.counts.map(|count| {
            below += count;
            below
        })
    }

    fn numbers(&self) -> impl Iterator<Item = Number> {
        let cumulative = self.cumulative();
        let rest = [self.sum(), Number::Count(cumulative[BOUNDS.len()])];
        cumulative.into_iter().map(Number::Count).chain(rest)
    }

    /// In seconds.
    fn sum(&self) -> Number {
        Number::Billionths(self.nanoseconds)
    }

    fn sample(&self, path: &str) -> proto::Metric {
        // Without the bucket `+Inf`, as in `families`.
        let cumulative = self.cumulative();
        let buckets = BOUNDS.iter().zip(cumulative).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut sample = Histogram::default();
        sample.set_bucket(buckets.collect());
        sample.set_sample_count(cumulative[BOUNDS.len()]);
        sample.set_sample_sum(self.sum().value());
        wire::set_histogram_created(&mut sample, self.started);
        let mut metric = proto::Metric::from_label(vec![label(catalogue::PATH, path)]);
        metric.set_histogram(sample);
        metric
    }
}

impl Requests {
    fn sample(&self, path: &str) -> proto::Metric {
        let mut sample = Counter::default();
        sample.set_value(self.count as f64);
        wire::set_counter_created(&mut sample, self.started);
        let labels = vec![label(catalogue::CODE, &self.code.to_string()), label(catalogue::PATH, path)];
        let mut metric = proto::Metric::from_label(labels);
        metric.set_counter(sample);
        metric
    }
}

/// One request in flight.
pub struct InFlight(Arc<Shared>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;
    use prometheus::proto::MetricType;

    use super::*;

    fn began() -> DateTime<Utc> {
        DateTime::from_timestamp(1_773_000_000, 0).unwrap()
    }

    fn has(http: &HttpMetrics, line: &str) -> bool {
        let text = TextEncoder::new().encode_to_string(&http.gather()).unwrap();
        text.lines().any(|known| known.strip_prefix("remote_assistance_exporter_http_") == Some(line))
    }

    #[test]
    fn requests_in_flight_end_when_dropped() {
        let http = HttpMetrics::new(began).unwrap();
        let (one, two) = (http.begin(), http.begin());
        assert!(has(&http, "requests_in_flight 2"));
        drop((one, two));
        assert!(has(&http, "requests_in_flight 0"));
    }

    #[test]
    fn requests_are_counted_by_path_and_status_and_a_bound_belongs_to_its_bucket() {
        let http = HttpMetrics::new(began).unwrap();
        let metrics = http.path("/metrics");
        http.declare(metrics, &[200, 503]);
        http.answered(metrics, 503, Duration::from_millis(5));
        http.answered(metrics, 503, Duration::from_millis(7));
        http.answered(http.path("other"), 404, Duration::from_secs(6));
        for line in [
            r#"requests_total{code="200",path="/metrics"} 0"#,
            r#"requests_total{code="503",path="/metrics"} 2"#,
            r#"requests_total{code="404",path="other"} 1"#,
            r#"request_duration_seconds_bucket{path="/metrics",le="0.0025"} 0"#,
            r#"request_duration_seconds_bucket{path="/metrics",le="0.005"} 1"#,
            r#"request_duration_seconds_bucket{path="/metrics",le="0.01"} 2"#,
            r#"request_duration_seconds_sum{path="/metrics"} 0.012"#,
            r#"request_duration_seconds_bucket{path="other",le="5"} 0"#,
            r#"request_duration_seconds_bucket{path="other",le="+Inf"} 1"#,
        ] {
            assert!(has(&http, line), "{line}");
        }
    }

    #[test]
    fn each_series_tells_when_it_began() {
        let http = HttpMetrics::new(began).unwrap();
        http.answered(http.path("/metrics"), 200, Duration::ZERO);
        let of = |family: &MetricFamily| (family.get_field_type(), wire::created(&family.get_metric()[0]));
        let times: Vec<_> = http.gather().iter().map(of).collect();
        let wanted =
            [(MetricType::HISTOGRAM, Some(began())), (MetricType::GAUGE, None), (MetricType::COUNTER, Some(began()))];
        assert_eq!(times, wanted);
    }

    #[test]
    fn numbers_since_a_version_are_those_that_changed_since() {
        let http = HttpMetrics::new(began).unwrap();
        // Named in another order than that of their labels.
        let [b, a, c] = ["b", "a", "c"].map(|name| http.path(name));
        for path in [a, b, c] {
            http.declare(path, &[404, 200]);
        }
        http.answered(a, 200, Duration::ZERO);
        let all = http.numbers(None).unwrap();
        assert_eq!(all.values.iter().map(|(place, _)| *place).collect::<Vec<_>>(), (0..all.places).collect::<Vec<_>>());
        assert_eq!(all.places, 3 * PLACES + 1 + 6);
        let since = |version| http.numbers(Some(version)).unwrap();
        let nothing = since(all.version);
        assert_eq!(nothing.values, [(3 * PLACES, Number::Whole(0))]);
        http.answered(b, 404, Duration::from_secs(2));
        let some = since(nothing.version);
        let changed: Vec<_> = (PLACES..2 * PLACES).chain([3 * PLACES, 3 * PLACES + 1 + 4]).collect();
        assert_eq!(some.values.iter().map(|(place, _)| *place).collect::<Vec<_>>(), changed);
        let now = http.numbers(None).unwrap();
        assert!(some.values.iter().all(|value| now.values.contains(value)), "{some:?}");
        assert_eq!((some.shape, some.places, some.version), (now.shape, now.places, now.version));
    }

    #[test]
    fn the_shape_changes_with_each_series_and_not_with_numbers() {
        let http = HttpMetrics::new(began).unwrap();
        let shape = || http.numbers(None).unwrap().shape;
        let mut shapes = vec![shape()];
        let metrics = http.path("/metrics");
        shapes.push(shape());
        http.declare(metrics, &[200]);
        shapes.push(shape());
        http.answered(metrics, 200, Duration::ZERO);
        assert_eq!(shape(), shapes[2]);
        http.answered(metrics, 500, Duration::ZERO);
        shapes.push(shape());
        http.answered(http.path("other"), 500, Duration::ZERO);
        shapes.push(shape());
        assert!(shapes.is_sorted_by(|a, b| a < b), "{shapes:?}");
    }
}
