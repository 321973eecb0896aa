//! What another configuration changes, tenant by tenant. A tenant is its name: one that is renamed goes,
//! and another comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What becomes of each tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Not configured before.
    pub added: BTreeSet<Arc<str>>,
    /// Configured no longer.
    pub removed: BTreeSet<Arc<str>>,
    /// Configured otherwise.
    pub changed: BTreeSet<Arc<str>>,
    /// How many stay as they are.
    pub unchanged: usize,
}

/// Compares what was configured with what is, by the tenants' names.
pub fn reconcile<T: PartialEq>(before: &BTreeMap<Arc<str>, T>, now: &BTreeMap<Arc<str>, T>) -> Changes {
    let mut changes = Changes::default();
    for (name, tenant) in now {
        match before.get(name) {
            None => _ = changes.added.insert(name.clone()),
            Some(known) if known != tenant => _ = changes.changed.insert(name.clone()),
            Some(_) => changes.unchanged += 1,
        }
    }
    changes.removed = before.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
    changes
}

impl Changes {
    /// Whose polls end.
    pub fn stopped(&self) -> BTreeSet<Arc<str>> {
        self.removed.union(&self.changed).cloned().collect()
    }

    /// Whether a poll begins for this tenant.
    pub fn starts(&self, tenant: &str) -> bool {
        self.added.contains(tenant) || self.changed.contains(tenant)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn tenants(tenants: &[(&str, u8)]) -> BTreeMap<Arc<str>, u8> {
        tenants.iter().map(|(name, settings)| (Arc::from(*name), *settings)).collect()
    }

    #[test]
    fn tenants_come_go_change_and_stay() {
        let before = tenants(&[("goes", 1), ("changes", 1), ("stays", 1), ("old-name", 2)]);
        let now = tenants(&[("changes", 2), ("stays", 1), ("comes", 1), ("new-name", 2)]);
        let changes = reconcile(&before, &now);
        assert_eq!(changes.added, set(&["comes", "new-name"]));
        assert_eq!(changes.removed, set(&["goes", "old-name"]));
        assert_eq!(changes.changed, set(&["changes"]));
        assert_eq!(changes.unchanged, 1);
        assert_eq!(changes.stopped(), set(&["changes", "goes", "old-name"]));
    }

    proptest! {
        /// What runs, stopped and started as is said, is what is configured.
        #[test]
        fn stopping_and_starting_leads_to_what_is_configured(
            before in prop::collection::btree_map(0..30_u8, 0..3_u8, 0..30),
            now in prop::collection::btree_map(0..30_u8, 0..3_u8, 0..30),
        ) {
            let named = |tenants: BTreeMap<u8, u8>| -> BTreeMap<Arc<str>, u8> {
                tenants.into_iter().map(|(name, settings)| (name.to_string().into(), settings)).collect()
            };
            let (before, now) = (named(before), named(now));
            let changes = reconcile(&before, &now);
            let mut running: Vec<(Arc<str>, u8)> = before.clone().into_iter().collect();
            running.retain(|(name, _)| !changes.stopped().contains(name));
            prop_assert_eq!(running.len(), changes.unchanged);
            for (name, settings) in &now {
                if changes.starts(name) {
                    prop_assert!(running.iter().all(|(other, _)| other != name), "{} would run twice", name);
                    running.push((name.clone(), *settings));
                } else {
                    prop_assert!(running.contains(&(name.clone(), *settings)));
                }
            }
            running.sort();
            prop_assert_eq!(running, now.into_iter().collect::<Vec<_>>());
        }
    }
}
