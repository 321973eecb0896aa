//! remote-assistance-exporter
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod ledger;
pub mod logging;
pub mod session;
pub mod source;
pub mod status;
