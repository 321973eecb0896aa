//! The background loop: reads each tenant's reports, has the ledger count them, and says how it went.
//!
//! One cycle: fetch and decode pages, hand them to the ledger in batches, hear that each batch is
//! durable. Until a batch is committed, nothing of it has an effect; so a cycle may be abandoned at
//! any point and the next one starts over.
//!
//! - [`Supervisor`] runs a loop for each tenant, `schedule` says when it polls, [`Lanes`] how many do at
//!   a time, `isolation` keeps one poll's defects to itself, `cycle` is the poll, `enrollment` looks up
//!   what reports lack, `told` is what the log hears of it. [`reconcile()`] says what another configuration
//!   changes.
//!
//! Invariants: polls of one tenant never overlap, not even across a reload; a tenant that fails or
//! hangs leaves the others alone; a defect in one poll fails that poll and no more.

mod cycle;
mod enrollment;
mod isolation;
mod lanes;
mod observer;
mod reconcile;
mod schedule;
mod supervisor;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Instrument as _, error_span};

pub use cycle::{BATCH_REPORTS, Failure, Summary};
use isolation::Isolation;
pub use lanes::{Lane, Lanes, Turn};
use observer::Observer;
pub use reconcile::{Changes, reconcile};
pub use supervisor::Supervisor;
use told::Told;

use crate::clock;
use crate::config;
use crate::ledger::TenantSnapshot;
use crate::ledger::writer::Writer;
use crate::metrics::TenantMetrics;
use crate::source::{Network, Progress, Source, SourceError};
use crate::status::{EnrollmentStatus, PollError, Status, TenantStatus};

/// A tenant to be polled.
pub struct TenantPoll {
    name: Arc<str>,
    kind: &'static str,
    interval: Duration,
    source: Source,
    turn: Arc<Turn>,
    metrics: Arc<TenantMetrics>,
    status: Arc<Status>,
    told: Told,
    isolation: Isolation,
}

impl TenantPoll {
    /// Prepares a tenant. Nothing shows it yet: see [`TenantPoll::enter`].
    ///
    /// # Errors
    /// If the source cannot be built, for instance because its CA file is unreadable.
    pub fn new(
        tenant: &config::Tenant,
        network: &Network,
        metrics: Arc<TenantMetrics>,
        status: Arc<Status>,
    ) -> Result<Self, SourceError> {
        let turn = Arc::new(Turn::default());
        let observer =
            Arc::new(Observer { name: tenant.name.clone(), metrics: metrics.clone(), status: status.clone() });
        Ok(Self {
            name: tenant.name.clone(),
            kind: tenant.source.kind(),
            interval: tenant.poll_interval,
            source: Source::new(tenant, network, observer)?.resting_by(turn.clone()),
            turn,
            metrics,
            status,
            told: Told::default(),
            isolation: Isolation::default(),
        })
    }

    /// Enters the tenant in metrics and status table: with what the ledger restored if it is new there,
    /// else with what the last poll left.
    pub fn enter(&self, restored: Option<&TenantSnapshot>) {
        self.metrics.declare(self.interval);
        let enrollment_lookup = self.source.enrollment_lookup().map(|_| EnrollmentStatus::default());
        self.metrics.looks_up_enrollment(enrollment_lookup.is_some());
        let is_known = self.status.update(&self.name, |row| {
            row.source = self.kind;
            row.poll_interval_seconds = self.interval.as_secs_f64();
            row.enrollment_lookup.clone_from(&enrollment_lookup);
            // What the source before had to tell; this one tells its own.
            row.files_set_aside = 0;
            row.credential_expires = None;
        });
        if is_known {
            return;
        }
        let last_success = restored.and_then(|tenant| tenant.last_success);
        if let Some(at) = last_success {
            self.metrics.last_success(at);
        }
        self.status.set(TenantStatus {
            restored: last_success.is_some(),
            last_success,
            sessions_counted: restored.map_or(0, |tenant| tenant.totals.counted()),
            sessions_in_progress: restored.and_then(|tenant| tenant.totals.in_progress),
            last_session_end: restored.and_then(|tenant| tenant.totals.last_session_end),
            enrollment_lookup,
            ..TenantStatus::unpolled(self.name.clone(), self.kind, self.interval)
        });
    }

    /// The same, whose readings tell how far they are.
    pub fn told_to(self, progress: Arc<dyn Progress>) -> Self {
        Self { source: self.source.told_to(progress), ..self }
    }

    /// The tenant's configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The turn of its polls, for [`Lanes::run`].
    pub fn turn(&self) -> &Turn {
        &self.turn
    }

    /// Polls once, and records how it went in metrics, status and log.
    pub async fn poll(self: &Arc<Self>, writer: &Writer) -> Result<Summary, Failure> {
        let started = Instant::now();
        // So that whatever is logged on the way names the tenant; enabled whenever anything is logged.
        let span = error_span!("poll", tenant = &*self.name);
        let result = async {
            let result = self.isolation.run(cycle::run(self.clone(), writer.clone())).await;
            self.record(&result, started.elapsed());
            result
        };
        result.instrument(span).await
    }

    fn record(&self, result: &Result<Summary, Failure>, took: Duration) {
        let now = clock::now();
        // The table first: whoever sees the metrics move finds it up to date.
        self.status.update(&self.name, |row| {
            row.up = Some(result.is_ok());
            row.last_poll = Some(now);
            row.last_poll_duration_seconds = Some(took.as_secs_f64());
            match result {
                Ok(summary) => {
                    row.last_success = Some(now);
                    row.last_error = None;
                    row.rows_missing = summary.rows_missing;
                }
                Err(failure) => {
                    row.last_error = Some(PollError { reason: failure.reason, message: failure.message.clone() });
                }
            }
        });
        match result {
            Ok(_) => self.metrics.poll_succeeded(now, took),
            Err(failure) => self.metrics.poll_failed(failure.reason, took),
        }
        self.told.poll(result, took);
    }

    /// Takes over what the ledger says after a commit.
    fn show(&self, tenant: &TenantSnapshot) {
        self.status.update(&self.name, |row| {
            row.sessions_counted = tenant.totals.counted();
            row.sessions_in_progress = tenant.totals.in_progress;
            row.last_session_end = tenant.totals.last_session_end;
        });
    }
}
