//! The real program over TLS: what is negotiated, who is let in, and what goes on while certificates change.

mod client;
mod clients;
mod health;
mod hostile;
mod lab;
mod negotiation;
mod secrets;
