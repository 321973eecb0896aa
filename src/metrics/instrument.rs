//! Instruments made from entries of the catalogue and registered at once; and those of them that have
//! series for each tenant, so that a tenant can be forgotten.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use prometheus::core::{Collector, Desc, MetricVec, MetricVecBuilder};
use prometheus::proto::{self, MetricFamily};
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, Result};

use super::catalogue::{self, Metric};
use super::wire;

pub(super) fn counters(registry: &Registry, metric: &Metric, now: Clock) -> Result<Dated<IntCounterVec>> {
    Dated::register(registry, metric, IntCounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?, now)
}

/// A counter of time.
pub(super) fn seconds(registry: &Registry, metric: &Metric, now: Clock) -> Result<Dated<CounterVec>> {
    Dated::register(registry, metric, CounterVec::new(Opts::new(metric.name, metric.help), metric.labels)?, now)
}

pub(super) fn gauges(registry: &Registry, metric: &Metric) -> Result<GaugeVec> {
    let gauges = GaugeVec::new(Opts::new(metric.name, metric.help), metric.labels)?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

pub(super) fn histograms(
    registry: &Registry,
    metric: &Metric,
    buckets: &[f64],
    now: Clock,
) -> Result<Dated<HistogramVec>> {
    let opts = HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec());
    Dated::register(registry, metric, HistogramVec::new(opts, metric.labels)?, now)
}

pub(super) fn desc(metric: &Metric) -> Result<Desc> {
    let labels = metric.labels.iter().map(|&label| label.to_owned()).collect();
    Desc::new(metric.name.to_owned(), metric.help.to_owned(), labels, Default::default())
}

/// Tells the time.
pub(super) type Clock = fn() -> DateTime<Utc>;

/// Counters or histograms, with the times at which their series began.
#[derive(Clone)]
pub(super) struct Dated<V> {
    series: V,
    /// The places of the labels, in the order of their names: the crate gives series in that order.
    order: Box<[usize]>,
    now: Clock,
    began: Arc<Mutex<HashMap<Vec<String>, DateTime<Utc>>>>,
}

impl<T: MetricVecBuilder + 'static> Dated<MetricVec<T>> {
    fn register(registry: &Registry, metric: &Metric, series: MetricVec<T>, now: Clock) -> Result<Self> {
        let mut order: Vec<_> = (0..metric.labels.len()).collect();
        order.sort_by_key(|place| metric.labels[*place]);
        let dated = Self { series, order: order.into(), now, began: Arc::default() };
        registry.register(Box::new(dated.clone()))?;
        Ok(dated)
    }

    /// One of the series; it begins now if it has not yet.
    pub fn with_label_values(&self, values: &[&str]) -> T::M {
        self.began().entry(self.sorted(values)).or_insert_with(self.now);
        self.series.with_label_values(values)
    }

    /// Takes one of the series away, if it is there.
    pub fn remove_label_values(&self, values: &[&str]) {
        self.began().remove(&self.sorted(values));
        // It fails only where there is no such series.
        let _ = self.series.remove_label_values(values);
    }

    fn sorted(&self, values: &[&str]) -> Vec<String> {
        self.order.iter().map(|place| values[*place].to_owned()).collect()
    }

    fn began(&self) -> MutexGuard<'_, HashMap<Vec<String>, DateTime<Utc>>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: MetricVecBuilder> Collector for Dated<MetricVec<T>> {
    fn desc(&self) -> Vec<&Desc> {
        self.series.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.series.collect();
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        for series in families.iter_mut().flat_map(|family| &mut family.metric) {
            if let Some(began) = began.get(&values(series)) {
                wire::set_created(series, *began);
            }
        }
        families
    }
}

/// A series' label values, in the order of the labels' names.
fn values(series: &proto::Metric) -> Vec<String> {
    series.get_label().iter().map(|label| label.value().to_owned()).collect()
}

impl<V> Debug for Dated<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dated").finish_non_exhaustive()
    }
}

/// The instruments with the label `tenant`.
#[derive(Debug, Default)]
pub(super) struct PerTenant(Vec<(Metric, Box<dyn Forget>)>);

impl PerTenant {
    /// An instrument as it is, kept here too if it has series for each tenant.
    pub fn keep<I: Forget + Clone + 'static>(&mut self, metric: &Metric, made: Result<I>) -> Result<I> {
        let instrument = made?;
        if metric.labels.contains(&catalogue::TENANT) {
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

/// Series of tenants that may go.
pub(super) trait Forget: Debug + Send + Sync {
    /// Takes away all series of these tenants.
    fn forget(&self, tenants: &BTreeSet<Arc<str>>);
}

impl<T: MetricVecBuilder> Forget for MetricVec<T>
where
    Self: Debug,
{
    fn forget(&self, tenants: &BTreeSet<Arc<str>>) {
        remove(self, tenants, |_| {});
    }
}

impl<T: MetricVecBuilder> Forget for Dated<MetricVec<T>> {
    fn forget(&self, tenants: &BTreeSet<Arc<str>>) {
        remove(&self.series, tenants, |series| {
            self.began.lock().unwrap_or_else(PoisonError::into_inner).remove(&values(series));
        });
    }
}

/// The other labels' values are no closed set, so the series that there are say which to remove.
fn remove<T: MetricVecBuilder>(
    series: &MetricVec<T>,
    tenants: &BTreeSet<Arc<str>>,
    mut removed: impl FnMut(&proto::Metric),
) {
    for family in series.collect() {
        for gone in family.get_metric() {
            let labels: HashMap<_, _> = gone.get_label().iter().map(|l| (l.name(), l.value())).collect();
            if labels.get(catalogue::TENANT).is_some_and(|tenant| tenants.contains(*tenant)) {
                // It fails only where the series has gone in between.
                let _ = series.remove(&labels);
                removed(gone);
            }
        }
    }
}
