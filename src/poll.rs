//! The background loop: reads each tenant's reports, has the ledger count them, and says how it went.
//!
//! One cycle: fetch and decode pages, hand them to the ledger in batches, hear that each batch is
//! durable. Until a batch is committed, nothing of it has an effect; so a cycle may be abandoned at
//! any point and the next one starts over.
//!
//! - `enrollment` looks up what reports lack; `schedule` says when a tenant is polled, [`Lanes`] how many at a time, `isolation` keeps one
//!   poll's defects to itself, `cycle` is the poll, `told` what the log hears of it.
//!
//! Invariants: polls of one tenant never overlap; a tenant that fails or hangs leaves the others
//! alone; a defect in one poll fails that poll and no more.

mod cycle;
mod enrollment;
mod isolation;
mod lanes;
mod schedule;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, error_span};

pub use cycle::{BATCH_REPORTS, Failure, Summary};
pub use lanes::{Lane, Lanes};
use schedule::Schedule;
use told::Told;

use crate::clock;
use crate::config;
use crate::ledger::TenantSnapshot;
use crate::ledger::writer::Writer;
use crate::metrics::TenantMetrics;
use crate::source::{Network, Progress, Source, SourceError};
use crate::status::{EnrollmentStatus, PollError, Status, TenantStatus};

/// How often the loop says that it is alive.
const BEAT: Duration = Duration::from_secs(5);
/// After how long without a word it is taken for dead.
const PATIENCE: Duration = Duration::from_secs(60);
/// The loop's name where health names it.
const LOOP: &str = "poll";

/// A tenant to be polled.
pub struct TenantPoll {
    name: Arc<str>,
    interval: Duration,
    source: Source,
    metrics: Arc<TenantMetrics>,
    status: Arc<Status>,
    told: Told,
}

impl TenantPoll {
    /// Prepares a tenant and enters it in the status table with what the ledger restored.
    ///
    /// # Errors
    /// If the source cannot be built, for instance because its CA file is unreadable.
    pub fn new(
        tenant: &config::Tenant,
        network: &Network,
        restored: Option<&TenantSnapshot>,
        metrics: Arc<TenantMetrics>,
        status: Arc<Status>,
    ) -> Result<Self, SourceError> {
        let source = Source::new(tenant, network, metrics.clone())?;
        let last_success = restored.and_then(|tenant| tenant.last_success);
        if let Some(at) = last_success {
            metrics.last_success(at);
        }
        status.set(TenantStatus {
            tenant: tenant.name.clone(),
            source: tenant.source.kind(),
            poll_interval_seconds: tenant.poll_interval.as_secs_f64(),
            restored: last_success.is_some(),
            up: None,
            last_success,
            last_poll: None,
            last_poll_duration_seconds: None,
            last_error: None,
            sessions_counted: restored.map_or(0, |tenant| tenant.totals.counted()),
            sessions_in_progress: restored.and_then(|tenant| tenant.totals.in_progress),
            last_session_end: restored.and_then(|tenant| tenant.totals.last_session_end),
            rows_missing: 0,
            enrollment_lookup: source.enrollment_lookup().map(|_| EnrollmentStatus::default()),
        });
        if source.enrollment_lookup().is_some() {
            metrics.looks_up_enrollment();
        }
        let (name, interval) = (tenant.name.clone(), tenant.poll_interval);
        Ok(Self { name, interval, source, metrics, status, told: Told::default() })
    }

    /// The same, whose readings tell how far they are.
    pub fn told_to(self, progress: Arc<dyn Progress>) -> Self {
        Self { source: self.source.told_to(progress), ..self }
    }

    /// The tenant's configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Polls once, and records how it went in metrics, status and log.
    pub async fn poll(self: &Arc<Self>, writer: &Writer) -> Result<Summary, Failure> {
        let started = Instant::now();
        // So that whatever is logged on the way names the tenant; enabled whenever anything is logged.
        let span = error_span!("poll", tenant = &*self.name);
        let result = async {
            let result = isolation::isolated(cycle::run(self.clone(), writer.clone())).await;
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

/// Polls all tenants until told to stop; then abandons what is under way and returns.
pub async fn run(tenants: Vec<Arc<TenantPoll>>, writer: Writer, status: Arc<Status>, stop: CancellationToken) {
    let lanes = Arc::new(Lanes::default());
    let count = tenants.len();
    let start = Instant::now();
    let mut loops = JoinSet::new();
    for (place, tenant) in tenants.into_iter().enumerate() {
        let schedule = Schedule::new(start, tenant.interval, place, count);
        loops.spawn(poll_for_ever(tenant, schedule, writer.clone(), lanes.clone(), stop.clone()));
    }
    // The loops hold the only writers: the ledger closes when they end.
    drop(writer);
    let mut beat = tokio::time::interval(BEAT);
    while !loops.is_empty() {
        tokio::select! {
            _ = beat.tick() => status.beat(LOOP, PATIENCE),
            ended = loops.join_next() => {
                if !stop.is_cancelled() && let Some(ended) = ended {
                    // No beat follows, so health fails and a restart mends it.
                    error!(result = ?ended, "A poll loop has ended by a defect; restart the exporter");
                    stop.cancelled().await;
                }
            }
        }
    }
}

async fn poll_for_ever(
    tenant: Arc<TenantPoll>,
    mut schedule: Schedule,
    writer: Writer,
    lanes: Arc<Lanes>,
    stop: CancellationToken,
) {
    let mut now = Instant::now();
    let mut lane = Lane::default();
    loop {
        let due = schedule.next(now);
        let turn = async {
            tokio::time::sleep_until(due.into()).await;
            let poll = async {
                let started = Instant::now();
                // How it went is on record; the next turn comes whatever the outcome.
                let failed = tenant.poll(&writer).await.is_err();
                Lane::after(failed, started.elapsed())
            };
            lanes.run(lane, poll).await
        };
        tokio::select! {
            () = stop.cancelled() => return,
            next = turn => (now, lane) = (Instant::now(), next),
        }
    }
}
