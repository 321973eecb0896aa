//! The integration tests: one binary, one module for each topic.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod exposition;
mod web;
