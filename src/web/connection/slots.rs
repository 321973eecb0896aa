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

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
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
    /// Every connection must close.
    cut: CancellationToken,
    table: Mutex<Table>,
}

/// A connection's slot, free again when this is dropped: last of all that the connection has.
#[derive(Debug)]
pub(super) struct Slot {
    occupant: Arc<Occupant>,
    must_close: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

/// The connection in a slot, as those know it who serve its requests.
#[derive(Debug)]
pub(in crate::web) struct Occupant {
    slots: Arc<Slots>,
    id: u64,
    client: Client,
}

/// An answer under way: from a complete request until nothing of the answer is left to be sent.
#[derive(Debug)]
pub(in crate::web) struct Answering(Arc<Occupant>);

impl Slots {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(capacity));
        Arc::new(Self { capacity, permits, cut: CancellationToken::new(), table: Mutex::default() })
    }

    /// A slot for a connection of this client. Where none is left, one is claimed and this waits until
    /// it is free, so that there are never more connections than slots. Where every connection has an
    /// answer under way, the first whose answer is sent makes room.
    pub(super) async fn take(self: &Arc<Self>, client: Client) -> Result<Slot, AcquireError> {
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _newcomer = Newcomer::announce(self);
                self.permits.clone().acquire_owned().await?
            }
        };
        let must_close = self.cut.child_token();
        let id = self.table().enter(client, must_close.clone());
        let occupant = Arc::new(Occupant { slots: self.clone(), id, client });
        Ok(Slot { occupant, must_close, _permit: permit })
    }

    /// Has every connection closed, also those with an answer under way.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Has a connection closed, as where the system has no descriptor left for another.
    pub(super) fn claim_one(&self) {
        self.table().claim();
    }

    /// How many connections of one client may have an answer under way.
    fn share(&self) -> usize {
        (self.capacity / 2).max(1)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub(super) fn occupant(&self) -> Arc<Occupant> {
        self.occupant.clone()
    }

    /// Waits until the connection must close: the slot is claimed for another one, or all are cut.
    pub(super) async fn must_close(&self) {
        self.must_close.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.occupant.slots.table().leave(self.occupant.id);
    }
}

impl Occupant {
    /// A complete request has come: until its answer is sent, the slot cannot be claimed. `None` where it
    /// has just been, and where half of all slots are taken by this client's connections that have answers
    /// under way: more of them would keep out everybody else for as long as it pleases not to read them.
    pub(in crate::web) fn begin(self: &Arc<Self>) -> Option<Answering> {
        self.slots.table().begin(self.id, self.slots.share()).then(|| Answering(self.clone()))
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
        self.0.slots.table().end(self.0.id);
    }
}

/// A connection that waits for a slot.
struct Newcomer<'a>(&'a Slots);

impl<'a> Newcomer<'a> {
    fn announce(slots: &'a Slots) -> Self {
        let mut table = slots.table();
        table.newcomers += 1;
        table.make_room();
        Self(slots)
    }
}

impl Drop for Newcomer<'_> {
    fn drop(&mut self) {
        self.0.table().newcomers -= 1;
    }
}

/// The connections, and who waits for their slots.
#[derive(Debug, Default)]
struct Table {
    connections: BTreeMap<u64, Connection>,
    clients: BTreeMap<Client, Held>,
    /// How often a connection began to wait: orders them without a clock.
    turn: u64,
    /// How many connections wait for a slot.
    newcomers: usize,
    /// How many slots are claimed and not yet free.
    claimed: usize,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    state: State,
    must_close: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Without a complete request, since that turn: new, in a handshake, idle, or with a part of a request.
    Waiting(u64),
    /// With so many answers under way.
    Answering(usize),
    /// Closing to make room.
    Claimed,
}

/// What a client holds.
#[derive(Debug, Default)]
struct Held {
    connections: usize,
    answering: usize,
}

impl Table {
    fn enter(&mut self, client: Client, must_close: CancellationToken) -> u64 {
        let id = self.next_turn();
        self.clients.entry(client).or_default().connections += 1;
        self.connections.insert(id, Connection { client, state: State::Waiting(id), must_close });
        id
    }

    fn leave(&mut self, id: u64) {
        let Some(Connection { client, state, .. }) = self.connections.remove(&id) else { return };
        if let Some(held) = self.clients.get_mut(&client) {
            held.connections -= 1;
            held.answering -= usize::from(matches!(state, State::Answering(_)));
            if held.connections == 0 {
                self.clients.remove(&client);
            }
        }
        self.claimed -= usize::from(state == State::Claimed);
    }

    /// Whether another answer of this connection may begin.
    fn begin(&mut self, id: u64, share: usize) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let Some(held) = self.clients.get_mut(&connection.client) else { return false };
        match connection.state {
            State::Waiting(_) if held.answering < share => {
                held.answering += 1;
                connection.state = State::Answering(1);
            }
            State::Answering(answers) => connection.state = State::Answering(answers + 1),
            State::Waiting(_) | State::Claimed => return false,
        }
        true
    }

    /// An answer has ended; its connection may have done so before.
    fn end(&mut self, id: u64) {
        let turn = self.next_turn();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let State::Answering(answers) = connection.state else { return };
        if answers > 1 {
            connection.state = State::Answering(answers - 1);
            return;
        }
        connection.state = State::Waiting(turn);
        if let Some(held) = self.clients.get_mut(&connection.client) {
            held.answering -= 1;
        }
        self.make_room();
    }

    /// Claims slots for those who wait, as far as there are connections that can be closed.
    fn make_room(&mut self) {
        while self.claimed < self.newcomers && self.claim() {}
    }

    /// Claims the slot of the connection that comes first; false where none can be closed. Looks at all
    /// of them: that takes microseconds, and costs a client a connection.
    fn claim(&mut self) -> bool {
        let first = self.connections.values_mut().filter_map(|connection| {
            let State::Waiting(since) = connection.state else { return None };
            let held = self.clients.get(&connection.client).map_or(0, |held| held.connections);
            Some(((held, Reverse(since)), connection))
        });
        let Some((_, connection)) = first.max_by_key(|(order, _)| *order) else { return false };
        connection.state = State::Claimed;
        connection.must_close.cancel();
        self.claimed += 1;
        true
    }

    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }
}

#[cfg(test)]
mod tests;
