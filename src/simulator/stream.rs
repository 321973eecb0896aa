//! What the report of one tenant holds at a time, and the truth about it.
//!
//! Rows are kept in the order of their ends and drawn as time goes on. A snapshot pins what one
//! reading sees; it is made once and encoded a page at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::draw::digest;
use super::generator::{Generator, Live};
use super::options::{Options, TenantOptions};
use super::row::{Broken, Row, Shown};
use super::scenario::Scenario;
use super::session::Session;
use super::truth::Truth;

/// The oldest part of the history is left out, so that no row leaves the report while a first
/// reading goes on.
const HISTORY_MARGIN: TimeDelta = TimeDelta::hours(6);
/// Ends are timed to the second or finer, so rows may be out of order by less than that.
const GRAIN: TimeDelta = TimeDelta::seconds(1);
/// How many snapshots stay pinned: more than the readings that go on at a time.
const SNAPSHOTS: usize = 16;
/// One row in so many is doubled by the scenario `duplicate-rows`.
const DUPLICATE_EVERY: usize = 3;

/// The report of one tenant.
pub(super) struct Stream {
    generator: Generator,
    lead: TimeDelta,
    history: TimeDelta,
    started: DateTime<Utc>,
    now: DateTime<Utc>,
    live: Live,
    upcoming: Option<Row>,
    rows: VecDeque<(Row, bool)>,
    scripted: Vec<Row>,
    scripted_ended: BTreeMap<String, Arc<Session>>,
    truth: Truth,
    current: Option<(Arc<Snapshot>, Option<DateTime<Utc>>)>,
    snapshots: VecDeque<Arc<Snapshot>>,
    salt: [u8; 32],
    made: u64,
}

/// What one reading sees, from its first page to its last.
pub(super) struct Snapshot {
    /// `SessionId` of the report, part of the collection's skip tokens.
    pub id: u128,
    /// The rows in their order.
    pub rows: Vec<Shown>,
}

impl Stream {
    /// The report at the start, with its history.
    pub fn new(options: &Options, tenant: &TenantOptions, started: DateTime<Utc>) -> Self {
        let generator = Generator::new(options, tenant);
        let mut live = generator.live(started);
        let upcoming = generator.next(&mut live);
        let mut stream = Self {
            lead: options.in_progress_lead.max(GRAIN),
            history: options.history - HISTORY_MARGIN,
            started,
            now: started,
            live,
            upcoming,
            rows: VecDeque::new(),
            scripted: Vec::new(),
            scripted_ended: BTreeMap::new(),
            truth: Truth::default(),
            current: None,
            snapshots: VecDeque::new(),
            salt: digest(&[tenant.name.as_bytes(), started.to_rfc3339().as_bytes()]),
            made: 0,
            generator,
        };
        stream.rows = stream.generator.history(started - stream.history, started).map(|row| (row, false)).collect();
        stream
    }

    /// The report now. Readings of the same moment share a snapshot; `scenario` may spoil it.
    pub fn snapshot(&mut self, now: DateTime<Utc>, scenario: Scenario) -> Arc<Snapshot> {
        let now = self.advance(now);
        let fresh = self.current.take().filter(|(_, until)| until.is_none_or(|until| now < until));
        let (snapshot, until) = fresh.unwrap_or_else(|| self.take_stock(now));
        self.current = Some((snapshot.clone(), until));
        match scenario {
            Scenario::DuplicateRows => self.pin(with_duplicates(&snapshot.rows)),
            Scenario::BrokenRows => self.pin(with_broken_rows(&snapshot.rows)),
            _ => snapshot,
        }
    }

    /// A snapshot that an earlier page named, while it is kept.
    pub fn pinned(&self, id: u128) -> Option<Arc<Snapshot>> {
        let current = self.current.as_ref().map(|(snapshot, _)| snapshot);
        self.snapshots.iter().chain(current).find(|snapshot| snapshot.id == id).cloned()
    }

    /// Adds a scripted session, in place of an earlier one of the same id.
    pub fn push(&mut self, session: Session) {
        self.scripted.retain(|row| row.session.id != session.id);
        self.script(session);
    }

    /// Replaces all scripted sessions by these, in this order, whatever they hold.
    pub fn set_scripted(&mut self, sessions: Vec<Session>) {
        self.scripted.clear();
        for session in sessions {
            self.script(session);
        }
        self.current = None;
    }

    /// The totals of what has been shown as ended by now.
    pub fn truth(&mut self, now: DateTime<Utc>) -> Truth {
        self.snapshot(now, Scenario::None);
        self.truth.clone()
    }

    /// What has been shown as ended by now, even if it is shown no more. Draws everything anew: the
    /// slow twin of [`Stream::truth`].
    pub fn ended(&mut self, now: DateTime<Utc>) -> Vec<Arc<Session>> {
        let now = self.advance(now);
        let mut live = self.generator.live(self.started);
        let run = std::iter::from_fn(|| self.generator.next(&mut live))
            .take_while(|row| row.session.end.is_some_and(|end| end <= now + GRAIN));
        self.generator
            .history(self.started - self.history, self.started)
            .chain(run)
            .filter(|row| row.has_appeared(now))
            .map(|row| row.session)
            .chain(self.scripted_ended.values().cloned())
            .collect()
    }

    fn script(&mut self, session: Session) {
        let row = Row::scripted(session);
        if row.session.end.is_some() && !self.scripted_ended.contains_key(&row.session.id) {
            self.scripted_ended.insert(row.session.id.clone(), row.session.clone());
            self.truth.add(&row.session);
        }
        self.scripted.push(row);
        self.current = None;
    }

    /// Draws what is shown by now, ended or not. Time does not go back.
    fn advance(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.now = self.now.max(now);
        let horizon = self.now + self.lead;
        while let Some(row) = self.upcoming.take_if(|row| row.session.end.is_some_and(|end| end <= horizon)) {
            self.rows.push_back((row, false));
            self.upcoming = self.generator.next(&mut self.live);
            self.current = None;
        }
        self.now
    }

    /// Counts what has appeared, drops what is gone, and shows the rest; with the time until which
    /// that stays the same.
    fn take_stock(&mut self, now: DateTime<Utc>) -> (Arc<Snapshot>, Option<DateTime<Utc>>) {
        for (row, counted) in &mut self.rows {
            if !*counted && row.has_appeared(now) {
                *counted = true;
                self.truth.add(&row.session);
            }
        }
        self.rows.retain(|(row, _)| now < row.gone_from);
        let rows = || self.rows.iter().map(|(row, _)| row).chain(&self.scripted);
        let until = rows().filter_map(|row| row.next_change(now)).min();
        let mut shown: Vec<_> = rows().filter_map(|row| row.shown(now)).collect();
        shown.extend(rows().filter(|row| row.twice).filter_map(|row| row.shown(now)));
        (self.pin(shown), until)
    }

    fn pin(&mut self, rows: Vec<Shown>) -> Arc<Snapshot> {
        self.made += 1;
        let digest = digest(&[&self.salt, &self.made.to_le_bytes()]);
        let id = digest[..16].iter().fold(0, |id, byte| (id << 8) | u128::from(*byte));
        let snapshot = Arc::new(Snapshot { id, rows });
        if self.snapshots.len() == SNAPSHOTS {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(snapshot.clone());
        snapshot
    }
}

/// Some rows twice, the second time far from the first.
fn with_duplicates(rows: &[Shown]) -> Vec<Shown> {
    rows.iter().chain(rows.iter().step_by(DUPLICATE_EVERY)).cloned().collect()
}

/// One row of each kind that cannot be read, spread over the good ones.
fn with_broken_rows(rows: &[Shown]) -> Vec<Shown> {
    let mut spoilt = rows.to_vec();
    for (number, broken) in Broken::ALL.into_iter().enumerate() {
        let place = number * (rows.len() / Broken::ALL.len()) + number;
        spoilt.insert(place.min(spoilt.len()), Shown::Broken(broken));
    }
    spoilt
}
