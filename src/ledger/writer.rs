//! The task that owns the ledger in the running program.
//!
//! Tenants send batches; what has gathered while one transaction was under way goes into the next
//! one together. Each sender hears what became of its batch only after the commit. Another configuration
//! is taken over between two transactions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::error;

use super::{Applied, Batch, CommitError, Ledger, ReconfigureError, Settings, Snapshot};

/// Batches of different tenants in one transaction: bounds its memory and how long it takes.
const MAX_GROUP: usize = 16;
/// Batches that wait. More senders wait at their own end.
const QUEUE: usize = 16;
/// How often an idle writer says that it is alive.
const BEAT: Duration = Duration::from_secs(5);

/// Told what the writer does, so that this room needs no metrics.
pub trait Observer: Send + Sync + 'static {
    /// A transaction ended: how long it took, and whether it is durable.
    fn commit(&self, duration: Duration, durable: bool);
    /// The writer is alive.
    fn alive(&self);
}

/// Sends batches to the ledger. Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    sender: mpsc::Sender<Request>,
}

/// What the scrapes read. Replaced whole after each commit; reading it waits for nothing.
pub type Published = ArcSwap<Snapshot>;

/// Why a batch did not reach the totals, or settings were not taken over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The settings are refused.
    #[error(transparent)]
    Reconfigure(#[from] ReconfigureError),
    /// A reload took the tenant away while its poll was under way.
    #[error("the tenant is no longer configured; nothing of this batch was counted")]
    NotConfigured,
    /// The writer has ended: the program is stopping, or a defect of ours ended it.
    #[error("the ledger's writer has ended; see the log")]
    Ended,
}

enum Request {
    Commit(Waiting),
    Reconfigure {
        settings: Settings,
        now: DateTime<Utc>,
        reply: oneshot::Sender<Result<Arc<Snapshot>, ReconfigureError>>,
    },
}

/// A batch whose sender waits for what becomes of it.
struct Waiting {
    batch: Batch,
    reply: oneshot::Sender<Result<Applied, WriteError>>,
}

impl Writer {
    /// Starts the task. It ends, and closes the ledger, when the last `Writer` is dropped.
    pub fn start(ledger: Ledger, observer: Arc<dyn Observer>) -> (Self, Arc<Published>, JoinHandle<()>) {
        let published = Arc::new(Published::new(ledger.snapshot()));
        let (sender, receiver) = mpsc::channel(QUEUE);
        let task = tokio::spawn(run(ledger, receiver, published.clone(), observer));
        (Self { sender }, published, task)
    }

    /// Counts a batch. When this returns `Ok`, it is durable and published.
    pub async fn commit(&self, batch: Batch) -> Result<Applied, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Request::Commit(Waiting { batch, reply })).await.map_err(|_| WriteError::Ended)?;
        answer.await.map_err(|_| WriteError::Ended)?
    }

    /// Takes over other settings, as [`Ledger::reconfigure`]. When this returns `Ok`, they are in force,
    /// and the snapshot that shows it is published.
    pub async fn reconfigure(&self, settings: Settings, now: DateTime<Utc>) -> Result<Arc<Snapshot>, WriteError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Reconfigure { settings, now, reply };
        self.sender.send(request).await.map_err(|_| WriteError::Ended)?;
        Ok(answer.await.map_err(|_| WriteError::Ended)??)
    }
}

async fn run(
    mut ledger: Ledger,
    mut requests: mpsc::Receiver<Request>,
    published: Arc<Published>,
    observer: Arc<dyn Observer>,
) {
    let mut group = Vec::with_capacity(MAX_GROUP);
    loop {
        observer.alive();
        match tokio::time::timeout(BEAT, requests.recv_many(&mut group, MAX_GROUP)).await {
            Err(_) => continue,
            Ok(0) => return,
            Ok(_) => {}
        }
        let requests = std::mem::take(&mut group);
        let (published, observer) = (published.clone(), observer.clone());
        let work = tokio::task::spawn_blocking(move || {
            in_order(&mut ledger, requests, &published, &*observer);
            ledger
        });
        match work.await {
            Ok(returned) => ledger = returned,
            Err(defect) => {
                // The ledger is gone with its lock. Health fails, and a restart reads the file.
                error!(error = %defect, "The ledger's writer has ended by a defect; restart the exporter");
                return;
            }
        }
    }
}

/// Serves requests in the order of their arrival: batches that follow each other in one transaction.
fn in_order(ledger: &mut Ledger, requests: Vec<Request>, published: &Published, observer: &dyn Observer) {
    let mut batches = Vec::new();
    for request in requests {
        match request {
            Request::Commit(waiting) => batches.push(waiting),
            Request::Reconfigure { settings, now, reply } => {
                commit(ledger, std::mem::take(&mut batches), published, observer);
                let result = ledger.reconfigure(settings, now);
                published.store(ledger.snapshot());
                // Who asked may be gone, as at a stop.
                let _ = reply.send(result.map(|()| ledger.snapshot()));
            }
        }
    }
    commit(ledger, batches, published, observer);
}

/// Commits in one transaction. A sender that is gone belongs to a poll that was abandoned; its batch
/// counts all the same.
fn commit(ledger: &mut Ledger, waiting: Vec<Waiting>, published: &Published, observer: &dyn Observer) {
    let (waiting, strangers): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|waiting| ledger.has(&waiting.batch.tenant));
    strangers.into_iter().for_each(|stranger| drop(stranger.reply.send(Err(WriteError::NotConfigured))));
    if waiting.is_empty() {
        return;
    }
    let (batches, replies): (Vec<_>, Vec<_>) = waiting.into_iter().map(|w| (w.batch, w.reply)).unzip();
    let started = Instant::now();
    let result = ledger.commit(&batches);
    observer.commit(started.elapsed(), result.is_ok());
    published.store(ledger.snapshot());
    match result {
        Ok(applied) => replies.into_iter().zip(applied).for_each(|(reply, applied)| drop(reply.send(Ok(applied)))),
        Err(error) => replies.into_iter().for_each(|reply| drop(reply.send(Err(error.clone().into())))),
    }
}
