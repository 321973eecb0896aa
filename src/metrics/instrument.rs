//! Instruments made from entries of the catalogue and registered at once.

use prometheus::core::{Collector, Desc};
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, Result};

use super::catalogue::Metric;

pub(super) fn counters(registry: &Registry, metric: &Metric) -> Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
}

/// A counter of time.
pub(super) fn seconds(registry: &Registry, metric: &Metric) -> Result<CounterVec> {
    register(registry, CounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
}

pub(super) fn gauges(registry: &Registry, metric: &Metric) -> Result<GaugeVec> {
    register(registry, GaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?)
}

pub(super) fn histograms(registry: &Registry, metric: &Metric, buckets: &[f64]) -> Result<HistogramVec> {
    let opts = HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(opts, metric.labels)?)
}

pub(super) fn desc(metric: &Metric) -> Result<Desc> {
    let labels = metric.labels.iter().map(|&label| label.to_owned()).collect();
    Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, Default::default())
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, instrument: C) -> Result<C> {
    registry.register(Box::new(instrument.clone()))?;
    Ok(instrument)
}
