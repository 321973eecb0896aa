//! Places that are few, and of which each client may take a share: so that none of them takes all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Client;

/// The places, and who has taken them.
#[derive(Debug)]
pub(in crate::web) struct Shares {
    capacity: usize,
    /// The most that one client may take.
    share: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only those who have any, which are few.
    by_client: Vec<(Client, usize)>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(in crate::web) struct Place {
    shares: Arc<Shares>,
    client: Client,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Full {
    /// All are taken: so many.
    Taken(usize),
    /// The client has its share: so many.
    Share(usize),
}

impl Shares {
    /// None is taken.
    pub(in crate::web) fn new(capacity: usize, share: usize) -> Arc<Self> {
        Arc::new(Self { capacity, share, taken: Mutex::default() })
    }

    /// Takes a place for a client.
    ///
    /// # Errors
    /// Why there is none.
    pub(in crate::web) fn take(self: &Arc<Self>, client: Client) -> Result<Place, Full> {
        let mut taken = self.taken();
        if taken.all >= self.capacity {
            return Err(Full::Taken(self.capacity));
        }
        match taken.by_client.iter_mut().find(|(known, _)| *known == client) {
            Some((_, of_client)) if *of_client >= self.share => return Err(Full::Share(self.share)),
            Some((_, of_client)) => *of_client += 1,
            None => taken.by_client.push((client, 1)),
        }
        taken.all += 1;
        Ok(Place { shares: self.clone(), client })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= 1;
        if let Some(place) = taken.by_client.iter().position(|(known, _)| *known == self.client) {
            taken.by_client[place].1 -= 1;
            if taken.by_client[place].1 == 0 {
                taken.by_client.swap_remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Client = Client::V4(1);
    const BOB: Client = Client::V4(2);
    const CAROL: Client = Client::V6(1);

    #[test]
    fn nobody_takes_more_than_a_share_and_all_no_more_than_there_is() {
        let shares = Shares::new(3, 2);
        let alice = [(); 2].map(|()| shares.take(ALICE).unwrap());
        assert_eq!(shares.take(ALICE).unwrap_err(), Full::Share(2));
        let bob = shares.take(BOB).unwrap();
        assert_eq!(shares.take(CAROL).unwrap_err(), Full::Taken(3));
        drop(alice);
        let carol = [(); 2].map(|()| shares.take(CAROL).unwrap());
        assert_eq!(shares.take(BOB).unwrap_err(), Full::Taken(3));
        drop((bob, carol));
        assert!(shares.taken().by_client.is_empty() && shares.taken().all == 0);
    }
}
