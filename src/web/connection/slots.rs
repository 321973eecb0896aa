//! Slots: how many connections there are at a time, and which one has to go when another comes.
//!
//! A connection without a complete request costs its client nothing, so there can be any number of
//! them; they must not keep out those that ask for something. Where no slot is left, one of them is
//! closed: of the client with the most connections, the one that has waited longest. Thus a client that
//! opens thousands competes with itself alone, and a scraper's idle connection outlives the flood. (No
//! client has a fixed share of the slots: behind a proxy, or the address translation of a Kubernetes
//! node, all clients are one, and may use them all.)
//!
//! A connection with an answer under way is never closed for another. So that such connections of one
//! client cannot fill the slots, they are at most half of them: see [`Occupant::begin`].
//!
//! The table is locked where connections come, go or make room. Answers begin and end without it: there are
//! thousands of them for each connection.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Whose connections count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::web) enum Client {
    /// Everybody who comes by a Unix socket: the kernel tells no address.
    Local,
    /// An IPv4 address, also where it comes mapped into an IPv6 one.
    V4(u32),
    /// The first 64 bits of an IPv6 address: one machine has as many of the others as it likes.
    V6(u64),
}

impl From<Option<IpAddr>> for Client {
    fn from(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Some(IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// All slots.
#[derive(Debug)]
pub(super) struct Slots {
    capacity: usize,
    /// One for each slot.
    permits: Arc<Semaphore>,
    /// How often a connection began to wait: orders them without a clock.
    turns: AtomicU64,
    /// How many connections wait for a slot. Raised before anybody looks for one that can be claimed, and read
    /// after one has come to be such: one of both sees the other.
    newcomers: AtomicUsize,
    table: Mutex<Table>,
}

/// A connection's slot, free again when this is dropped: last of all that the connection has.
#[derive(Debug)]
pub(super) struct Slot {
    occupant: Arc<Occupant>,
    _permit: OwnedSemaphorePermit,
}

/// The connection in a slot, as those know it who serve its requests.
#[derive(Debug)]
pub(in crate::web) struct Occupant {
    slots: Arc<Slots>,
    id: u64,
    client: Client,
    /// How many connections of the client have answers under way: for a moment maybe one too many, never one too
    /// few.
    answering: Arc<AtomicUsize>,
    /// Becomes closed under the table's lock alone. Who ends the last answer takes the connection off those that
    /// have answers.
    state: AtomicState,
}

/// An answer under way: from a complete request until nothing of the answer is left to be sent.
#[derive(Debug)]
pub(in crate::web) struct Answering(Arc<Occupant>);

impl Slots {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity,
            permits: Arc::new(Semaphore::new(capacity)),
            turns: AtomicU64::default(),
            newcomers: AtomicUsize::default(),
            table: Mutex::default(),
        })
    }

    /// A slot for a connection of this client, and what tells it to close: when the slot is claimed for another
    /// one, or all are cut. Where none is left, one is claimed and this waits until it is free, so that there are
    /// never more connections than slots. Where every connection has an answer under way, the first whose answer
    /// is sent makes room.
    pub(super) async fn take(self: &Arc<Self>, client: Client) -> Result<(Slot, CancellationToken), AcquireError> {
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _newcomer = Newcomer::announce(self);
                self.permits.clone().acquire_owned().await?
            }
        };
        let must_close = CancellationToken::new();
        let occupant = self.table().enter(self, client, must_close.clone());
        // Who still waits comes before a connection that has not asked for anything, be it this one.
        self.make_room();
        Ok((Slot { occupant, _permit: permit }, must_close))
    }

    /// Has every connection closed, also those with an answer under way.
    pub(super) fn cut(&self) {
        self.table().connections.values().for_each(|connection| connection.must_close.cancel());
    }

    /// Has a connection closed, as where the system has no descriptor left for another.
    pub(super) fn claim_one(&self) {
        self.table().claim();
    }

    /// Claims slots for those who wait, as far as there are connections that can be closed. Takes no lock where
    /// nobody waits.
    fn make_room(&self) {
        if self.newcomers.load(SeqCst) == 0 {
            return;
        }
        let mut table = self.table();
        while table.claimed < self.newcomers.load(SeqCst) && table.claim() {}
    }

    /// How many connections of one client may have answers under way.
    fn share(&self) -> usize {
        (self.capacity / 2).max(1)
    }

    fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, SeqCst)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub(super) fn occupant(&self) -> Arc<Occupant> {
        self.occupant.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.occupant.slots.table().leave(&self.occupant);
    }
}

impl Occupant {
    /// A complete request has come: until its answer is sent, the slot cannot be claimed. `None` where it
    /// has just been, and where half of all slots are taken by this client's connections that have answers
    /// under way: more of them would keep out everybody else for as long as it pleases not to read them.
    pub(in crate::web) fn begin(self: &Arc<Self>) -> Option<Answering> {
        let mut counted = false;
        let begun = self.state.update(|state| match state {
            State::Waiting(_) => {
                counted = counted || self.count();
                counted.then_some(State::Answering(1))
            }
            State::Answering(answers) => Some(State::Answering(answers + 1)),
            State::Closed => None,
        });
        // For nothing, where another has changed the state meanwhile.
        if counted && !matches!(begun, Ok(State::Waiting(_))) {
            self.discount();
        }
        begun.is_ok().then(|| Answering(self.clone()))
    }

    /// An answer has ended; its connection may have done so before.
    fn end(&self) {
        let ended = self.state.update(|state| match state {
            State::Answering(1) => Some(State::Waiting(self.slots.next_turn())),
            State::Answering(answers) => Some(State::Answering(answers - 1)),
            State::Waiting(_) | State::Closed => None,
        });
        if ended == Ok(State::Answering(1)) {
            self.discount();
            self.slots.make_room();
        }
    }

    /// Whether the client may have one more connection with answers under way, which it has then.
    fn count(&self) -> bool {
        let share = self.slots.share();
        self.answering.fetch_update(SeqCst, SeqCst, |answering| (answering < share).then_some(answering + 1)).is_ok()
    }

    /// The client has one less.
    fn discount(&self) {
        self.answering.fetch_sub(1, SeqCst);
    }
}

impl Answering {
    /// Whose request it is.
    pub(in crate::web) fn client(&self) -> Client {
        self.0.client
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A connection that waits for a slot.
struct Newcomer<'a>(&'a Slots);

impl<'a> Newcomer<'a> {
    fn announce(slots: &'a Slots) -> Self {
        slots.newcomers.fetch_add(1, SeqCst);
        slots.make_room();
        Self(slots)
    }
}

impl Drop for Newcomer<'_> {
    fn drop(&mut self) {
        self.0.newcomers.fetch_sub(1, SeqCst);
    }
}

/// The connections.
#[derive(Debug, Default)]
struct Table {
    connections: BTreeMap<u64, Connection>,
    /// How many connections each client has, and how many of them have answers under way.
    clients: BTreeMap<Client, (usize, Arc<AtomicUsize>)>,
    /// How many slots are claimed and not yet free.
    claimed: usize,
}

#[derive(Debug)]
struct Connection {
    occupant: Arc<Occupant>,
    must_close: CancellationToken,
}

impl Table {
    fn enter(&mut self, slots: &Arc<Slots>, client: Client, must_close: CancellationToken) -> Arc<Occupant> {
        let (connections, answering) = self.clients.entry(client).or_default();
        *connections += 1;
        let id = slots.next_turn();
        let (slots, answering, state) = (slots.clone(), answering.clone(), AtomicState::new(State::Waiting(id)));
        let occupant = Arc::new(Occupant { slots, id, client, answering, state });
        self.connections.insert(id, Connection { occupant: occupant.clone(), must_close });
        occupant
    }

    fn leave(&mut self, occupant: &Occupant) {
        self.connections.remove(&occupant.id);
        match occupant.state.close() {
            State::Waiting(_) => {}
            State::Answering(_) => occupant.discount(),
            State::Closed => self.claimed -= 1,
        }
        if let Entry::Occupied(mut client) = self.clients.entry(occupant.client) {
            client.get_mut().0 -= 1;
            if client.get().0 == 0 {
                client.remove();
            }
        }
    }

    /// Claims the slot of the connection that comes first; false where none can be closed. Looks at all
    /// of them: that takes microseconds, and costs a client a connection.
    fn claim(&mut self) -> bool {
        loop {
            let first = self.connections.values().filter_map(|connection| {
                let State::Waiting(since) = connection.occupant.state.load() else { return None };
                let connections = self.clients.get(&connection.occupant.client).map_or(0, |client| client.0);
                Some(((connections, Reverse(since)), connection))
            });
            let Some(((_, Reverse(since)), connection)) = first.max_by_key(|(order, _)| *order) else { return false };
            // Unless an answer has begun meanwhile.
            let closed = |state| (state == State::Waiting(since)).then_some(State::Closed);
            if connection.occupant.state.update(closed).is_ok() {
                connection.must_close.cancel();
                self.claimed += 1;
                return true;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Without a complete request, since that turn: new, in a handshake, idle, or with a part of a request.
    Waiting(u64),
    /// With so many answers under way.
    Answering(u64),
    /// Closing to make room, or gone.
    Closed,
}

/// A state in one word: a turn and, in the lower bits, the number of answers.
#[derive(Debug)]
struct AtomicState(AtomicU64);

/// A connection of HTTP/2 has 32 answers under way at most, and one of HTTP/1.1 one.
const ANSWER_BITS: u32 = 16;

impl State {
    const CLOSED: u64 = u64::MAX;

    fn word(self) -> u64 {
        match self {
            Self::Waiting(turn) => turn << ANSWER_BITS,
            Self::Answering(answers) => answers,
            Self::Closed => Self::CLOSED,
        }
    }

    fn of(word: u64) -> Self {
        match (word, word & ((1 << ANSWER_BITS) - 1)) {
            (Self::CLOSED, _) => Self::Closed,
            (_, 0) => Self::Waiting(word >> ANSWER_BITS),
            (_, answers) => Self::Answering(answers),
        }
    }
}

impl AtomicState {
    fn new(state: State) -> Self {
        Self(AtomicU64::new(state.word()))
    }

    fn load(&self) -> State {
        State::of(self.0.load(SeqCst))
    }

    /// Closes it; what it was before.
    fn close(&self) -> State {
        State::of(self.0.swap(State::CLOSED, SeqCst))
    }

    /// Changes it unless there is nothing to change it to; what it was before, either way.
    fn update(&self, mut change: impl FnMut(State) -> Option<State>) -> Result<State, State> {
        let updated = self.0.fetch_update(SeqCst, SeqCst, |word| change(State::of(word)).map(State::word));
        updated.map(State::of).map_err(State::of)
    }
}

#[cfg(test)]
mod tests;
