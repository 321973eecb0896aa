//! # The map of the house
//!
//! ```text
//!  Graph ──► source ──────► ledger ─────────► exposition ──► web ──► Prometheus ──► Grafana
//!            wire → report   count once,       snapshot       GET
//!                            commit to disk    → bytes
//!                 └────────── poll drives one cycle ───────┘
//! ```
//!
//! `source` reads pages of reports. `poll` hands them to `ledger` in batches. The ledger finds the
//! ids that are not yet counted, adds them to the totals, commits ids and totals in one durable
//! transaction, and only then publishes an immutable snapshot. A scrape reads that snapshot through
//! `metrics` and `exposition`; it never waits for Graph, the disk, or a lock that polling holds.
//!
//! ## Rooms, and what each may import
//!
//! A test holds this table (`tests/it/tidy.rs`).
//!
//! | room | what is in it | imports | alone uses |
//! |---|---|---|---|
//! | `clock` | the machine's time | | |
//! | `session` | the domain: one report as a value | | |
//! | `status` | how the polls go | session | |
//! | `config` | the configuration, valid and complete | session | serde_saphyr |
//! | `source` | Graph: client, credentials, wire formats | clock, session, status, config | reqwest, azure_core, azure_identity |
//! | `ledger` | the durable record and the rules of counting | session, config | redb |
//! | `metrics` | the catalogue; families of the snapshot; own health | session, status, source, ledger | |
//! | `exposition` | negotiation and formats | metrics | |
//! | `web` | the HTTP server and its pages | session, status, config, exposition | |
//! | `poll` | the background loop | clock, session, status, config, source, ledger, metrics | |
//! | `simulator` | a stand-in of Graph, for the demo and the tests | | rcgen |
//! | `logging` | where log lines go | clock, cli | tracing_subscriber |
//! | `cli` | the command line | config, web | clap |
//! | `commands` | one file per command: joins everything | clock, session, status, config, source, ledger, metrics, exposition, web, poll, simulator, logging, cli | |
//!
//! ## Invariants
//!
//! - Publish after commit: `/metrics` never shows a number that a crash can take back.
//! - A counter never goes down, not even across a restart; a session counts once, whatever is read
//!   again, late, twice or amended.
//! - Every report read has exactly one fate.
//! - The middle is pure: decoding and counting take values and return values. Time is passed in;
//!   only `clock` asks the machine.
//! - No globals: the registry, the status and the stop signal are passed.
//! - Names of people, addresses, device names and ids never become labels, unless
//!   `metrics.helper_label` asks for it; secrets never reach a log, page, error or `Debug`.
//! - Every queue, body, page list, series set and wait has a bound: a named constant with its
//!   reason.
//! - The token goes to the configured Graph origin and nowhere else.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod exposition;
pub mod ledger;
pub mod logging;
pub mod metrics;
pub mod poll;
pub mod session;
pub mod simulator;
pub mod source;
pub mod status;
pub mod web;
