//! remote-assistance-exporter
pub mod clock;
pub mod config;
pub mod ledger;
pub mod session;
pub mod simulator;
pub mod source;
pub mod status;
