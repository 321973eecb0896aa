//! How many polls are under way at a time, so that neither memory nor sockets grow with the number of
//! tenants, and a service that hangs for some tenants does not hold up the others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Polls that hold reports at a time: each holds up to a batch of them in memory.
const MAX_HOLDING: usize = 8;
/// Polls under way at a time, those included that wait for the service and hold nothing. Each has a
/// connection; this many are well below the usual limit of 1024 open files.
const MAX_UNDER_WAY: usize = 128;

/// The permits that all polls share. Clones share them too.
#[derive(Clone, Debug)]
pub struct Permits {
    under_way: Arc<Semaphore>,
    holding: Arc<Semaphore>,
}

/// Allows one poll. It lends the right to hold reports back while it waits long for the service.
#[derive(Debug)]
pub(super) struct Permit {
    /// `None` where the semaphore is closed, which never happens.
    _under_way: Option<OwnedSemaphorePermit>,
    holding: Option<OwnedSemaphorePermit>,
    all: Arc<Semaphore>,
}

impl Default for Permits {
    fn default() -> Self {
        Self { under_way: Arc::new(Semaphore::new(MAX_UNDER_WAY)), holding: Arc::new(Semaphore::new(MAX_HOLDING)) }
    }
}

impl Permits {
    /// Waits for its turn; first come, first served.
    pub(super) async fn acquire(&self) -> Permit {
        let under_way = self.under_way.clone().acquire_owned().await.ok();
        let mut permit = Permit { _under_way: under_way, holding: None, all: self.holding.clone() };
        permit.take_back().await;
        permit
    }
}

impl Permit {
    /// Lets another poll hold reports. This one must hold none.
    pub(super) fn lend(&mut self) {
        self.holding = None;
    }

    /// Waits until this poll may hold reports again.
    pub(super) async fn take_back(&mut self) {
        if self.holding.is_none() {
            self.holding = self.all.clone().acquire_owned().await.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_poll_that_waits_makes_room_and_takes_its_turn_again() {
        let permits = Permits::default();
        let mut held = Vec::new();
        for _ in 0..MAX_HOLDING {
            held.push(permits.acquire().await);
        }
        assert_eq!(permits.holding.available_permits(), 0);
        held[0].lend();
        let other = permits.acquire().await;
        assert_eq!(permits.holding.available_permits(), 0);
        let mut waiting = held.remove(0);
        let waits = tokio::spawn(async move {
            waiting.take_back().await;
            waiting
        });
        drop(other);
        let back = waits.await.unwrap();
        assert!(back.holding.is_some());
        drop((back, held));
        assert_eq!(permits.holding.available_permits(), MAX_HOLDING);
        assert_eq!(permits.under_way.available_permits(), MAX_UNDER_WAY);
    }
}
