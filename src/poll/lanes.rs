//! How many polls go on at a time, so that those which hang leave the others their places.
//!
//! A poll begins in the quick lane. One that goes on for long moves to the slow lane as soon as there
//! is a place, and gives its first place back. A tenant whose last poll hung begins in the slow lane.
//! So a service that does not answer keeps a place from the others for seconds, once; only when more
//! than [`SLOW`] tenants begin to hang together does it take longer, and then not beyond one poll's
//! own patience.
//!
//! A poll that knows that it only waits, as for an export job, [rests](Turn): it gives its place back, and
//! queues for another one before it goes on. However many jobs the service strands, they hold no place.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::source::Rest;

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

/// Whether a poll is at work, as it and [`Lanes`] agree.
#[derive(Debug)]
pub struct Turn(watch::Sender<Phase>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody deals in places: the poll just waits.
    Alone,
    /// The poll has a place.
    Working,
    /// It needs none.
    Resting,
    /// It wants one.
    Queueing,
}

impl Default for Turn {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Alone))
    }
}

#[async_trait]
impl Rest for Turn {
    fn begin(&self) {
        self.ask(Phase::Resting);
    }

    async fn end(&self) {
        self.ask(Phase::Queueing);
        self.reached(|phase| matches!(phase, Phase::Working | Phase::Alone)).await;
    }
}

impl Turn {
    fn ask(&self, wanted: Phase) {
        self.0.send_if_modified(|phase| {
            let heard = *phase != Phase::Alone;
            if heard {
                *phase = wanted;
            }
            heard
        });
    }

    async fn reached(&self, is_there: impl Fn(Phase) -> bool + Send + Sync) {
        // The sender is here, so the channel is open.
        let _ = self.0.subscribe().wait_for(|phase| is_there(*phase)).await;
    }
}

/// The turn of a poll that has a place, until this is dropped.
struct Dealing<'a>(&'a Turn);

impl Dealing<'_> {
    fn grant(&self) {
        self.0.0.send_replace(Phase::Working);
    }
}

impl Drop for Dealing<'_> {
    fn drop(&mut self) {
        self.0.0.send_replace(Phase::Alone);
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Self { quick: Semaphore::new(QUICK), slow: Semaphore::new(SLOW) }
    }
}

impl Lanes {
    /// Waits for a place, then runs a poll to its end. Who waits longest comes first. While the poll rests
    /// by its turn, it has no place.
    pub async fn run<T>(&self, lane: Lane, turn: &Turn, poll: impl Future<Output = T>) -> T {
        // The semaphores are never closed, so each of these is a place.
        let first = match lane {
            Lane::Quick => &self.quick,
            Lane::Slow => &self.slow,
        };
        let mut place = first.acquire().await;
        let dealing = Dealing(turn);
        let mut poll = pin!(poll);
        loop {
            dealing.grant();
            let work = async {
                if lane == Lane::Slow {
                    let _place = place;
                    return poll.as_mut().await;
                }
                if let Ok(done) = timeout(SLOW_AFTER, poll.as_mut()).await {
                    return done;
                }
                tokio::select! {
                    done = poll.as_mut() => done,
                    _slow_place = self.slow.acquire() => {
                        drop(place);
                        poll.as_mut().await
                    }
                }
            };
            // Whatever place the work has is given back with it.
            tokio::select! {
                done = work => return done,
                () = turn.reached(|phase| phase == Phase::Resting) => {}
            }
            let rested = async {
                turn.reached(|phase| phase == Phase::Queueing).await;
                first.acquire().await
            };
            place = tokio::select! {
                // One that is abandoned ends in its rest.
                done = poll.as_mut() => return done,
                place = rested => place,
            };
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
            tokio::spawn(async move { lanes.run(lane, &Turn::default(), poll).await });
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
        assert_eq!(lanes.run(Lane::Quick, &Turn::default(), async { 5 }).await, 5);
        assert_eq!(start.elapsed().as_secs(), 2 * SLOW_AFTER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn polls_that_hung_before_are_not_in_the_way() {
        let lanes = Arc::new(Lanes::default());
        let start = Instant::now();
        let begun = hang(&lanes, Lane::Slow, 1000).await;
        lanes.run(Lane::Quick, &Turn::default(), async {}).await;
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
        assert_eq!(lanes.run(Lane::Quick, &Turn::default(), long).await, QUICK - 1);
        assert_eq!(lanes.quick.available_permits(), QUICK);
    }

    /// Polls that wait for a job, an hour at a time; how many of them work at once at most.
    async fn rest(lanes: &Arc<Lanes>, lane: Lane, polls: usize) -> Arc<AtomicUsize> {
        let (working, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..polls {
            let (lanes, working, most) = (lanes.clone(), working.clone(), most.clone());
            tokio::spawn(async move {
                let turn = Turn::default();
                let poll = async {
                    loop {
                        most.fetch_max(working.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        working.fetch_sub(1, Ordering::Relaxed);
                        turn.begin();
                        tokio::time::sleep(Duration::from_secs(3600)).await;
                        turn.end().await;
                    }
                };
                lanes.run(lane, &turn, poll).await
            });
        }
        most
    }

    #[tokio::test(start_paused = true)]
    async fn polls_that_rest_hold_no_place_and_queue_for_one_before_they_go_on() {
        let lanes = Arc::new(Lanes::default());
        let quick = rest(&lanes, Lane::Quick, 100).await;
        let slow = rest(&lanes, Lane::Slow, 100).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1800)).await;
            assert_eq!((lanes.quick.available_permits(), lanes.slow.available_permits()), (QUICK, SLOW));
            let start = Instant::now();
            lanes.run(Lane::Quick, &Turn::default(), async {}).await;
            assert_eq!(start.elapsed(), Duration::ZERO);
            tokio::time::sleep(Duration::from_secs(1800)).await;
        }
        assert_eq!((quick.load(Ordering::Relaxed), slow.load(Ordering::Relaxed)), (QUICK, SLOW));
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_is_abandoned_in_its_rest_leaves_its_turn_to_the_next() {
        let (lanes, turn) = (Arc::new(Lanes::default()), Turn::default());
        let hour = Duration::from_secs(3600);
        let abandoned = async {
            turn.begin();
            pending::<()>().await;
        };
        assert!(timeout(hour, lanes.run(Lane::Quick, &turn, abandoned)).await.is_err());
        let next = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lanes.quick.available_permits()
        };
        assert_eq!(lanes.run(Lane::Quick, &turn, next).await, QUICK - 1, "it has its place");
        let ends_in_its_rest = async {
            turn.begin();
            tokio::time::sleep(hour).await;
            5
        };
        assert_eq!(lanes.run(Lane::Slow, &turn, ends_in_its_rest).await, 5);
        turn.begin();
        assert!(timeout(hour, turn.end()).await.is_ok(), "without lanes nothing is waited for");
    }
}
