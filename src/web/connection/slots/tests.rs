//! Who has to go, and who never.

use std::net::Ipv6Addr;
use std::time::Duration;

use super::*;

const ALICE: Client = Client::V4(1);
const BOB: Client = Client::V4(2);
const CAROL: Client = Client::V4(3);

/// Nobody moves by themselves here: what is not ready at once is not ready.
fn now<F: Future>(future: F) -> Option<F::Output> {
    use std::task::{Context, Poll, Waker};
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn take(slots: &Arc<Slots>, client: Client) -> Slot {
    now(slots.take(client)).expect("a slot is free").unwrap().0
}

fn is_claimed(slot: &Slot) -> bool {
    slot.occupant.state.load() == State::Closed
}

/// Which of them are claimed once somebody else wants a slot, and would go.
async fn claimed_for(client: Client, slots: &Arc<Slots>, taken: &mut Vec<(&str, Slot)>) -> Vec<String> {
    let newcomer = tokio::spawn({
        let slots = slots.clone();
        async move { slots.take(client).await.unwrap().0 }
    });
    tokio::task::yield_now().await;
    let mut gone = Vec::new();
    taken.retain(|(name, slot)| {
        let claimed = is_claimed(slot);
        gone.extend(claimed.then(|| (*name).to_owned()));
        !claimed
    });
    assert!(!gone.is_empty(), "nobody makes room");
    taken.push(("new", tokio::time::timeout(Duration::from_secs(10), newcomer).await.unwrap().unwrap()));
    gone
}

#[tokio::test]
async fn who_has_waited_longest_makes_room() {
    let slots = Slots::new(3);
    let mut taken = vec![("a", take(&slots, ALICE)), ("b", take(&slots, ALICE)), ("c", take(&slots, ALICE))];
    // An answer begins the wait anew.
    drop(taken[0].1.occupant().begin().unwrap());
    assert_eq!(claimed_for(ALICE, &slots, &mut taken).await, ["b"]);
    assert_eq!(claimed_for(ALICE, &slots, &mut taken).await, ["c"]);
    assert_eq!(claimed_for(ALICE, &slots, &mut taken).await, ["a"]);
    assert_eq!(claimed_for(ALICE, &slots, &mut taken).await, ["new"]);
}

#[tokio::test]
async fn the_client_with_the_most_connections_makes_room() {
    let slots = Slots::new(4);
    let mut taken = vec![("bob", take(&slots, BOB)), ("carol", take(&slots, CAROL))];
    taken.extend(["a", "b"].map(|name| (name, take(&slots, ALICE))));
    // A flood from one address displaces only itself.
    for gone in ["a", "b"] {
        assert_eq!(claimed_for(ALICE, &slots, &mut taken).await, [gone]);
    }
    for _ in 0..100 {
        assert_eq!(claimed_for(ALICE, &slots, &mut taken).await, ["new"]);
    }
    // Of those who have as many, the one that waits longest.
    assert_eq!(claimed_for(Client::Local, &slots, &mut taken).await, ["new"]);
    assert_eq!(claimed_for(Client::V6(1), &slots, &mut taken).await, ["bob"]);
}

#[tokio::test]
async fn an_answer_under_way_is_never_closed_and_the_first_to_end_makes_room() {
    let slots = Slots::new(2);
    let slow = take(&slots, ALICE);
    let other = take(&slots, BOB);
    let (first, second) = (slow.occupant().begin().unwrap(), slow.occupant().begin().unwrap());
    let others = other.occupant().begin().unwrap();
    let newcomers = [CAROL, CAROL].map(|client| {
        let slots = slots.clone();
        tokio::spawn(async move { slots.take(client).await.unwrap().0 })
    });
    tokio::task::yield_now().await;
    assert!(!is_claimed(&slow) && !is_claimed(&other));
    drop(first);
    assert!(!is_claimed(&slow), "one of two answers is still under way");
    drop(second);
    assert!(is_claimed(&slow) && !is_claimed(&other));
    assert!(slow.occupant().begin().is_none(), "it closes");
    drop(others);
    assert!(is_claimed(&other));
    drop((slow, other));
    for newcomer in newcomers {
        tokio::time::timeout(Duration::from_secs(10), newcomer).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_newcomer_that_gave_up_claims_nothing() {
    let slots = Slots::new(1);
    let slot = take(&slots, ALICE);
    let answer = slot.occupant().begin().unwrap();
    assert!(now(slots.take(BOB)).is_none());
    drop(answer);
    assert!(!is_claimed(&slot));
}

#[tokio::test]
async fn answers_to_one_client_take_half_of_the_slots_at_most() {
    let slots = Slots::new(5);
    let [a, b, c, d] = [(); 4].map(|()| take(&slots, ALICE));
    let held = [a.occupant().begin().unwrap(), b.occupant().begin().unwrap()];
    assert!(c.occupant().begin().is_none());
    assert!(a.occupant().begin().is_some(), "it is the connections that count");
    let bob = take(&slots, BOB);
    assert!(bob.occupant().begin().is_some());
    drop(held);
    assert!(c.occupant().begin().is_some());
    // Those that end in the middle of an answer count no longer.
    let _left = [a, b].map(|slot| slot.occupant().begin().unwrap());
    assert!(d.occupant().begin().is_some(), "the two are gone");
}

#[tokio::test]
async fn nothing_is_left_of_those_that_have_gone() {
    let slots = Slots::new(2);
    for turn in 0..10 {
        let slot = take(&slots, Client::V6(turn));
        let answer = slot.occupant().begin();
        slots.claim_one();
        if turn % 2 == 0 {
            drop(answer);
            drop(slot);
        } else {
            drop(slot);
            drop(answer);
        }
    }
    let slot = take(&slots, ALICE);
    slots.claim_one();
    assert!(is_claimed(&slot));
    drop(slot);
    let table = slots.table();
    assert!(table.connections.is_empty() && table.clients.is_empty());
    assert_eq!((table.claimed, slots.newcomers.load(SeqCst)), (0, 0));
}

#[test]
fn addresses_of_one_machine_are_one_client() {
    let client = |address: &str| Client::from(Some(address.parse().unwrap()));
    assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
    assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    assert_eq!(client("2001:db8:0:1::1"), client("2001:db8:0:1:ffff::"));
    assert_ne!(client("2001:db8:0:1::1"), client("2001:db8:0:2::1"));
    assert_ne!(Client::from(Some(Ipv6Addr::UNSPECIFIED.into())), Client::from(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn answers_and_claims_that_meet_leave_nothing_behind() {
    const CONNECTIONS: usize = 16;
    let slots = Slots::new(3);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CONNECTIONS {
        let slots = slots.clone();
        clients.spawn(async move {
            for turn in 0..200 {
                let (slot, _must_close) = slots.take(Client::V6((number % 3) as u64)).await.unwrap();
                for _ in 0..turn % 4 {
                    let Some(answer) = slot.occupant().begin() else { break };
                    tokio::task::yield_now().await;
                    assert!(!is_claimed(&slot), "an answer is under way");
                    drop(answer);
                }
                // Idle, until it makes room or nobody waits for it.
                while turn % 2 == 0 && !is_claimed(&slot) && slots.newcomers.load(SeqCst) > 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    // All of them come to their end: no newcomer was forgotten.
    tokio::time::timeout(Duration::from_secs(60), clients.join_all()).await.unwrap();
    let table = slots.table();
    assert!(table.connections.is_empty() && table.clients.is_empty());
    assert_eq!((table.claimed, slots.newcomers.load(SeqCst)), (0, 0));
    assert_eq!(slots.permits.available_permits(), 3);
}

#[test]
fn states_are_words() {
    for state in [State::Waiting(0), State::Waiting(1), State::Answering(1), State::Answering(32), State::Closed] {
        assert_eq!(State::of(state.word()), state);
    }
}
