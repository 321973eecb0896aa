//! remote-assistance-exporter
pub mod clock;
pub mod config;
pub mod exposition;
pub mod ledger;
pub mod metrics;
pub mod session;
pub mod source;
pub mod status;
pub mod web;
