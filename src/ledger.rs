//! The durable record: which sessions are counted, the totals, and when each series started.

pub mod totals;

use std::sync::Arc;

pub use totals::Totals;

/// What `/metrics` shows of the ledger: immutable, published only after the commit that made it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The configured tenants, in the configuration's order.
    pub tenants: Vec<TenantSnapshot>,
    /// `ledger_sessions`: how many ids the ledger holds.
    pub sessions: u64,
    /// `ledger_size_bytes`.
    pub size_bytes: u64,
}

/// One tenant's part of a [`Snapshot`].
#[derive(Clone, Debug)]
pub struct TenantSnapshot {
    /// The tenant's configured name.
    pub name: Arc<str>,
    /// Its totals.
    pub totals: Arc<Totals>,
}
