//! The exporter's own HTTP server in numbers.

use std::time::Duration;

use prometheus::{Gauge, HistogramVec, IntCounterVec, Registry};

use super::{catalogue, instrument};

/// From a health check to a scrape of many tenants on a busy machine.
const DURATION_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Counts requests by path and status. The caller keeps the paths to a closed set.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: Gauge,
}

impl HttpMetrics {
    /// Registers the instruments.
    ///
    /// # Errors
    /// Where they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: instrument::counters(registry, &catalogue::HTTP_REQUESTS)?,
            durations: instrument::histograms(registry, &catalogue::HTTP_REQUEST_DURATION, DURATION_BUCKETS)?,
            in_flight: instrument::gauges(registry, &catalogue::HTTP_IN_FLIGHT)?
                .get_metric_with_label_values::<&str>(&[])?,
        })
    }

    /// Starts the series of a path at zero, with the statuses that are expected of it.
    pub fn declare(&self, path: &str, codes: &[u16]) {
        for code in codes {
            self.requests.with_label_values(&[path, &code.to_string()]);
        }
        self.durations.with_label_values(&[path]);
    }

    /// A request is in flight from now on, until what this returns is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A request was answered, `took` after it had come in.
    pub fn answered(&self, path: &str, code: u16, took: Duration) {
        self.requests.with_label_values(&[path, &code.to_string()]).inc();
        self.durations.with_label_values(&[path]).observe(took.as_secs_f64());
    }
}

/// One request in flight.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
