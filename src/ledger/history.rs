//! What was counted when: the totals of every tenant in a ledger, with the sessions behind them as far
//! as they are kept. A session that left the look-back window is in the history table for [`HISTORY`],
//! without the hashes of who took part; what left that, or was forgotten before there was one, is in
//! the totals alone.
//!
//! A ledger that another process has open is read from a copy, so the exporter goes on meanwhile.
//!
//! [`HISTORY`]: super::HISTORY

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::files::{Copy, Files};
use super::record::SessionRecord;
use super::state::TenantState;
use super::store::{Store, StoreError};
use super::totals::Totals;
use super::{OpenError, Settings};
use crate::session::{EnrollmentState, Os, Role, SessionType};

/// One tenant's totals, and the counted sessions that are known one by one.
#[derive(Clone, Debug)]
pub struct PastTenant {
    /// The tenant's configured name.
    pub name: Arc<str>,
    /// Its totals.
    pub totals: Arc<Totals>,
    /// By their ends. Those that a first run marked as known are not among them.
    pub sessions: Vec<PastSession>,
}

impl PastTenant {
    /// When its series were started.
    pub fn started(&self) -> DateTime<Utc> {
        self.totals.invalid_durations.started
    }
}

/// What a session counted as: 32 bytes of memory each. Times are ticks of 100 ns since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastSession {
    /// When it ended, as counted.
    pub end: i64,
    /// When it was counted.
    pub counted_at: i64,
    /// [`NO_DURATION`] where there is none.
    duration: u64,
    /// Its type.
    pub session_type: SessionType,
    states: [EnrollmentState; 2],
    systems: [Os; 2],
    /// Whether helper and sharer belong to different tenants.
    pub cross_tenant: bool,
    delay_observed: bool,
}

/// A duration is the difference of two dates, and so at most half of this.
const NO_DURATION: u64 = u64::MAX;

impl From<&SessionRecord> for PastSession {
    fn from(record: &SessionRecord) -> Self {
        Self {
            end: record.end,
            counted_at: record.counted_at,
            duration: record.duration().unwrap_or(NO_DURATION),
            session_type: record.session_type,
            states: [record.helper_state, record.sharer_state],
            systems: [record.helper_os, record.sharer_os],
            cross_tenant: record.cross_tenant,
            delay_observed: record.delay_observed,
        }
    }
}

impl PastSession {
    /// How long it lasted, in ticks; `None` where that is not known.
    pub fn duration(&self) -> Option<u64> {
        (self.duration != NO_DURATION).then_some(self.duration)
    }

    /// How long after its end it was counted, in ticks; `None` in a first run's backlog.
    pub fn delay(&self) -> Option<u64> {
        self.delay_observed.then(|| u64::try_from(self.counted_at - self.end).unwrap_or(0))
    }

    /// The enrolment state of the device on this side.
    pub fn state(&self, role: Role) -> EnrollmentState {
        self.states[side(role)]
    }

    /// The system on this side.
    pub fn system(&self, role: Role) -> Os {
        self.systems[side(role)]
    }
}

fn side(role: Role) -> usize {
    match role {
        Role::Helper => 0,
        Role::Sharer => 1,
    }
}

/// Reads the ledger in a directory, of every tenant that is in it, configured or not. The ledger is free
/// again when this returns.
///
/// # Errors
/// As for opening it; and where there is none.
pub fn read(directory: &Path) -> Result<Vec<PastTenant>, OpenError> {
    let path = Files::path_in(directory);
    if !path.exists() {
        return Err(OpenError::Missing { path });
    }
    match Files::lock_to_read(directory) {
        Ok(files) => files.reopen().and_then(|store| tenants(&store)).map_err(|error| files.explain(error)),
        Err(OpenError::Locked { pid, .. }) => {
            let copy = Copy::of(path, pid)?;
            copy.open().and_then(|store| tenants(&store)).map_err(|error| copy.explain(error))
        }
        Err(error) => Err(error),
    }
}

fn tenants(store: &Store) -> Result<Vec<PastTenant>, StoreError> {
    let settings = Settings::of_nobody();
    let mut tenants = Vec::new();
    for (name, state) in store.tenants()? {
        let state = TenantState::read(&state, &settings, DateTime::UNIX_EPOCH)?;
        if state.moved.is_some() {
            continue;
        }
        let mut sessions = Vec::new();
        store.each_of_history(state.number, |record| sessions.push(PastSession::from(&record)))?;
        store.each_session(state.number, i64::MIN, |record| {
            if !record.baseline {
                sessions.push(PastSession::from(&record));
            }
        })?;
        // Almost in order already: an amended session may be kept longer than it lasted.
        sessions.sort_by_key(|session| session.end);
        tenants.push(PastTenant { name: name.into(), totals: state.totals, sessions });
    }
    Ok(tenants)
}
