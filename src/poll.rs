//! The background loop: reads each tenant's reports, has the ledger count them, and says how it went.
//!
//! One cycle: fetch and decode pages, hand them to the ledger in batches, hear that each batch is
//! durable. Until a batch is committed, nothing of it has an effect; so a cycle may be abandoned at
//! any point and the next one starts over.
//!
//! Invariants: polls of one tenant never overlap; a tenant that fails or hangs leaves the others
//! alone; a defect in one poll fails that poll and no more.

mod cycle;
mod permits;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use cycle::{Failure, Summary};
pub use permits::Permits;
use schedule::Schedule;

use crate::clock;
use crate::config;
use crate::ledger::TenantSnapshot;
use crate::ledger::writer::Writer;
use crate::metrics::TenantMetrics;
use crate::source::{Source, SourceError};
use crate::status::{FailureReason, PollError, Status, TenantStatus};

/// A poll that takes longer is abandoned, so that its failure shows. A million rows in pages of 50 take
/// above an hour; one page has a limit of its own in `cycle`.
const POLL_DEADLINE: Duration = Duration::from_secs(4 * 3600);
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
    /// Rejected rows in the last poll, so that the same broken row is logged once and not at every
    /// poll for 30 days.
    rejected: AtomicU64,
    /// Missing rows in the last poll, for the same reason.
    missing: AtomicU64,
    /// Whether the service's clock and the machine's disagreed when last compared, likewise.
    clocks_disagree: AtomicBool,
}

impl TenantPoll {
    /// Prepares a tenant and enters it in the status table with what the ledger restored.
    ///
    /// # Errors
    /// If the source cannot be built, for instance because its CA file is unreadable.
    pub fn new(
        tenant: &config::Tenant,
        restored: Option<&TenantSnapshot>,
        metrics: Arc<TenantMetrics>,
        status: Arc<Status>,
    ) -> Result<Self, SourceError> {
        let source = Source::new(tenant, metrics.clone())?;
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
        });
        let (name, interval) = (tenant.name.clone(), tenant.poll_interval);
        Ok(Self {
            name,
            interval,
            source,
            metrics,
            status,
            rejected: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            clocks_disagree: AtomicBool::new(false),
        })
    }

    /// The tenant's configured name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Polls once, as soon as there is a permit, and records how it went in metrics, status and log.
    /// Dropping the future abandons the poll.
    pub async fn poll(self: &Arc<Self>, writer: &Writer, permits: &Permits) -> Result<Summary, Failure> {
        let permit = permits.acquire().await;
        let started = Instant::now();
        // In a task of its own, so that a panic is this poll's failure and no more.
        let mut cycle = AbortOnDrop(tokio::spawn(cycle::run(self.clone(), writer.clone(), permit)));
        let result = match tokio::time::timeout(POLL_DEADLINE, &mut cycle.0).await {
            Ok(Ok(result)) => result,
            // What a panic says may quote what was read. It stands in the log alone.
            Ok(Err(_)) => Err(Failure {
                reason: FailureReason::Internal,
                message: "a defect of the exporter ended the poll; please report it with the log".to_owned(),
            }),
            Err(_) => {
                cycle.0.abort();
                // The next poll must not begin before this one has ended.
                let _ = (&mut cycle.0).await;
                Err(Failure {
                    reason: FailureReason::Timeout,
                    message: format!(
                        "the poll took over {} h and was abandoned; a larger source.page_size asks for fewer pages",
                        POLL_DEADLINE.as_secs() / 3600
                    ),
                })
            }
        };
        self.record(&result, started.elapsed());
        result
    }

    fn record(&self, result: &Result<Summary, Failure>, took: Duration) {
        let now = clock::now();
        match result {
            Ok(summary) => {
                self.metrics.poll_succeeded(now, took);
                self.log_success(summary, took);
            }
            Err(failure) => {
                self.metrics.poll_failed(failure.reason, took);
                error!(tenant = &*self.name, reason = failure.reason_label(), error = failure.message, "Poll failed");
            }
        }
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
    }

    fn log_success(&self, summary: &Summary, took: Duration) {
        let tenant = &*self.name;
        info!(tenant, read = summary.read, counted = summary.counted, duration = ?took, "Poll succeeded");
        let before = self.missing.swap(summary.rows_missing, Ordering::Relaxed);
        if summary.rows_missing > 0 && summary.rows_missing != before {
            warn!(
                tenant,
                missing = summary.rows_missing,
                "The service delivered fewer rows than it promised; the next poll reads them again"
            );
        }
        let before = self.rejected.swap(summary.rejected, Ordering::Relaxed);
        if summary.rejected > 0
            && summary.rejected != before
            && let Some(first) = &summary.first_reject
        {
            let id = first.id.as_deref().unwrap_or("unknown");
            warn!(
                tenant,
                rejected = summary.rejected,
                session = id,
                error = %first,
                "Rows could not be read; they count when a later poll brings them repaired"
            );
        }
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
    let permits = Permits::default();
    let count = tenants.len();
    let start = Instant::now();
    let mut loops = JoinSet::new();
    for (place, tenant) in tenants.into_iter().enumerate() {
        let schedule = Schedule::new(start, tenant.interval, place, count);
        loops.spawn(poll_for_ever(tenant, schedule, writer.clone(), permits.clone(), stop.clone()));
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
    permits: Permits,
    stop: CancellationToken,
) {
    let mut now = Instant::now();
    loop {
        let due = schedule.next(now);
        let turn = async {
            tokio::time::sleep_until(due.into()).await;
            // How it went is on record; the next turn comes whatever the outcome.
            let _ = tenant.poll(&writer, &permits).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = turn => now = Instant::now(),
        }
    }
}

/// Ends a task when its waiter is gone, as a dropped future would.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
