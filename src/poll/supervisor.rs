//! The loops: one for each tenant, started and stopped while the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::schedule::{Schedule, place_of_added};
use super::{Lane, Lanes, TenantPoll};
use crate::ledger::writer::Writer;
use crate::status::Status;

/// How often the supervisor says that the loops are alive.
const BEAT: Duration = Duration::from_secs(5);
/// After how long without a word they are taken for dead.
const PATIENCE: Duration = Duration::from_secs(60);
/// Their name where health names them.
const LOOP: &str = "poll";
/// How long a poll may take to end when it is abandoned. What it is in the middle of, such as decoding
/// one page, takes far less.
const ENDING: Duration = Duration::from_secs(10);
/// The first polls of tenants that are added or changed follow each other this closely at most: a change
/// to a thousand tenants is not a burst of a thousand requests, and a few are polled at once.
const SPACING: Duration = Duration::from_millis(250);

/// Runs the tenants' loops. It and they hold the only writers, so the ledger closes when all have ended.
pub struct Supervisor {
    writer: Writer,
    lanes: Arc<Lanes>,
    start: Instant,
    stop: CancellationToken,
    /// Cancelled when a loop has ended, or a poll does not end, by a defect.
    broken: CancellationToken,
    loops: BTreeMap<Arc<str>, Loop>,
    /// Each tenant's place in its interval, also while it is being replaced.
    places: BTreeMap<Arc<str>, f64>,
    /// Loops that were told to stop and have not ended in time.
    overdue: BTreeMap<Arc<str>, JoinHandle<()>>,
    /// How many tenants were added since the start.
    added: u32,
}

struct Loop {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Polls all tenants until told to stop; then abandons what is under way.
    pub fn start(tenants: Vec<TenantPoll>, writer: Writer, stop: CancellationToken) -> Self {
        let start = Instant::now();
        let mut supervisor = Self {
            writer,
            lanes: Arc::default(),
            start,
            stop,
            broken: CancellationToken::new(),
            loops: BTreeMap::new(),
            places: BTreeMap::new(),
            overdue: BTreeMap::new(),
            added: 0,
        };
        let count = tenants.len().max(1) as f64;
        for (number, tenant) in tenants.into_iter().enumerate() {
            supervisor.places.insert(tenant.name.clone(), number as f64 / count);
            supervisor.spawn(tenant, start);
        }
        supervisor
    }

    /// Says that the loops are alive, as long as they all are, until the stop.
    pub fn watch(&self, status: Arc<Status>) -> impl Future<Output = ()> + use<> {
        let (stop, broken) = (self.stop.clone(), self.broken.clone());
        async move {
            let mut beat = tokio::time::interval(BEAT);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = broken.cancelled() => {
                        // No beat follows, so health fails and a restart mends it.
                        error!("A poll loop has ended by a defect, or does not end; restart the exporter");
                        return stop.cancelled().await;
                    }
                    _ = beat.tick() => status.beat(LOOP, PATIENCE),
                }
            }
        }
    }

    /// Ends these tenants' loops. What a poll under way has not committed is dropped; the service still
    /// has it. When this returns, nothing of them is under way, unless a poll did not end in time: then
    /// the tenant's next loop waits for it, and health fails until the exporter is restarted.
    pub async fn end(&mut self, tenants: &BTreeSet<Arc<str>>) {
        let ending: Vec<_> = tenants.iter().filter_map(|name| Some((name.clone(), self.loops.remove(name)?))).collect();
        ending.iter().for_each(|(_, ended)| ended.stop.cancel());
        let deadline = tokio::time::Instant::now() + ENDING;
        for (name, Loop { mut task, .. }) in ending {
            if timeout_at(deadline, &mut task).await.is_err() {
                error!(tenant = &*name, "A poll that was abandoned does not end");
                self.broken.cancel();
                self.overdue.insert(name, task);
            }
        }
    }

    /// Begins the loops of tenants that have none. Those that were polled before keep their places.
    pub fn begin(&mut self, tenants: Vec<TenantPoll>) {
        let now = Instant::now();
        let count = u32::try_from(tenants.len()).unwrap_or(u32::MAX);
        for (tenant, number) in tenants.into_iter().zip(0..) {
            let first = now + SPACING.min(tenant.interval / count) * number;
            self.spawn(tenant, first);
        }
        self.places.retain(|name, _| self.loops.contains_key(name));
    }

    fn spawn(&mut self, tenant: TenantPoll, first: Instant) {
        let (name, stop) = (tenant.name.clone(), self.stop.child_token());
        let place = *self.places.entry(name.clone()).or_insert_with(|| {
            self.added = self.added.wrapping_add(1);
            place_of_added(self.added)
        });
        let schedule = Schedule::new(self.start, first, tenant.interval, place);
        let before = self.overdue.remove(&name);
        let polls = poll_for_ever(Arc::new(tenant), schedule, self.writer.clone(), self.lanes.clone(), stop.clone());
        let broken = self.broken.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // How it ended does not matter.
                let _ = before.await;
            }
            let guard = broken.drop_guard();
            polls.await;
            guard.disarm();
        });
        self.loops.insert(name, Loop { stop, task });
    }

    /// Waits until all loops have ended, once they were told to stop.
    pub async fn ended(self) {
        let Self { writer, loops, .. } = self;
        drop(writer);
        let deadline = tokio::time::Instant::now() + ENDING;
        for Loop { task, .. } in loops.into_values() {
            if timeout_at(deadline, task).await.is_err() {
                error!("A poll that was abandoned does not end");
                return;
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
            sleep_until(due.into()).await;
            let poll = async {
                let started = Instant::now();
                // How it went is on record; the next turn comes whatever the outcome.
                let failed = tenant.poll(&writer).await.is_err();
                Lane::after(failed, started.elapsed())
            };
            lanes.run(lane, tenant.turn(), poll).await
        };
        tokio::select! {
            () = stop.cancelled() => return tenant.isolation.ended().await,
            next = turn => (now, lane) = (Instant::now(), next),
        }
    }
}
