//! One poll apart from everything else: a defect in it fails it and no more, and it does not go on
//! for ever.

use std::time::Duration;

use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::Instrument as _;

use super::{Failure, Summary};
use crate::status::FailureReason;

/// A poll that takes longer is abandoned. What its own limits see ends before: a service that hangs ends
/// a poll within minutes, and export jobs that are never finished end it after three times
/// `source.job_timeout`, 3 hours at most. This holds what always goes on without coming to an end; the
/// largest readings that the source allows, of 20,000 pages, take over an hour.
const DEADLINE: Duration = Duration::from_secs(4 * 3600);

/// The polls of one tenant, each in a task of its own.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    tasks: TaskTracker,
}

impl Isolation {
    /// Runs a poll. It is aborted when the returned future is dropped: it does then no more than what it
    /// is in the middle of.
    pub async fn run(
        &self,
        poll: impl Future<Output = Result<Summary, Failure>> + Send + 'static,
    ) -> Result<Summary, Failure> {
        isolated(AbortOnDropHandle::new(self.tasks.spawn(poll.in_current_span()))).await
    }

    /// Waits until no poll is under way any more, not even one that was aborted.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn isolated(mut task: AbortOnDropHandle<Result<Summary, Failure>>) -> Result<Summary, Failure> {
    let result = tokio::time::timeout(DEADLINE, &mut task).await;
    if result.is_err() {
        // The tenant's next poll begins when this one is really over. How it ends does not matter.
        task.abort();
        let _ = task.await;
    }
    match result {
        Ok(Ok(result)) => result,
        // What a panic says can quote anybody's data; standard error has it.
        Ok(Err(_)) => Err(Failure {
            reason: FailureReason::Internal,
            message: "a defect of the exporter ended the poll; please report it with what standard error says".into(),
        }),
        Err(_) => Err(Failure {
            reason: FailureReason::Timeout,
            message: format!(
                "the poll took over {} hours and was abandoned; if the service is well and the source has a \
                 page_size, a larger one asks for fewer pages",
                DEADLINE.as_secs() / 3600
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;

    /// A poll that never ends, and what hears of its being dropped.
    fn endless() -> (impl Future<Output = Result<Summary, Failure>> + Send, oneshot::Receiver<()>) {
        let (alive, dropped) = oneshot::channel::<()>();
        let poll = async move {
            let _alive = alive;
            pending().await
        };
        (poll, dropped)
    }

    #[tokio::test]
    async fn what_a_poll_returns_is_passed_on() {
        let summary = Summary { counted: 7, ..Summary::default() };
        assert_eq!(Isolation::default().run(async { Ok(summary) }).await.unwrap().counted, 7);
    }

    #[tokio::test]
    async fn a_panic_fails_the_poll_and_is_not_quoted() {
        let failure =
            Isolation::default().run(async { panic!("helper@contoso.example\nis at fault") }).await.unwrap_err();
        assert_eq!(failure.reason, FailureReason::Internal);
        assert!(failure.message.starts_with("a defect of the exporter") && !failure.message.contains('@'), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_without_an_end_is_abandoned() {
        let (poll, dropped) = endless();
        let start = Instant::now();
        let failure = Isolation::default().run(poll).await.unwrap_err();
        assert_eq!((failure.reason, start.elapsed().as_secs()), (FailureReason::Timeout, DEADLINE.as_secs()));
        assert!(failure.message.starts_with("the poll took over 4 hours"), "{failure}");
        assert!(dropped.await.is_err(), "it is gone");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_poll_has_not_ended_before_what_it_is_in_the_middle_of() {
        let isolation = Isolation::default();
        let (begin, begun) = oneshot::channel();
        let (finish, until) = std::sync::mpsc::channel();
        let poll = async move {
            let _ = begin.send(());
            until.recv_timeout(Duration::from_secs(60)).unwrap();
            pending().await
        };
        tokio::select! {
            ended = isolation.run(poll) => panic!("{ended:?}"),
            begun = begun => begun.unwrap(),
        }
        tokio::select! {
            biased;
            () = isolation.ended() => panic!("it is under way"),
            () = tokio::task::yield_now() => {}
        }
        finish.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(60), isolation.ended()).await.unwrap();
    }

    #[tokio::test]
    async fn a_poll_ends_with_whoever_waits_for_it() {
        let (poll, dropped) = endless();
        let isolation = Isolation::default();
        tokio::select! {
            biased;
            ended = isolation.run(poll) => panic!("{ended:?}"),
            () = tokio::task::yield_now() => {}
        }
        tokio::time::timeout(Duration::from_secs(30), dropped).await.expect("it is dropped").unwrap_err();
    }
}
