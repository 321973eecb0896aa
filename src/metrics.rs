//! The metrics: what they are called, and where their values come from.
//!
//! Business metrics are a [`BusinessCollector`] over the ledger's published snapshot, so a scrape
//! shows committed totals and nothing else. The exporter's own health is instrumented directly, in
//! [`Own`] and [`HttpMetrics`]. Names, types, labels and HELP of both stand in [`catalogue`] alone.
//! There is no global registry: everything is registered with the one that is passed in.

pub mod catalogue;
mod families;
mod history;
mod http;
mod instrument;
mod live;
mod own;
mod process;
mod versioned;
mod wire;

pub use families::{Business, BusinessCollector, families};
pub use history::{HistoryFamily, HistorySeries, Timeline, history};
pub use http::{HttpMetrics, InFlight, Path};
pub use live::{Live, Number, Numbers};
pub use own::{Build, Own, OwnPart, TenantMetrics};
pub use process::Process;
pub use versioned::Versioned;
