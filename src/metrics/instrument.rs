//! Instruments made from entries of the catalogue and registered at once; and those of them that have
//! series for each tenant, so that a tenant can be forgotten.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;

use prometheus::core::{Collector, Desc, MetricVec, MetricVecBuilder};
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

/// The instruments with the label `tenant`.
#[derive(Debug, Default)]
pub(super) struct PerTenant(Vec<(Metric, Box<dyn Forget>)>);

impl PerTenant {
    /// An instrument as it is, kept here too if it has series for each tenant.
    pub fn keep<T>(&mut self, metric: &Metric, made: Result<MetricVec<T>>) -> Result<MetricVec<T>>
    where
        T: MetricVecBuilder + 'static,
        MetricVec<T>: Debug,
    {
        let instrument = made?;
        if metric.labels.contains(&TENANT) {
            self.0.push((*metric, Box::new(instrument.clone())));
        }
        Ok(instrument)
    }

    /// Takes away these tenants' series in those instruments that are chosen.
    pub fn forget(&self, tenants: &BTreeSet<Arc<str>>, chosen: impl Fn(&Metric) -> bool) {
        if !tenants.is_empty() {
            self.0.iter().filter(|(metric, _)| chosen(metric)).for_each(|(_, instrument)| instrument.forget(tenants));
        }
    }
}

const TENANT: &str = "tenant";

trait Forget: Debug + Send + Sync {
    fn forget(&self, tenants: &BTreeSet<Arc<str>>);
}

impl<T: MetricVecBuilder> Forget for MetricVec<T>
where
    Self: Debug,
{
    /// The other labels' values are no closed set, so the series that there are say which to remove.
    fn forget(&self, tenants: &BTreeSet<Arc<str>>) {
        for family in self.collect() {
            for series in family.get_metric() {
                let labels: HashMap<_, _> = series.get_label().iter().map(|l| (l.name(), l.value())).collect();
                if labels.get(TENANT).is_some_and(|tenant| tenants.contains(*tenant)) {
                    // It fails only where the series has gone in between.
                    let _ = self.remove(&labels);
                }
            }
        }
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, instrument: C) -> Result<C> {
    registry.register(Box::new(instrument.clone()))?;
    Ok(instrument)
}
