//! What is stored of a tenant beside its sessions.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Settings;
use super::salt::Salt;
use super::store::StoreError;
use super::totals::{DURATION_BOUNDS, Histogram, Totals};
use crate::config::HelperLabel;

/// What is stored of a tenant beside its sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TenantState {
    /// The tenant's part of the tables' keys.
    pub number: u32,
    /// Sessions that ended before this are not counted any more. Never moves back.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub horizon: DateTime<Utc>,
    /// Whether one reading was ever complete.
    pub first_run_done: bool,
    /// When the last successful poll ended.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    pub last_success: Option<DateTime<Utc>>,
    /// How helpers are named in `totals.helper_sessions`.
    pub helper_label: HelperLabel,
    /// The salt of the ledger that the tenant came from, by which its hashes are made; `None` where it is
    /// this ledger's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
    /// When the tenant went to another ledger: nothing of it is left here but this.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "chrono::serde::ts_milliseconds_option")]
    pub moved: Option<DateTime<Utc>>,
    /// What is counted.
    pub totals: Arc<Totals>,
}

/// The number of a new tenant, after so many others. None is ever given twice: states are never removed.
pub fn number(tenants: usize) -> Result<u32, StoreError> {
    u32::try_from(tenants).map_err(|_| StoreError::Corrupt("too many tenants".into()))
}

impl Settings {
    /// To look at what is stored, whose buckets are those that count: these stand in where a state has none.
    pub fn of_nobody() -> Self {
        Self {
            tenants: Vec::new(),
            duration_bounds: DURATION_BOUNDS.to_vec(),
            helper_label: HelperLabel::Off,
            native_histograms: false,
        }
    }
}

impl TenantState {
    /// Nothing was counted yet.
    pub fn new(number: u32, settings: &Settings, now: DateTime<Utc>) -> Self {
        Self {
            number,
            horizon: DateTime::UNIX_EPOCH,
            first_run_done: false,
            last_success: None,
            helper_label: settings.helper_label,
            salt: None,
            moved: None,
            totals: Arc::new(Totals::zero(now, &settings.duration_bounds)),
        }
    }

    /// The stored form.
    pub fn encode(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// Reads the stored state of a tenant that is to be polled. Series that the release which wrote it did
    /// not have start now, at zero.
    pub fn restore(tenant: &str, bytes: &[u8], settings: &Settings, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let mut state = Self::read(bytes, settings, now)?;
        if let Some(at) = state.moved {
            return Err(StoreError::Moved { tenant: tenant.to_owned(), at });
        }
        state.conform(settings, now);
        Ok(state)
    }

    /// The same, with the buckets and names that are stored.
    pub fn read(bytes: &[u8], settings: &Settings, now: DateTime<Utc>) -> Result<Self, StoreError> {
        let corrupt = |error: serde_json::Error| StoreError::Corrupt(format!("the state of a tenant: {error}"));
        let stored: serde_json::Value = serde_json::from_slice(bytes).map_err(corrupt)?;
        let mut whole = serde_json::to_value(Self::new(0, settings, now)).map_err(corrupt)?;
        overlay(&mut whole, stored);
        let mut state: Self = serde_json::from_value(whole).map_err(corrupt)?;
        for (session_type, histogram) in state.totals.durations.iter() {
            if histogram.counts.len() != histogram.bounds.len() + 1 {
                return Err(StoreError::Corrupt(format!(
                    "the histogram of {session_type:?} has no bucket for each bound"
                )));
            }
        }
        let totals = Arc::make_mut(&mut state.totals);
        totals.durations.iter_mut().for_each(|(_, durations)| durations.complete_native());
        // Kept by earlier releases, and never shown.
        totals.delays.native = None;
        Ok(state)
    }

    /// Starts the histograms whose buckets are configured otherwise anew, since what they counted cannot
    /// be sorted into other buckets, and the counts of helpers if they are named otherwise. Whether
    /// anything was.
    pub fn conform(&mut self, settings: &Settings, now: DateTime<Utc>) -> bool {
        let other_buckets = |totals: &Totals| {
            totals.durations.iter().any(|(_, durations)| durations.bounds != settings.duration_bounds)
        };
        let mut changed = false;
        if other_buckets(&self.totals) {
            changed = true;
            for (_, durations) in Arc::make_mut(&mut self.totals).durations.iter_mut() {
                if durations.bounds != settings.duration_bounds {
                    *durations = Histogram::zero_native(now, &settings.duration_bounds);
                }
            }
        }
        if self.helper_label != settings.helper_label {
            changed = true;
            self.helper_label = settings.helper_label;
            Arc::make_mut(&mut self.totals).helper_sessions.clear();
        }
        changed
    }
}

/// Puts what is stored over what a new state would hold.
fn overlay(under: &mut serde_json::Value, over: serde_json::Value) {
    match (under, over) {
        (serde_json::Value::Object(under), serde_json::Value::Object(over)) => {
            for (key, value) in over {
                match under.get_mut(&key) {
                    Some(place) => overlay(place, value),
                    None => {
                        under.insert(key, value);
                    }
                }
            }
        }
        (under, over) => *under = over,
    }
}
