//! How many polls go on at a time, so that those which hang leave the others their places.
//!
//! A poll begins in the quick lane. One that goes on for long moves to the slow lane as soon as there
//! is a place, and gives its first place back. A tenant whose last poll hung begins in the slow lane.
//! So a service that does not answer keeps a place from the others for seconds, once; only when more
//! than [`SLOW`] tenants begin to hang together does it take longer, and then not beyond one poll's
//! own patience.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Polls in the quick lane: enough to keep network and ledger busy, as most of a poll is waiting.
const QUICK: usize = 8;
/// Polls in the slow lane. One that hangs holds a connection and little else; one that reads a lot
/// holds up to a batch of reports, and the two lanes full of such stay at about 150 MiB.
const SLOW: usize = 24;
/// Most polls are over by then.
const SLOW_AFTER: Duration = Duration::from_secs(10);

/// The places of all polls.
#[derive(Debug)]
pub struct Lanes {
    quick: Semaphore,
    slow: Semaphore,
}

/// Where a tenant's next poll begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// With those that are over soon.
    #[default]
    Quick,
    /// With those that hang.
    Slow,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { quick: Semaphore::new(QUICK), slow: Semaphore::new(SLOW) }
    }
}

impl Lanes {
    /// Waits for a place, then runs a poll to its end. Who waits longest comes first.
    pub async fn run<T>(&self, lane: Lane, poll: impl Future<Output = T>) -> T {
        // The semaphores are never closed, so each of these is a place.
        if lane == Lane::Slow {
            let _place = self.slow.acquire().await;
            return poll.await;
        }
        let place = self.quick.acquire().await;
        let mut poll = pin!(poll);
        if let Ok(done) = timeout(SLOW_AFTER, &mut poll).await {
            return done;
        }
        tokio::select! {
            done = &mut poll => done,
            _slow_place = self.slow.acquire() => {
                drop(place);
                poll.await
            }
        }
    }
}

impl Lane {
    /// Where the poll begins that follows one of this kind. One that failed quickly does no harm, and
    /// one that takes long and succeeds shall not queue with those that hang.
    pub fn after(failed: bool, took: Duration) -> Self {
        if failed && took >= SLOW_AFTER { Self::Slow } else { Self::Quick }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;

    use super::*;

    /// So many polls that never end; how many of them have begun.
    async fn hang(lanes: &Arc<Lanes>, lane: Lane, polls: usize) -> Arc<AtomicUsize> {
        let begun = Arc::new(AtomicUsize::new(0));
        for _ in 0..polls {
            let (lanes, begun) = (lanes.clone(), begun.clone());
            let poll = async move {
                begun.fetch_add(1, Ordering::Relaxed);
                pending::<()>().await;
            };
            tokio::spawn(async move { lanes.run(lane, poll).await });
            // Each in its turn.
            tokio::task::yield_now().await;
        }
        begun
    }

    #[tokio::test(start_paused = true)]
    async fn polls_that_begin_to_hang_are_in_the_way_for_seconds() {
        let lanes = Arc::new(Lanes::default());
        let start = Instant::now();
        hang(&lanes, Lane::Quick, 2 * QUICK + 1).await;
        assert_eq!(lanes.run(Lane::Quick, async { 5 }).await, 5);
        assert_eq!(start.elapsed().as_secs(), 2 * SLOW_AFTER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn polls_that_hung_before_are_not_in_the_way() {
        let lanes = Arc::new(Lanes::default());
        let start = Instant::now();
        let begun = hang(&lanes, Lane::Slow, 1000).await;
        lanes.run(Lane::Quick, async {}).await;
        assert_eq!((start.elapsed(), begun.load(Ordering::Relaxed)), (Duration::ZERO, SLOW));
        assert_eq!(Lane::after(true, SLOW_AFTER), Lane::Slow);
        assert_eq!(Lane::after(true, Duration::from_secs(1)), Lane::Quick);
        assert_eq!(Lane::after(false, Duration::from_secs(1000)), Lane::Quick);
    }

    #[tokio::test(start_paused = true)]
    async fn the_places_are_bounded() {
        let lanes = Arc::new(Lanes::default());
        let begun = hang(&lanes, Lane::Quick, 1000).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(begun.load(Ordering::Relaxed), QUICK + SLOW);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_poll_ends_in_its_first_place_where_the_slow_lane_is_full() {
        let lanes = Arc::new(Lanes::default());
        hang(&lanes, Lane::Slow, SLOW).await;
        let long = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            lanes.quick.available_permits()
        };
        assert_eq!(lanes.run(Lane::Quick, long).await, QUICK - 1);
        assert_eq!(lanes.quick.available_permits(), QUICK);
    }
}
