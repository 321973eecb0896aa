//! Integration tests: one binary, one topic per file. They see what a user sees: files, the command
//! line, sockets, and the library's public items.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod backfill;
mod browser;
mod check;
mod cli;
mod compose;
mod config;
mod credentials;
mod dashboards;
mod demo;
mod docs;
mod enrollment;
mod exactness;
mod exports;
mod exposition;
mod failures;
mod faults;
mod files;
mod fuzz;
mod golden;
mod hostile;
mod image;
mod kubernetes;
mod ledger;
mod listening;
mod memory;
mod microsoft;
mod mounts;
mod networks;
mod once;
mod package;
mod prometheus;
mod queries;
mod reload;
mod rules;
mod secrets;
mod sharding;
mod shell;
mod stopping;
mod storage;
mod supply;
mod support;
mod systemd;
mod terminal;
mod tidy;
mod tls;
mod tools;
mod truth;
mod web;
mod web_file;
