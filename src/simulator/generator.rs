//! The sessions of a tenant, drawn as they are needed.
//!
//! History is a function of the seed, the tenant and the hour a session ends in, so two simulators
//! that run at different times agree about the past. What ends while the simulator runs is a Poisson
//! process of the configured rate; it belongs to the run.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use rand::distr::Distribution;
use rand::{Rng, RngExt};
use rand_distr::{Exp, LogNormal, Poisson};

use super::draw::{self, Chance, digest, guid, happens, weighted};
use super::options::{Options, TenantOptions};
use super::population::Population;
use super::row::Row;
use super::session::{NANOSECONDS_PER_TICK, Session};

const SECONDS_PER_HOUR: i64 = 3600;
const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;
/// Nobody helps for less, and nothing lasts longer than a working day.
const DURATION_SECONDS: (f64, f64) = (5.0, 8.0 * 3600.0);
/// How long the service keeps a session.
const RETENTION: TimeDelta = TimeDelta::days(30);

/// How often a type occurs, and the median in seconds and the spread of its log-normal duration.
const TYPES: &[(Kind, f64)] = &[
    (Kind { name: "viewOnly", median: 420.0, spread: 0.8 }, 0.40),
    (Kind { name: "fullControl", median: 840.0, spread: 0.9 }, 0.38),
    (Kind { name: "elevation", median: 240.0, spread: 0.7 }, 0.13),
    (Kind { name: UNATTENDED, median: 1320.0, spread: 1.0 }, 0.09),
];
const UNATTENDED: &str = "unattended";

/// How busy the hours of a working day are, by local time. Only the proportions matter.
const WORKING_DAY: [f64; 24] = [
    0.10, 0.08, 0.08, 0.08, 0.10, 0.15, 0.35, 0.90, 1.90, 2.40, 2.30, 2.00, //
    1.30, 1.90, 2.20, 2.00, 1.60, 0.90, 0.50, 0.35, 0.25, 0.20, 0.15, 0.12,
];
/// How busy any hour of a weekend is.
const WEEKEND_HOUR: f64 = 0.15;

#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    median: f64,
    spread: f64,
}

/// Draws the sessions of one tenant.
pub(super) struct Generator {
    population: Population,
    options: Options,
    tenant: TenantOptions,
}

impl Generator {
    /// The generator of a tenant.
    pub fn new(options: &Options, tenant: &TenantOptions) -> Self {
        Self { population: Population::new(options, tenant), options: options.clone(), tenant: tenant.clone() }
    }

    /// The history from `from` to `to`: sessions that end in there, by their ends.
    pub fn history(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = Row> {
        let hour = |time: DateTime<Utc>| time.timestamp().div_euclid(SECONDS_PER_HOUR);
        (hour(from)..=hour(to))
            .flat_map(|hour| self.hour(hour))
            .filter(move |row| row.session.end.is_some_and(|end| from <= end && end <= to))
    }

    /// What ends from `start` on while the simulator runs, by its ends, for ever.
    pub fn live(&self, start: DateTime<Utc>) -> Live {
        let key = self.digest("run", &start.timestamp_nanos_opt().unwrap_or_default().to_le_bytes());
        let gap = Exp::new(self.tenant.live_per_second).ok().filter(|_| self.tenant.live_per_second > 0.0);
        Live { key, chance: draw::chance(key), gap, end: start, number: 0 }
    }

    /// The next session of a run.
    pub fn next(&self, live: &mut Live) -> Option<Row> {
        live.end += draw::seconds(live.gap?.sample(&mut live.chance));
        live.number += 1;
        let key = digest(&[&live.key, &live.number.to_le_bytes()]);
        Some(self.row(key, live.end, Layer::Live))
    }

    /// The sessions that end in an hour since 1970.
    fn hour(&self, hour: i64) -> Vec<Row> {
        let key = self.digest("hour", &hour.to_le_bytes());
        let mut chance = draw::chance(key);
        let expected = self.expected(hour);
        let count = Poisson::new(expected).map_or(0, |sessions| sessions.sample(&mut chance) as u64);
        let begin = DateTime::UNIX_EPOCH + TimeDelta::seconds(hour * SECONDS_PER_HOUR);
        let mut rows: Vec<_> = (0..count)
            .map(|number| {
                let end = begin + draw::seconds(chance.random::<f64>() * SECONDS_PER_HOUR as f64);
                self.row(digest(&[&key, &number.to_le_bytes()]), end, Layer::History)
            })
            .collect();
        rows.sort_by_key(|row| row.session.end);
        rows
    }

    /// How many sessions are expected to end in an hour since 1970.
    fn expected(&self, hour: i64) -> f64 {
        let week = WORKING_DAY.iter().sum::<f64>() * 5.0 + WEEKEND_HOUR * 48.0;
        let local = DateTime::UNIX_EPOCH + TimeDelta::hours(hour) + self.tenant.utc_offset;
        let weekend = local.weekday().num_days_from_monday() >= 5;
        let weight = if weekend { WEEKEND_HOUR } else { WORKING_DAY[local.hour() as usize] };
        self.tenant.sessions_per_day * 7.0 * weight / week
    }

    fn row(&self, key: [u8; 32], end: DateTime<Utc>, layer: Layer) -> Row {
        let session = self.session(key, end);
        let mut chance = draw::chance(digest(&[b"showing", &key]));
        self.showing(&mut chance, session, layer)
    }

    fn session(&self, key: [u8; 32], end: DateTime<Utc>) -> Session {
        let chance = &mut draw::chance(key);
        let kind = weighted(chance, TYPES).unwrap_or(TYPES[0].0);
        let duration = LogNormal::new(f64::ln(kind.median), kind.spread)
            .map_or(kind.median, |durations| durations.sample(chance))
            .clamp(DURATION_SECONDS.0, DURATION_SECONDS.1);
        // Half of the sessions are timed to the second, the others to the tick.
        let grain = if happens(chance, 0.5) { NANOSECONDS_PER_SECOND } else { NANOSECONDS_PER_TICK };
        let end = draw::truncate(end, grain);
        let start = draw::truncate(end - draw::seconds(duration), grain);
        let sharer = self.population.sharer(chance);
        let unattended = kind.name == UNATTENDED;
        let absent = |chance: &mut Chance| happens(chance, self.options.absent_share);
        Session {
            helper: self.population.helper(chance),
            sharer: if unattended { sharer.unattended.clone() } else { sharer.participant.clone() },
            helper_company_name: (!absent(chance)).then(|| self.tenant.name.as_str().into()),
            sharer_device_serial_number: sharer.serial_number.clone(),
            device_id: sharer.device_id.clone(),
            created: (!absent(chance)).then(|| start - TimeDelta::seconds(chance.random_range(1..90))),
            diagnostic_code: happens(chance, 0.1).then(|| format!("{}", chance.random_range(1000..1020)).into()),
            session_type: (!absent(chance)).then_some(kind.name.into()),
            start: (!happens(chance, self.options.missing_start_share)).then_some(start),
            end: Some(end),
            id: guid(&key),
        }
    }

    /// When a session is shown, and how.
    fn showing(&self, chance: &mut Chance, session: Session, layer: Layer) -> Row {
        let options = &self.options;
        let end = session.end.unwrap_or(DateTime::UNIX_EPOCH);
        let late = happens(chance, options.late_share);
        let delay = draw::seconds(options.late_max.as_seconds_f64() * chance.random::<f64>());
        let ended_from = if late { end + delay } else { end };
        let early = happens(chance, options.in_progress_share);
        let running_from = session.start.filter(|_| early).map(|start| start.max(end - options.in_progress_lead));
        let gone_from = match layer {
            Layer::History => end + RETENTION,
            Layer::Live => ended_from + options.live_retention,
        };
        let twice = happens(chance, options.duplicate_share);
        let amended = happens(chance, options.amended_share).then(|| {
            let code = chance.next_u64() % 1000;
            let device = guid(&digest(&[b"amended", session.id.as_bytes()]));
            let mut sharer = (*session.sharer).clone();
            sharer.device_aad_id = Some(device);
            let amended =
                Session { sharer: sharer.into(), diagnostic_code: Some(format!("{code}").into()), ..session.clone() };
            (ended_from + options.amended_after, amended.into())
        });
        Row { session: session.into(), running_from, ended_from: Some(ended_from), gone_from, twice, amended }
    }

    fn digest(&self, what: &str, which: &[u8]) -> [u8; 32] {
        digest(&[&self.options.seed.to_le_bytes(), self.tenant.name.as_bytes(), what.as_bytes(), which])
    }
}

#[derive(Clone, Copy)]
enum Layer {
    History,
    Live,
}

/// Where a run's stream of sessions stands.
#[derive(Clone)]
pub(super) struct Live {
    key: [u8; 32],
    chance: Chance,
    gap: Option<Exp<f64>>,
    end: DateTime<Utc>,
    number: u64,
}
