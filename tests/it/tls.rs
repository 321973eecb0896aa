//! The real program over TLS: what is negotiated, who is let in, and what goes on while certificates change.

mod client;
mod clients;
mod health;
mod hostile;
pub mod lab;
mod negotiation;
mod reload;
mod secrets;
