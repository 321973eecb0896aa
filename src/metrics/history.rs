//! History: every business counter and histogram as it would have stood at each step of time, had each
//! session been counted when it ended.
//!
//! - It ends at the live totals. What the totals hold and no known session explains (sessions of an
//!   older release, or beyond [`crate::ledger::HISTORY`]) is where a series begins.
//! - A histogram that other buckets started anew starts anew here too.
//! - Left out are counters of reports and polls, which have no history, and `helper_sessions_total`,
//!   since the ledger keeps no names.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};

use super::Number;
use super::catalogue::{self as c, Metric};
use crate::ledger::history::{PastSession, PastTenant};
use crate::ledger::ticks;
use crate::ledger::totals::{Counter, Histogram, PerLabel, TICKS_PER_SECOND};
use crate::session::{Label, Role};

/// While a value stays, a sample is written once in each slot of so many seconds: Prometheus looks five
/// minutes back for a series' value, and `rate` over five minutes wants two samples.
const SLOT: i64 = 120;

/// The points of time, in Unix seconds: multiples of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    first: i64,
    step: i64,
    /// The number of steps after the first point.
    steps: i64,
}

/// The series of one metric.
pub struct HistoryFamily<'a> {
    /// The metric.
    pub metric: Metric,
    /// Its series, in the order of the live ones.
    pub series: Vec<HistorySeries<'a>>,
}

/// One label set of one metric.
pub struct HistorySeries<'a> {
    /// In the order of the names.
    pub labels: Vec<(&'static str, &'a str)>,
    tenant: &'a PastTenant,
    live: Value,
    /// When it was started anew by other buckets.
    restarted: Option<DateTime<Utc>>,
    /// What a session adds: an observation in ticks, of which a counter sees only that there is one.
    adds: Box<Adds<'a>>,
}

type Adds<'a> = dyn Fn(&PastSession) -> Option<u64> + 'a;

/// What a series shows at a point of time.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A counter's.
    Counter(u64),
    /// A histogram's.
    Histogram(Histogram),
}

impl Timeline {
    /// From the last multiple of `step` (seconds) that is not after `from`, to the last that is not after `until`;
    /// `None` if that is before. Times are in Unix seconds.
    pub fn new(from: i64, until: i64, step: i64) -> Option<Self> {
        let first = from.div_euclid(step) * step;
        (until >= first).then(|| Self { first, step, steps: (until - first).div_euclid(step) })
    }

    /// The point of this number.
    fn time(&self, point: i64) -> i64 {
        self.first + point * self.step
    }

    /// The number of the first point that is not before a time in ticks.
    fn point(&self, ticks: i64) -> i64 {
        let per_second = TICKS_PER_SECOND as i64;
        let step = self.step * per_second;
        let since = ticks.saturating_sub(self.first.saturating_mul(per_second));
        (since.div_euclid(step) + i64::from(since.rem_euclid(step) > 0)).max(0)
    }

    /// The first point, in Unix seconds.
    pub fn first(&self) -> i64 {
        self.first
    }

    /// The last point, in Unix seconds.
    pub fn last(&self) -> i64 {
        self.time(self.steps)
    }
}

impl Value {
    fn zero(like: &Self) -> Self {
        match like {
            Self::Counter(_) => Self::Counter(0),
            Self::Histogram(like) => Self::Histogram(Histogram::zero(like.started, &like.bounds)),
        }
    }

    fn add(&mut self, observed: u64) {
        match self {
            Self::Counter(value) => *value += 1,
            Self::Histogram(histogram) => histogram.observe(observed),
        }
    }

    /// What remains without the other; `None` if the other is not all in it.
    fn without(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Counter(all), Self::Counter(part)) => Some(Self::Counter(all.checked_sub(*part)?)),
            (Self::Histogram(all), Self::Histogram(part)) => {
                let pairs = all.counts.iter().zip(&part.counts);
                let counts = pairs.map(|(all, part)| all.checked_sub(*part)).collect::<Option<Vec<_>>>()?;
                let sum_ticks = all.sum_ticks.checked_sub(part.sum_ticks)?;
                Some(Self::Histogram(Histogram { counts, sum_ticks, ..Histogram::zero(all.started, &all.bounds) }))
            }
            _ => None,
        }
    }

    /// Shows every sample: what follows the family's name, the bound of a bucket, and the number.
    pub fn samples(&self, mut show: impl FnMut(&'static str, Option<f64>, Number)) {
        match self {
            Self::Counter(value) => show("_total", None, Number::Whole(*value)),
            Self::Histogram(histogram) => {
                let mut cumulative = 0;
                let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
                for (bound, count) in bounds.zip(&histogram.counts) {
                    cumulative += count;
                    show("_bucket", Some(bound), Number::Count(cumulative));
                }
                show("_sum", None, Number::Value(histogram.sum_seconds()));
                show("_count", None, Number::Count(histogram.count()));
            }
        }
    }
}

/// A stretch of a series without a restart in it.
struct Stretch {
    /// Its points: from the first, up to and without the second.
    points: (i64, i64),
    start: Value,
    /// When the sessions were counted that are in it, in ticks.
    counted: RangeInclusive<i64>,
}

impl HistorySeries<'_> {
    /// How many series Prometheus sees in it: of a histogram, its buckets, sum and count.
    pub fn lines(&self) -> u64 {
        match &self.live {
            Value::Counter(_) => 1,
            Value::Histogram(histogram) => histogram.counts.len() as u64 + 2,
        }
    }

    /// Shows the value at the points of time, and whether it is another than the one shown before. While it stays
    /// the same, not every point is shown; the points around a change always are.
    ///
    /// # Errors
    /// What `show` returns.
    pub fn points<E>(
        &self,
        timeline: &Timeline,
        mut show: impl FnMut(i64, &Value, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        self.stretches(timeline).into_iter().try_for_each(|stretch| self.stretch(timeline, stretch, &mut show))
    }

    fn stretch<E>(
        &self,
        timeline: &Timeline,
        stretch: Stretch,
        show: &mut impl FnMut(i64, &Value, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        let Stretch { points: (first, end), start: mut value, counted } = stretch;
        let of_it = self.tenant.sessions.iter().filter(|session| counted.contains(&session.counted_at));
        let mut added =
            of_it.filter_map(|session| Some((timeline.point(session.end), (self.adds)(session)?))).peekable();
        let mut slot = None;
        for point in first..end {
            let mut changed = point == first;
            while let Some((_, observed)) = added.next_if(|(at, _)| *at <= point) {
                value.add(observed);
                changed = true;
            }
            let time = timeline.time(point);
            let opens_a_slot = slot.replace(time.div_euclid(SLOT)) != Some(time.div_euclid(SLOT));
            let before_a_change = added.peek().is_some_and(|(at, _)| *at == point + 1);
            if changed || opens_a_slot || before_a_change || point + 1 == end {
                show(time, &value, changed)?;
            }
        }
        Ok(())
    }

    fn stretches(&self, timeline: &Timeline) -> Vec<Stretch> {
        let end = timeline.steps + 1;
        let until = self.counted_until(timeline);
        let (restart, since) = match self.restarted {
            None => (0, i64::MIN),
            Some(at) => (timeline.point(ticks(at)).min(end), self.counted_since_restart()),
        };
        let (start, counted) = match self.live.without(&self.sum(since..=i64::MAX)) {
            Some(unexplained) => (unexplained, since..=until),
            // Never of what one release counted. Then at least the end is right.
            None => (self.live.clone(), RangeInclusive::new(i64::MAX, i64::MIN)),
        };
        let now = Stretch { points: (restart, end), start, counted };
        let before = (restart > 0).then(|| Stretch {
            points: (0, restart),
            start: Value::zero(&self.live),
            counted: i64::MIN..=until.min(since.saturating_sub(1)),
        });
        before.into_iter().chain([now]).collect()
    }

    /// Of an exporter that counted already when history ends, what it had counted by then: what it counted
    /// later is in its live series from then on. All, of one that was started later.
    fn counted_until(&self, timeline: &Timeline) -> i64 {
        let last = timeline.last();
        let counted_already = self.tenant.started().timestamp() < last;
        if counted_already { last.saturating_mul(TICKS_PER_SECOND as i64) } else { i64::MAX }
    }

    /// Sessions that were counted at this time (ticks) or later are in the live value: the last ones, as many
    /// as it holds. The time at which the series was started is the machine's, and may not be compared.
    fn counted_since_restart(&self) -> i64 {
        let Value::Histogram(live) = &self.live else { return i64::MIN };
        let of_it = self.tenant.sessions.iter().filter(|session| (self.adds)(session).is_some());
        let mut counted: Vec<_> = of_it.map(|session| session.counted_at).collect();
        counted.sort_unstable();
        let held = usize::try_from(live.count()).unwrap_or(usize::MAX);
        match counted.len().checked_sub(held) {
            None | Some(0) => i64::MIN,
            // What was counted at the same moment as the last before the restart is before it too.
            Some(before) => counted[before - 1].saturating_add(1),
        }
    }

    fn sum(&self, counted: RangeInclusive<i64>) -> Value {
        let mut sum = Value::zero(&self.live);
        let of_it = self.tenant.sessions.iter().filter(|session| counted.contains(&session.counted_at));
        of_it.filter_map(|session| (self.adds)(session)).for_each(|observed| sum.add(observed));
        sum
    }
}

/// The families, with the tenants' series one after the other.
pub fn history(tenants: &[PastTenant]) -> Vec<HistoryFamily<'_>> {
    vec![
        build(&c::SESSIONS, tenants, |series| {
            let counters = &series.tenant.totals.sessions;
            series.counters(counters, |of, session| session.session_type == of);
        }),
        build(&c::SESSION_DURATION, tenants, |series| {
            let totals = &series.tenant.totals;
            for (of, histogram) in totals.durations.iter() {
                // Both start with the tenant; only the one can start anew.
                let restarted = Some(histogram.started).filter(|started| *started > totals.sessions[of].started);
                let duration = move |session: &PastSession| session.duration().filter(|_| session.session_type == of);
                series.histogram(&[of.as_str()], histogram, restarted, duration);
            }
        }),
        build(&c::PARTICIPANTS, tenants, |series| {
            for (role, counters) in series.tenant.totals.participants.iter() {
                series.counters_of(role, counters, move |of, session| session.state(role) == of);
            }
        }),
        build(&c::PARTICIPANT_OS, tenants, |series| {
            for (role, counters) in series.tenant.totals.systems.iter() {
                series.counters_of(role, counters, move |of, session| session.system(role) == of);
            }
        }),
        build(&c::CROSS_TENANT_SESSIONS, tenants, |series| {
            let counters = &series.tenant.totals.cross_tenant;
            series.counters(counters, |of, session| session.cross_tenant && session.session_type == of);
        }),
        build(&c::INVALID_DURATIONS, tenants, |series| {
            series.counter(&[], &series.tenant.totals.invalid_durations, |session| session.duration().is_none());
        }),
        build(&c::REPORT_DELAY, tenants, |series| {
            series.histogram(&[], &series.tenant.totals.delays, None, PastSession::delay);
        }),
    ]
}

fn build<'a>(metric: &Metric, tenants: &'a [PastTenant], fill: impl Fn(&mut Filling<'a>)) -> HistoryFamily<'a> {
    let mut all = Vec::new();
    for tenant in tenants {
        let mut filling = Filling { names: metric.labels, tenant, series: Vec::new() };
        fill(&mut filling);
        all.append(&mut filling.series);
    }
    HistoryFamily { metric: *metric, series: all }
}

/// One tenant's series of one family. Label values are given without the tenant, which comes first.
struct Filling<'a> {
    names: &'static [&'static str],
    tenant: &'a PastTenant,
    series: Vec<HistorySeries<'a>>,
}

impl<'a> Filling<'a> {
    fn counters<L: Label + 'a>(
        &mut self,
        counters: &PerLabel<L, Counter>,
        is: impl Fn(L, &PastSession) -> bool + Copy + 'a,
    ) {
        for (of, counter) in counters.iter() {
            self.counter(&[of.as_str()], counter, move |session| is(of, session));
        }
    }

    fn counters_of<L: Label + 'a>(
        &mut self,
        role: Role,
        counters: &PerLabel<L, Counter>,
        is: impl Fn(L, &PastSession) -> bool + Copy + 'a,
    ) {
        for (of, counter) in counters.iter() {
            self.counter(&[role.as_str(), of.as_str()], counter, move |session| is(of, session));
        }
    }

    fn counter(&mut self, values: &[&'static str], counter: &Counter, is: impl Fn(&PastSession) -> bool + 'a) {
        self.push(values, Value::Counter(counter.value), None, move |session| is(session).then_some(0));
    }

    fn histogram(
        &mut self,
        values: &[&'static str],
        histogram: &Histogram,
        restarted: Option<DateTime<Utc>>,
        observed: impl Fn(&PastSession) -> Option<u64> + 'a,
    ) {
        let live = Histogram { native: None, ..histogram.clone() };
        self.push(values, Value::Histogram(live), restarted, observed);
    }

    fn push(
        &mut self,
        values: &[&'static str],
        live: Value,
        restarted: Option<DateTime<Utc>>,
        adds: impl Fn(&PastSession) -> Option<u64> + 'a,
    ) {
        let tenant = self.tenant;
        let values = [&*tenant.name].into_iter().chain(values.iter().copied());
        let mut labels: Vec<_> = self.names.iter().copied().zip(values).collect();
        labels.sort_unstable();
        self.series.push(HistorySeries { labels, tenant, live, restarted, adds: Box::new(adds) });
    }
}
