//! One batch against one tenant, inside a write transaction.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::activity::Activity;
use super::counting::{self, Terms, Verdict};
use super::salt::{IdHash, Salt};
use super::store::{Store, StoreError, Tables};
use super::totals::{Counter, Fate, PerLabel, TICKS_PER_SECOND, Totals, Window};
use super::{Batch, HISTORY, Tenant, ticks};
use crate::config::{FirstRun, HelperLabel};
use crate::session::{DeviceStates, Reject, SessionReport};

/// Sessions that one transaction forgets at most: keeps each commit short. A busy tenant ends fewer
/// between two polls.
const MAX_PRUNED: usize = 20_000;

/// Series of `helper_sessions_total` per tenant; later helpers are counted as `other`.
const MAX_HELPERS: usize = 500;

/// A clock that goes back by more than this was wrong before; the windows are then made anew.
const MAX_STEP_BACK: TimeDelta = TimeDelta::days(1);

/// What became of a batch: the fates, and the rejected rows.
pub(super) type Outcome = (PerLabel<Fate, u64>, Vec<Reject>);

impl Tenant {
    /// Reads from the file what the batch will need, before the transaction.
    pub(super) fn prepare(&mut self, store: &Store, batch: &Batch) -> Result<(), StoreError> {
        let now = ticks(batch.clock.now);
        if self.activity.as_ref().is_some_and(|activity| activity.now() - now > seconds(MAX_STEP_BACK)) {
            self.activity = None;
        }
        if self.activity.is_none() {
            let mut activity = Activity::new();
            activity.advance(now);
            store.each_session(self.state.number, now - seconds(Window::Month.length()), |session| {
                activity.add(&session);
            })?;
            self.activity = Some(activity);
        }
        Ok(())
    }

    /// Judges every report of a batch and writes what is new. The tenant changes at once: if the
    /// transaction then fails, every tenant is read from the file again.
    pub(super) fn apply(
        &mut self,
        batch: &Batch,
        tables: &mut Tables<'_>,
        salt: &Salt,
        helper_label: HelperLabel,
    ) -> Result<Outcome, StoreError> {
        self.state.horizon = self.state.horizon.max(batch.clock.cautious - self.policy.lookback);
        if batch.first {
            self.unfinished.clear();
        }
        let first_run = !self.state.first_run_done;
        let terms = Terms {
            now: batch.clock.now,
            horizon: self.state.horizon,
            baseline: first_run && self.policy.first_run == FirstRun::Baseline,
            first_run,
        };
        let (fates, rejects) = (PerLabel::from_fn(|_| 0), Vec::new());
        let mut counting =
            Counting { tables, salt, terms, devices: &batch.devices, helper_label, tenant: self, fates, rejects };
        for report in &batch.reports {
            counting.report(report)?;
        }
        for reject in &batch.rejects {
            counting.totals().read.increment();
            counting.reject(reject.clone());
        }
        let Counting { fates, rejects, .. } = counting;
        self.finish(batch);
        let history = ticks(batch.clock.cautious - HISTORY);
        tables.prune(self.state.number, ticks(self.state.horizon), history, MAX_PRUNED)?;
        tables.set_tenant(&self.policy.name, &self.state.encode()?)?;
        Ok((fates, rejects))
    }

    fn finish(&mut self, batch: &Batch) {
        let totals = Arc::make_mut(&mut self.state.totals);
        if let Some(end) = batch.end {
            totals.rows_missing.value += end.rows_missing;
            self.state.last_success = Some(batch.clock.now);
            if end.rows_missing == 0 {
                self.state.first_run_done = true;
                totals.in_progress = Some(self.unfinished.len() as u64);
            }
        }
        if let Some(activity) = &mut self.activity {
            activity.advance(ticks(batch.clock.now));
            totals.active = activity.counts();
        }
    }
}

/// The batch under way.
struct Counting<'a, 't> {
    tables: &'a mut Tables<'t>,
    salt: &'a Salt,
    terms: Terms,
    devices: &'a DeviceStates,
    helper_label: HelperLabel,
    tenant: &'a mut Tenant,
    fates: PerLabel<Fate, u64>,
    rejects: Vec<Reject>,
}

impl Counting<'_, '_> {
    fn report(&mut self, report: &SessionReport) -> Result<(), StoreError> {
        self.totals().read.increment();
        let id = self.salt.id(&report.id);
        let fingerprint = self.salt.fingerprint(report);
        let known = self.tables.known(self.tenant.state.number, &id)?;
        match counting::judge(report, known, fingerprint, &self.terms) {
            Verdict::New(fate) => {
                if let Some(end) = report.end {
                    self.remember(report, end, id, fingerprint)?;
                }
                self.fate(fate);
            }
            Verdict::Same(fate) => {
                if fate == Fate::Unfinished {
                    self.tenant.unfinished.insert(id);
                }
                self.fate(fate);
            }
            Verdict::Amended(now) => {
                if let Some(before) = known {
                    self.tables.amend(self.tenant.state.number, &id, before, now)?;
                }
                self.fate(Fate::Amended);
            }
            Verdict::Rejected(reject) => self.reject(reject),
        }
        Ok(())
    }

    fn remember(
        &mut self,
        report: &SessionReport,
        end: DateTime<Utc>,
        id: IdHash,
        fingerprint: u64,
    ) -> Result<(), StoreError> {
        let mut session = counting::record(report, end, self.salt, &self.terms);
        counting::complete(&mut session, report, self.devices);
        self.tables.insert(self.tenant.state.number, &id, fingerprint, &session)?;
        self.tenant.unfinished.remove(&id);
        if !session.baseline {
            counting::add(self.totals(), &session);
            self.count_helper(report);
        }
        if let Some(activity) = &mut self.tenant.activity {
            activity.add(&session);
        }
        Ok(())
    }

    fn count_helper(&mut self, report: &SessionReport) {
        let email = report.helper.email.as_deref();
        let label: Box<str> = match (self.helper_label, email) {
            (HelperLabel::Off, _) => return,
            (_, None) => "unreported".into(),
            (HelperLabel::Hashed, Some(email)) => self.salt.label(email).into(),
            (HelperLabel::Plain, Some(email)) => email.to_lowercase().into(),
        };
        let now = self.terms.now;
        let helpers = &mut self.totals().helper_sessions;
        let label = if helpers.contains_key(&label) || helpers.len() < MAX_HELPERS { label } else { "other".into() };
        helpers.entry(label).or_insert(Counter::zero(now)).increment();
    }

    fn fate(&mut self, fate: Fate) {
        self.fates[fate] += 1;
        self.totals().fates[fate].increment();
    }

    fn reject(&mut self, reject: Reject) {
        self.totals().rejected[reject.reason].increment();
        self.rejects.push(reject);
    }

    /// The totals; copied once per batch, since the published snapshot holds the old ones.
    fn totals(&mut self) -> &mut Totals {
        Arc::make_mut(&mut self.tenant.state.totals)
    }
}

fn seconds(length: TimeDelta) -> i64 {
    length.num_seconds() * TICKS_PER_SECOND as i64
}
