//! Who waits for a check, and what is left of one that nobody waits for.

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::Poll;

use crate::config::WebConfig;

use super::super::{Access, Rules};
use super::*;

const ALICE: Client = Client::V4(1);
/// Of `right`, at the lowest cost.
const HASH: &str = "$2b$04$6D2bObnM5xtY7h4UadfWzuIpwxHOJ.OfZZt.Jl60RcOTLEY3XcF72";

fn users(password: &str) -> Users {
    let hash = bcrypt::hash(password, 4).unwrap();
    let config = WebConfig::from_yaml(&format!("basic_auth_users: {{a: {hash}}}"), Path::new("web.yml")).unwrap();
    Users::new(&config.users, &Users::default())
}

fn headers(password: &str) -> HeaderMap {
    headers_of("a", password)
}

fn headers_of(name: &str, password: &str) -> HeaderMap {
    let value = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
}

/// Whether it waits for something once it has begun.
async fn begins(mut check: Pin<&mut impl Future>) -> bool {
    poll_fn(|context| Poll::Ready(check.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn what_is_found_for_a_client_that_gave_up_is_remembered() {
    let users = users("right");
    for (password, expected) in [("wrong", false), ("right", true)] {
        // Of its own: what is found is known a moment before its slot is free for the next.
        let passwords = Passwords::default();
        let headers = headers(password);
        {
            let mut check = std::pin::pin!(passwords.check(&users, ALICE, &headers));
            // The check begins, and its client is gone.
            assert!(begins(check.as_mut()).await);
        }
        let credentials = Credentials::of(&headers).unwrap();
        let user = users.by_name.get("a");
        let tag = hmac::sign(&passwords.key, &credentials.message(user));
        let known = async {
            loop {
                if let Some(right) = passwords.known(user, &tag) {
                    return right;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        assert_eq!(timeout(Duration::from_secs(20), known).await, Ok(expected), "{password}");
    }
}

#[tokio::test]
async fn a_client_leaves_seats_to_others() {
    let (users, passwords) = (users("right"), Passwords::default());
    // Nobody's turn comes.
    let all = u32::try_from(passwords.slots.available_permits()).unwrap();
    let turns = passwords.slots.acquire_many(all).await.unwrap();
    let headers = headers("right");
    let mut waiting = Vec::new();
    for _ in 0..SEATS_OF_A_CLIENT {
        let mut check = Box::pin(passwords.check(&users, ALICE, &headers));
        assert!(begins(check.as_mut()).await);
        waiting.push(check);
    }
    assert_eq!(passwords.check(&users, ALICE, &headers).await, Err(Refusal::Busy));
    let mut other = std::pin::pin!(passwords.check(&users, Client::V4(2), &headers));
    assert!(begins(other.as_mut()).await);
    drop((waiting, turns));
    assert_eq!(other.await, Ok(()));
}

/// bcrypt, and how much of it was done: the costs, whose steps double the work.
#[derive(Default)]
struct Counted(Mutex<Vec<u32>>);

impl Work for Counted {
    fn verify(&self, password: &[u8], hash: &PasswordHash) -> bool {
        self.0.lock().unwrap().push(hash.cost());
        Bcrypt.verify(password, hash)
    }

    fn spend(&self, password: &[u8], cost: u32) {
        self.0.lock().unwrap().push(cost);
        Bcrypt.spend(password, cost);
    }
}

#[tokio::test]
async fn whether_a_user_exists_and_which_hash_is_theirs_cannot_be_told_by_the_work() {
    let hash = |cost| bcrypt::hash("right", cost).unwrap();
    let yaml = format!("basic_auth_users: {{cheap: {}, mean: {}, dear: {}}}", hash(4), hash(5), hash(7));
    let config = WebConfig::from_yaml(&yaml, Path::new("web.yml")).unwrap();
    let users = Users::new(&config.users, &Users::default());
    let counted = Arc::new(Counted::default());
    let passwords = Passwords { bcrypt: counted.clone(), ..Passwords::default() };
    for (name, password, right) in [
        ("nobody", "right", false),
        ("", "", false),
        ("cheap", "wrong", false),
        ("mean", "wrong", false),
        ("dear", "wrong", false),
        ("cheap", "right", true),
        ("mean", "right", true),
        ("dear", "right", true),
    ] {
        let answer = passwords.check(&users, ALICE, &headers_of(name, password)).await;
        assert_eq!(answer.is_ok(), right, "{name}: {password}");
        let costs = std::mem::take(&mut *counted.0.lock().unwrap());
        let work: u32 = costs.iter().map(|cost| 1 << cost).sum();
        assert_eq!(work, 1 << 7, "{name}: {password}: {costs:?}");
        // What is known costs nothing, for anybody.
        assert_eq!(passwords.check(&users, ALICE, &headers_of(name, password)).await.is_ok(), right);
        assert_eq!(*counted.0.lock().unwrap(), [0; 0], "{name}: {password}");
    }
}

#[tokio::test]
async fn a_user_who_stays_the_same_is_known_after_a_change() {
    let yaml = |more: &str| format!("basic_auth_users: {{a: {HASH}{more}}}");
    let config = |more: &str| WebConfig::from_yaml(&yaml(more), Path::new("web.yml")).unwrap();
    let access = Access::new(&config("")).unwrap();
    let counted = Arc::new(Counted::default());
    // The first rules have nothing that is known, so their part can be exchanged.
    let first = Passwords { bcrypt: counted.clone(), ..Passwords::default() };
    let rules = Rules { passwords: Arc::new(first), ..Rules::new(&config(""), &access.current()).unwrap() };
    for (password, right) in [("right", true), ("wrong", false)] {
        assert_eq!(rules.authenticate(ALICE, &headers(password)).await.is_ok(), right);
    }
    assert_eq!(std::mem::take(&mut *counted.0.lock().unwrap()), [4, 4]);
    let after = Rules::new(&config(&format!(", b: {HASH}")), &rules).unwrap();
    assert!(Arc::ptr_eq(&rules.passwords, &after.passwords));
    for (password, right) in [("right", true), ("wrong", false)] {
        assert_eq!(after.authenticate(ALICE, &headers(password)).await.is_ok(), right);
    }
    assert_eq!(*counted.0.lock().unwrap(), [0; 0], "nothing is computed again");
}

/// Work that tells when it begins, and ends when it is told to.
struct Held(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>);

impl Work for Held {
    fn verify(&self, _: &[u8], _: &PasswordHash) -> bool {
        self.0.send(()).unwrap();
        self.1.lock().unwrap().recv().unwrap();
        true
    }

    fn spend(&self, _: &[u8], _: u32) {}
}

/// Whoever asks and hangs up at once has one password checked at a time, like everybody.
#[tokio::test]
async fn a_client_that_gives_up_makes_no_room_before_its_check_ends() {
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let passwords = Passwords {
        slots: Arc::new(Semaphore::new(1)),
        bcrypt: Arc::new(Held(begin, Mutex::new(ended))),
        ..Passwords::default()
    };
    let (users, headers) = (users("right"), headers("right"));
    {
        let mut check = std::pin::pin!(passwords.check(&users, ALICE, &headers));
        assert!(begins(check.as_mut()).await);
    }
    begun.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(passwords.slots.available_permits(), 0, "it is still being computed");
    // Nor does the next one begin.
    let mut next = std::pin::pin!(passwords.check(&users, ALICE, &headers));
    assert!(begins(next.as_mut()).await);
    end.send(()).unwrap();
    assert_eq!(timeout(Duration::from_secs(20), next).await, Ok(Ok(())));
    assert_eq!(passwords.slots.available_permits(), 1);
}
