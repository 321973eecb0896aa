//! The task that owns the ledger in the running program.
//!
//! Tenants send batches; what has gathered while one transaction was under way goes into the next
//! one together. Each sender hears what became of its batch only after the commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::error;

use super::{Applied, Batch, CommitError, Ledger, Snapshot};

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

/// Why a batch did not reach the totals.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The writer has ended: the program is stopping, or a defect of ours ended it.
    #[error("the ledger's writer has ended; see the log")]
    Ended,
}

struct Request {
    batch: Batch,
    reply: oneshot::Sender<Result<Applied, CommitError>>,
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
        self.sender.send(Request { batch, reply }).await.map_err(|_| WriteError::Ended)?;
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
        let (batches, replies): (Vec<_>, Vec<_>) = group.drain(..).map(|r| (r.batch, r.reply)).unzip();
        let started = Instant::now();
        let work = tokio::task::spawn_blocking(move || {
            let result = ledger.commit(&batches);
            (ledger, result)
        });
        let result = match work.await {
            Ok((returned, result)) => {
                ledger = returned;
                result
            }
            Err(defect) => {
                // The ledger is gone with its lock. Health fails, and a restart reads the file.
                error!(error = %defect, "The ledger's writer has ended by a defect; restart the exporter");
                return;
            }
        };
        observer.commit(started.elapsed(), result.is_ok());
        published.store(ledger.snapshot());
        answer(result, replies);
    }
}

fn answer(result: Result<Vec<Applied>, CommitError>, replies: Vec<oneshot::Sender<Result<Applied, CommitError>>>) {
    // A receiver that is gone belongs to a poll that was abandoned; its batch counts all the same.
    match result {
        Ok(applied) => replies.into_iter().zip(applied).for_each(|(reply, applied)| drop(reply.send(Ok(applied)))),
        Err(error) => replies.into_iter().for_each(|reply| drop(reply.send(Err(error.clone())))),
    }
}
