//! The totals of one tenant: plain numbers that only ever grow, and the gauges that go with them.
//!
//! They are stored as JSON keyed by label value, so a label value or a family that a later version
//! adds starts at zero, with its own start time, beside the old ones. Sums of durations are kept in
//! whole ticks of 100 ns, the service's own resolution: adding them never rounds.

pub mod native;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use native::Native;

pub use crate::session::DURATION_BOUNDS;
use crate::session::{EnrollmentState, Label, Os, RejectReason, Role, SessionType, label};

/// Ticks of 100 ns in a second.
pub const TICKS_PER_SECOND: u64 = 10_000_000;

/// Upper bounds of `report_delay_seconds`: from a poll interval to a week. Below a million, where
/// both formats write a bound alike.
pub const DELAY_BOUNDS: &[f64] =
    &[60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 43200.0, 86400.0, 172_800.0, 604_800.0];

label! {
    /// What became of a report that was read. Exactly one of these; rejects are told by reason.
    Fate("fate") {
        /// Its id was new: it is in the totals.
        Counted = "counted",
        /// Its id was known and its contents the same.
        Duplicate = "duplicate",
        /// Its id was known and its contents were not.
        Amended = "amended",
        /// It has no end yet.
        Unfinished = "unfinished",
        /// It ended before the horizon.
        TooOld = "too_old",
        /// It was marked as known by a first run with `first_run: baseline`.
        Baseline = "baseline",
    }
}

label! {
    /// How far back "active" looks.
    Window("window") {
        /// The last 24 hours.
        Day = "1d",
        /// The last 7 days.
        Week = "7d",
        /// The last 28 days.
        Month = "28d",
    }
}

label! {
    /// Who or what is counted as active, by salted hash.
    Subject("subject") {
        /// People who gave help.
        Helpers = "helpers",
        /// People who shared their screen.
        Sharers = "sharers",
        /// Devices that were helped.
        Devices = "devices",
    }
}

impl Window {
    /// The window's length.
    pub fn length(self) -> TimeDelta {
        match self {
            Self::Day => TimeDelta::days(1),
            Self::Week => TimeDelta::days(7),
            Self::Month => TimeDelta::days(28),
        }
    }
}

/// A counter with the time its series started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// When the series started, for `_created`.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub started: DateTime<Utc>,
    /// The count.
    pub value: u64,
}

/// A histogram with the time its series started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// When the series started, for `_created`.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub started: DateTime<Utc>,
    /// Upper bounds in seconds, ascending, without `+Inf`.
    pub bounds: Vec<f64>,
    /// Observations by bucket, not cumulative; the last one is above every bound.
    pub counts: Vec<u64>,
    /// The same observations by native buckets, where they are shown as a native histogram as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// The sum of all observations, in ticks of 100 ns.
    pub sum_ticks: u64,
}

impl Counter {
    /// A series that starts now, at zero.
    pub fn zero(started: DateTime<Utc>) -> Self {
        Self { started, value: 0 }
    }

    /// Adds one.
    pub fn increment(&mut self) {
        self.value += 1;
    }
}

impl Histogram {
    /// A series that starts now, without observations: in classic buckets alone.
    pub fn zero(started: DateTime<Utc>, bounds: &[f64]) -> Self {
        let counts = vec![0; bounds.len() + 1];
        Self { started, bounds: bounds.to_vec(), counts, native: None, sum_ticks: 0 }
    }

    /// The same, in native buckets as well.
    pub fn zero_native(started: DateTime<Utc>, bounds: &[f64]) -> Self {
        Self { native: Some(Native::default()), ..Self::zero(started, bounds) }
    }

    /// Adds one observation.
    pub fn observe(&mut self, ticks: u64) {
        // Compared in ticks: a duration of exactly a bound belongs to that bound's bucket.
        let bucket = self.bounds.partition_point(|bound| bound * (TICKS_PER_SECOND as f64) < ticks as f64);
        self.counts[bucket] += 1;
        if let Some(native) = &mut self.native {
            native.observe(ticks as f64 / TICKS_PER_SECOND as f64, 1);
        }
        self.sum_ticks += ticks;
    }

    /// Gives observations that are in no native bucket the one of their classic bucket's bound: all
    /// that is known of a histogram that was stored before there were native buckets.
    pub fn complete_native(&mut self) {
        if self.native.as_ref().is_some_and(|native| native.count() == self.count()) {
            return;
        }
        let mut native = Native::default();
        let last = self.bounds.last().copied().unwrap_or_default();
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            native.observe(self.bounds.get(bucket).copied().unwrap_or(2.0 * last), *count);
        }
        self.native = Some(native);
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ticks as f64 / TICKS_PER_SECOND as f64
    }
}

/// One value for each value of a label.
#[derive(Clone, Debug, PartialEq)]
pub struct PerLabel<L, T> {
    values: Vec<T>,
    label: PhantomData<L>,
}

impl<L: Label, T> PerLabel<L, T> {
    /// A value for each label value.
    pub fn from_fn(make: impl FnMut(L) -> T) -> Self {
        Self { values: L::ALL.iter().copied().map(make).collect(), label: PhantomData }
    }

    /// Label values with their values, in the label's order.
    pub fn iter(&self) -> impl Iterator<Item = (L, &T)> {
        L::ALL.iter().copied().zip(&self.values)
    }

    /// The same, mutable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (L, &mut T)> {
        L::ALL.iter().copied().zip(&mut self.values)
    }
}

impl<L: Label, T> Index<L> for PerLabel<L, T> {
    type Output = T;
    fn index(&self, label: L) -> &T {
        &self.values[label.index()]
    }
}

impl<L: Label, T> IndexMut<L> for PerLabel<L, T> {
    fn index_mut(&mut self, label: L) -> &mut T {
        &mut self.values[label.index()]
    }
}

impl<L: Label, T: Serialize> Serialize for PerLabel<L, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(label, value)| (label.as_str(), value)))
    }
}

impl<'de, L: Label, T: Deserialize<'de>> Deserialize<'de> for PerLabel<L, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut stored = BTreeMap::<String, T>::deserialize(deserializer)?;
        let values = L::ALL
            .iter()
            .map(|label| stored.remove(label.as_str()).ok_or_else(|| D::Error::missing_field(label.as_str())))
            .collect::<Result<_, _>>()?;
        Ok(Self { values, label: PhantomData })
    }
}

/// Everything that is counted for one tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// `sessions_total`.
    pub sessions: PerLabel<SessionType, Counter>,
    /// `session_duration_seconds`.
    pub durations: PerLabel<SessionType, Histogram>,
    /// `participants_total`.
    pub participants: PerLabel<Role, PerLabel<EnrollmentState, Counter>>,
    /// `participant_os_total`.
    pub systems: PerLabel<Role, PerLabel<Os, Counter>>,
    /// `cross_tenant_sessions_total`.
    pub cross_tenant: PerLabel<SessionType, Counter>,
    /// `invalid_durations_total`.
    pub invalid_durations: Counter,
    /// `report_delay_seconds`.
    pub delays: Histogram,
    /// `reports_read_total`: counted on arrival, before the report's fate is known.
    pub read: Counter,
    /// `reports_…_total`, the fates.
    pub fates: PerLabel<Fate, Counter>,
    /// `reports_rejected_total`.
    pub rejected: PerLabel<RejectReason, Counter>,
    /// `report_rows_missing_total`.
    pub rows_missing: Counter,
    /// `helper_sessions_total` by its label value; empty unless switched on.
    pub helper_sessions: BTreeMap<Box<str>, Counter>,
    /// `sessions_in_progress`: as of the last complete poll, `None` before the first.
    pub in_progress: Option<u64>,
    /// `active_helpers`, `active_sharers`, `helped_devices`.
    pub active: PerLabel<Subject, PerLabel<Window, u64>>,
    /// `last_session_end_timestamp_seconds`: the newest end that was counted.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    pub last_session_end: Option<DateTime<Utc>>,
}

impl Totals {
    /// All series at zero, started now.
    pub fn zero(now: DateTime<Utc>, duration_bounds: &[f64]) -> Self {
        fn counters<L: Label>(now: DateTime<Utc>) -> PerLabel<L, Counter> {
            PerLabel::from_fn(|_| Counter::zero(now))
        }
        Self {
            sessions: counters(now),
            durations: PerLabel::from_fn(|_| Histogram::zero_native(now, duration_bounds)),
            participants: PerLabel::from_fn(|_| counters(now)),
            systems: PerLabel::from_fn(|_| counters(now)),
            cross_tenant: counters(now),
            invalid_durations: Counter::zero(now),
            delays: Histogram::zero(now, DELAY_BOUNDS),
            read: Counter::zero(now),
            fates: counters(now),
            rejected: counters(now),
            rows_missing: Counter::zero(now),
            helper_sessions: BTreeMap::new(),
            in_progress: None,
            active: PerLabel::from_fn(|_| PerLabel::from_fn(|_| 0)),
            last_session_end: None,
        }
    }

    /// All sessions that were counted, of every type.
    pub fn counted(&self) -> u64 {
        self.sessions.iter().map(|(_, counter)| counter.value).sum()
    }
}
