//! The durable record: which sessions are counted, the totals, and when each series started.
//!
//! Ids and totals change in one transaction, and what [`Ledger::snapshot`] shows changes only after
//! that transaction is durable: `/metrics` never shows a number that a crash can take back.
//!
//! - [`Ledger`] holds the file and the totals; [`writer::Writer`] is its task in the running program;
//!   [`history`] reads what was counted when, also beside a running one.
//! - `counting` has the rules, pure; `store` the tables; `state` what is kept of a tenant and `record`
//!   of a session; `salt` the keyed hashes; `activity` the distinct people and devices; [`totals`] the
//!   numbers; `reconfigure` takes over another configuration; [`transfer`] moves tenants between ledgers.
//!
//! Invariants: one process per ledger; a corrupt or newer file is never replaced; the horizon never
//! moves back; after a failed commit everything is read from the file again.

mod activity;
mod apply;
mod counting;
mod error;
mod files;
mod hex;
pub mod history;
mod reconfigure;
mod record;
mod salt;
mod state;
mod store;
#[cfg(test)]
mod tests;
pub mod totals;
pub mod transfer;
pub mod writer;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::{Config, FirstRun, HelperLabel};
use crate::session::{DeviceStates, Reject, SessionReport};
use activity::Activity;
pub use error::{CommitError, OpenError, ReconfigureError};
use files::Files;
pub use record::{SessionRecord, ticks, time};
use salt::IdHash;
use state::{TenantState, number};
use store::{Store, StoreError};
use totals::{Fate, PerLabel};
pub use totals::{TICKS_PER_SECOND, Totals};
pub use transfer::TransferError;

/// How long it is kept what each session counted as, for [`history`]: a year and the month before it, to
/// compare with. It takes about 50 bytes a session, and nothing in it tells who took part.
pub const HISTORY: TimeDelta = TimeDelta::days(400);

/// What `/metrics` shows of the ledger: immutable, published only after the commit that made it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The configured tenants, in the configuration's order.
    pub tenants: Vec<TenantSnapshot>,
    /// `ledger_sessions`: how many ids the ledger holds.
    pub sessions: u64,
    /// `ledger_size_bytes`.
    pub size_bytes: u64,
    /// Whether durations are shown as native histograms as well.
    pub native_histograms: bool,
    /// Another number for each snapshot of a ledger.
    pub version: u64,
}

/// One tenant's part of a [`Snapshot`].
#[derive(Clone, Debug)]
pub struct TenantSnapshot {
    /// The tenant's configured name.
    pub name: Arc<str>,
    /// Its totals.
    pub totals: Arc<Totals>,
    /// When its last successful poll ended, in this process or an earlier one.
    pub last_success: Option<DateTime<Utc>>,
}

/// What the ledger needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tenants, in the order that snapshots show them.
    pub tenants: Vec<Policy>,
    /// Upper bounds of `session_duration_seconds`.
    pub duration_bounds: Vec<f64>,
    /// Whether helpers are counted by name.
    pub helper_label: HelperLabel,
    /// Whether durations are shown as native histograms as well.
    pub native_histograms: bool,
}

/// How one tenant's sessions are counted.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The tenant's configured name: its key in the ledger.
    pub name: Arc<str>,
    /// How far before now a session may have ended and still be counted.
    pub lookback: TimeDelta,
    /// What becomes of what a first run finds.
    pub first_run: FirstRun,
}

/// Reports of one tenant to be counted in one transaction.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The tenant's configured name.
    pub tenant: Arc<str>,
    /// The time to judge by.
    pub clock: Clock,
    /// Whether this is the first batch of a reading.
    pub first: bool,
    /// The readable rows.
    pub reports: Vec<SessionReport>,
    /// What is known of devices beside them: completes what is counted, never what is compared.
    pub devices: Arc<DeviceStates>,
    /// The unreadable ones.
    pub rejects: Vec<Reject>,
    /// Set on the last batch of a reading that did not fail.
    pub end: Option<EndOfReading>,
}

/// The time by which a batch is judged.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Now: by the service's `Date` where there is one.
    pub now: DateTime<Utc>,
    /// The earlier of the service's and the machine's time; of files, the time of the newest if that is
    /// earlier. Only this moves the horizon, which can
    /// never move back: a clock that runs ahead for a moment must not cost a month of sessions.
    pub cautious: DateTime<Utc>,
}

/// How a reading ended.
#[derive(Clone, Copy, Debug)]
pub struct EndOfReading {
    /// Rows that the service promised and did not deliver. A reading is complete without any.
    pub rows_missing: u64,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Applied {
    /// How many reports met which fate.
    pub fates: PerLabel<Fate, u64>,
    /// The rejected rows: those of the batch, and those that the rules of counting rejected.
    pub rejects: Vec<Reject>,
    /// The tenant as it stands now.
    pub tenant: TenantSnapshot,
}

/// An open ledger. One at a time per directory, in any process.
pub struct Ledger {
    files: Files,
    settings: Settings,
    /// When series started that the file does not have yet.
    opened: DateTime<Utc>,
    /// `None` after a failed commit, until the file could be opened again.
    store: Option<Store>,
    tenants: BTreeMap<Arc<str>, Tenant>,
    snapshot: Arc<Snapshot>,
}

/// One configured tenant.
struct Tenant {
    policy: Policy,
    state: TenantState,
    /// Read from the records when first needed.
    activity: Option<Activity>,
    /// The sessions in progress that the current reading has met.
    unfinished: HashSet<IdHash>,
}

impl Settings {
    /// The ledger's part of a configuration.
    pub fn new(config: &Config) -> Self {
        let days = |lookback| TimeDelta::from_std(lookback).unwrap_or(TimeDelta::MAX);
        Self {
            tenants: config
                .tenants
                .iter()
                .map(|tenant| Policy {
                    name: tenant.name.clone(),
                    lookback: days(tenant.lookback),
                    first_run: tenant.first_run,
                })
                .collect(),
            duration_bounds: config.metrics.duration_buckets.clone(),
            helper_label: config.metrics.helper_label,
            native_histograms: config.metrics.native_histograms,
        }
    }
}

impl Ledger {
    /// Opens the ledger in a directory, or makes one where there is none. `now` is when the series
    /// of a new tenant start.
    pub fn open(directory: &Path, settings: Settings, now: DateTime<Utc>) -> Result<Self, OpenError> {
        Self::open_files(Files::lock(directory)?, settings, now)
    }

    fn open_files(files: Files, settings: Settings, now: DateTime<Utc>) -> Result<Self, OpenError> {
        let store = files.open()?;
        let (tenants, snapshot) = (BTreeMap::new(), Arc::default());
        let mut ledger = Self { files, settings, opened: now, store: None, tenants, snapshot };
        ledger.load(store).map_err(|error| ledger.files.explain(error))?;
        Ok(ledger)
    }

    /// The totals as last committed.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    /// Whether a tenant is configured. Only such a one's batches can be committed.
    pub fn has(&self, tenant: &str) -> bool {
        self.tenants.contains_key(tenant)
    }

    /// Counts batches in one durable transaction, one after the other. What became of each, in order. After an error nothing of them is in the ledger.
    pub fn commit(&mut self, batches: &[Batch]) -> Result<Vec<Applied>, CommitError> {
        self.try_commit(batches).map_err(|error| self.failed(&error))
    }

    /// Some storage errors leave open whether the transaction is durable. The file knows.
    fn failed(&mut self, error: &StoreError) -> CommitError {
        self.store = None;
        CommitError { path: self.files.path().to_owned(), detail: error.to_string() }
    }

    /// After a failed commit, reads everything from the file again.
    fn reopen(&mut self) -> Result<(), StoreError> {
        if self.store.is_none() {
            let store = self.files.reopen()?;
            self.load(store)?;
        }
        Ok(())
    }

    fn try_commit(&mut self, batches: &[Batch]) -> Result<Vec<Applied>, StoreError> {
        self.reopen()?;
        let Self { store: Some(store), tenants, settings, .. } = self else {
            return Err(StoreError::Corrupt("the ledger is not open".into()));
        };
        for batch in batches {
            if let Some(tenant) = tenants.get_mut(&batch.tenant) {
                tenant.prepare(store, batch)?;
            }
        }
        let own_salt = store.salt().clone();
        let outcomes = store.write(|tables| {
            let mut outcomes = Vec::with_capacity(batches.len());
            for batch in batches {
                let tenant = tenants
                    .get_mut(&batch.tenant)
                    .ok_or_else(|| StoreError::Corrupt(format!("no tenant is named {:?}", batch.tenant)))?;
                let salt = tenant.state.salt.clone().unwrap_or_else(|| own_salt.clone());
                let (fates, rejects) = tenant.apply(batch, tables, &salt, settings.helper_label)?;
                outcomes.push(Applied { fates, rejects, tenant: tenant.snapshot() });
            }
            Ok::<_, StoreError>(outcomes)
        })?;
        let sessions = store.len()?;
        self.publish(sessions);
        Ok(outcomes)
    }

    /// Reads every configured tenant's state, and writes one for those that have none.
    fn load(&mut self, store: Store) -> Result<(), StoreError> {
        let stored: BTreeMap<String, Vec<u8>> = store.tenants()?.into_iter().collect();
        let mut tenants = BTreeMap::new();
        let mut fresh = Vec::new();
        for policy in &self.settings.tenants {
            let state = match stored.get(&*policy.name) {
                Some(bytes) => TenantState::restore(&policy.name, bytes, &self.settings, self.opened)?,
                None => {
                    let state = TenantState::new(number(stored.len() + fresh.len())?, &self.settings, self.opened);
                    fresh.push((policy.name.clone(), state.encode()?));
                    state
                }
            };
            tenants.insert(policy.name.clone(), Tenant::new(policy.clone(), state));
        }
        if !fresh.is_empty() {
            store.write(|tables| fresh.iter().try_for_each(|(name, state)| tables.set_tenant(name, state)))?;
        }
        let sessions = store.len()?;
        self.tenants = tenants;
        self.store = Some(store);
        self.publish(sessions);
        Ok(())
    }

    fn publish(&mut self, sessions: u64) {
        let tenants = self.settings.tenants.iter().filter_map(|policy| self.tenants.get(&policy.name));
        self.snapshot = Arc::new(Snapshot {
            tenants: tenants.map(Tenant::snapshot).collect(),
            sessions,
            size_bytes: self.files.size_bytes(),
            native_histograms: self.settings.native_histograms,
            version: self.snapshot.version + 1,
        });
    }
}

impl Tenant {
    fn new(policy: Policy, state: TenantState) -> Self {
        Self { policy, state, activity: None, unfinished: HashSet::new() }
    }

    fn snapshot(&self) -> TenantSnapshot {
        TenantSnapshot {
            name: self.policy.name.clone(),
            totals: self.state.totals.clone(),
            last_success: self.state.last_success,
        }
    }
}
