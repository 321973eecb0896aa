//! Another configuration while the ledger is open: tenants come and go, and nothing that was counted is
//! lost. What is stored of a tenant that goes stays stored, so it goes on where it was when it comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::state::{TenantState, number};
use super::store::{Store, StoreError};
use super::{CommitError, Ledger, Settings, Tenant};

impl Ledger {
    /// Takes over other settings: all of them, durably, or after an error none. New series start at
    /// `now`; tenants that stay keep what their reading under way has found so far.
    pub fn reconfigure(&mut self, settings: Settings, now: DateTime<Utc>) -> Result<(), CommitError> {
        self.try_reconfigure(settings, now).map_err(|error| self.failed(&error))
    }

    fn try_reconfigure(&mut self, settings: Settings, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.reopen()?;
        let store = self.store.as_ref().ok_or_else(|| StoreError::Corrupt("the ledger is not open".into()))?;
        let mut changed = self.changed_states(store, &settings, now)?;
        let sessions = store.len()?;
        if !changed.is_empty() {
            let encoded: Vec<_> =
                changed.iter().map(|(name, state)| Ok((name, state.encode()?))).collect::<Result<_, StoreError>>()?;
            store.write(|tables| encoded.iter().try_for_each(|(name, state)| tables.set_tenant(name, state)))?;
        }
        // It is durable, and nothing below fails.
        let mut before = std::mem::take(&mut self.tenants);
        for policy in &settings.tenants {
            let tenant = match (before.remove(&policy.name), changed.remove(&policy.name)) {
                (Some(tenant), None) => Tenant { policy: policy.clone(), ..tenant },
                (Some(tenant), Some(state)) => Tenant { policy: policy.clone(), state, ..tenant },
                (None, Some(state)) => Tenant::new(policy.clone(), state),
                (None, None) => continue,
            };
            self.tenants.insert(policy.name.clone(), tenant);
        }
        self.settings = settings;
        self.publish(sessions);
        Ok(())
    }

    /// The states that other settings make new or different.
    fn changed_states(
        &self,
        store: &Store,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<Arc<str>, TenantState>, StoreError> {
        let stored: BTreeMap<String, Vec<u8>> = store.tenants()?.into_iter().collect();
        let (mut changed, mut known) = (BTreeMap::new(), stored.len());
        for policy in &settings.tenants {
            let state = match (self.tenants.get(&policy.name), stored.get(&*policy.name)) {
                (Some(tenant), _) => {
                    let mut state = tenant.state.clone();
                    if !state.conform(settings, now) {
                        continue;
                    }
                    state
                }
                (None, Some(bytes)) => TenantState::restore(bytes, settings, now)?,
                (None, None) => {
                    known += 1;
                    TenantState::new(number(known - 1)?, settings, now)
                }
            };
            changed.insert(policy.name.clone(), state);
        }
        Ok(changed)
    }
}
