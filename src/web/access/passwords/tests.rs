//! Who waits for a check, and what is left of one that nobody waits for.

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;

use crate::config::WebConfig;

use super::*;

const ALICE: Client = Client::V4(1);

fn users(password: &str) -> Users {
    let hash = bcrypt::hash(password, 4).unwrap();
    let config = WebConfig::from_yaml(&format!("basic_auth_users: {{a: {hash}}}"), Path::new("web.yml")).unwrap();
    Users::new(&config.users, &Users::default())
}

fn headers(password: &str) -> HeaderMap {
    let value = format!("Basic {}", STANDARD.encode(format!("a:{password}")));
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
}

/// Whether it waits for something once it has begun.
async fn begins(mut check: Pin<&mut impl Future>) -> bool {
    poll_fn(|context| Poll::Ready(check.as_mut().poll(context).is_pending())).await
}

#[tokio::test]
async fn what_is_found_for_a_client_that_gave_up_is_remembered() {
    let (users, passwords) = (users("right"), Passwords::default());
    for (password, expected) in [("right", true), ("wrong", false)] {
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
