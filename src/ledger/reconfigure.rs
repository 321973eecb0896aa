//! Another configuration while the ledger is open: tenants come and go, and nothing that was counted is
//! lost. What is stored of a tenant that goes stays stored, so it goes on where it was when it comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::state::{TenantState, number};
use super::store::{Store, StoreError};
use super::{Ledger, ReconfigureError, Settings, Tenant};

/// Tenants that were not configured so far.
#[derive(Default)]
struct Entering {
    states: BTreeMap<Arc<str>, TenantState>,
    /// Whether one of them starts series that the file does not have yet.
    starts_series: bool,
}

impl Ledger {
    /// Takes over other settings: all of them, or after an error none. New series start at `now`; tenants
    /// that stay keep what their reading under way has found so far.
    ///
    /// Only what the file has nothing of yet is written, so a write whose outcome stays open loses nothing.
    /// Series that other settings start anew reach the file with the tenant's next batch, as after a restart.
    pub fn reconfigure(&mut self, settings: Settings, now: DateTime<Utc>) -> Result<(), ReconfigureError> {
        self.try_reconfigure(settings, now).map_err(|error| match error {
            moved @ StoreError::Moved { .. } => {
                ReconfigureError::Moved { path: self.files.path().to_owned(), detail: moved.to_string() }
            }
            error => self.failed(&error).into(),
        })
    }

    fn try_reconfigure(&mut self, settings: Settings, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.reopen()?;
        let store = self.store.as_ref().ok_or_else(|| StoreError::Corrupt("the ledger is not open".into()))?;
        let Entering { mut states, starts_series } = self.entering(store, &settings, now)?;
        let sessions = store.len()?;
        // Nothing below fails.
        if starts_series {
            // Should the file have to be read again before it has them.
            self.opened = now;
        }
        let mut before = std::mem::take(&mut self.tenants);
        for policy in &settings.tenants {
            let tenant = match (before.remove(&policy.name), states.remove(&policy.name)) {
                (Some(mut tenant), _) => {
                    if tenant.state.conform(&settings, now) {
                        self.opened = now;
                    }
                    Tenant { policy: policy.clone(), ..tenant }
                }
                (None, Some(state)) => Tenant::new(policy.clone(), state),
                (None, None) => continue,
            };
            self.tenants.insert(policy.name.clone(), tenant);
        }
        self.settings = settings;
        self.publish(sessions);
        Ok(())
    }

    /// The states of the tenants that were not configured so far: from the file, or new and then in it.
    fn entering(&self, store: &Store, settings: &Settings, now: DateTime<Utc>) -> Result<Entering, StoreError> {
        let stored: BTreeMap<String, Vec<u8>> = store.tenants()?.into_iter().collect();
        let (mut entering, mut fresh) = (Entering::default(), Vec::new());
        for policy in settings.tenants.iter().filter(|policy| !self.tenants.contains_key(&policy.name)) {
            let state = match stored.get(&*policy.name) {
                Some(bytes) => {
                    let state = TenantState::restore(&policy.name, bytes, settings, now)?;
                    entering.starts_series |= state.encode()? != *bytes;
                    state
                }
                None => {
                    let state = TenantState::new(number(stored.len() + fresh.len())?, settings, now);
                    fresh.push((policy.name.clone(), state.encode()?));
                    state
                }
            };
            entering.states.insert(policy.name.clone(), state);
        }
        if !fresh.is_empty() {
            store.write(|tables| fresh.iter().try_for_each(|(name, state)| tables.set_tenant(name, state)))?;
        }
        Ok(entering)
    }
}
