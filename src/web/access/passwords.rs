//! Basic authentication (RFC 7617) against bcrypt hashes.
//!
//! A hash takes a tenth of a second of a core or more, so it is computed once for each password: what was
//! found is remembered by a keyed hash, of which nothing leads back to the password. Right passwords are
//! remembered with their user, wrong ones in a list of limited length: whoever tries many pushes out no
//! right one. A few hashes are computed at a time, on threads that may block, so that polls and scrapes with
//! known passwords go on meanwhile. Whether a user exists can be told neither by answer nor by time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use ring::hmac::{self, HMAC_SHA256, Key, Tag};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, error};

use super::super::connection::{Client, Shares};
use super::Refusal;
use crate::config::{self, PasswordHash};

/// How many wrong passwords are remembered: those of clients that are configured wrongly.
const WRONG: usize = 1024;
/// How many requests may wait for their password to be checked: on one core, at the usual cost of 10, that is
/// four seconds' work, so that the last of them still has its turn.
const SEATS: usize = 40;
/// How many of them one client may have. A scraper has one; whoever tries passwords leaves seats to others.
const SEATS_OF_A_CLIENT: usize = 8;
/// How long a request waits for its turn: longer than the others take. There are ten seconds for the whole
/// answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The users of one web configuration.
#[derive(Debug, Default)]
pub(super) struct Users {
    by_name: HashMap<Arc<str>, User>,
    /// The highest cost among the hashes: what each check takes, whoever is asked for.
    cost: u32,
}

#[derive(Clone)]
struct User {
    hash: PasswordHash,
    /// Of the password that was found to be right last.
    right: Arc<Mutex<Option<Tag>>>,
}

/// What is known of passwords, and who may compute.
pub(super) struct Passwords {
    /// Made anew with each process.
    key: Key,
    wrong: Arc<Mutex<Wrong>>,
    seats: Arc<Shares>,
    /// One permit for each hash that is being computed.
    slots: Arc<Semaphore>,
    bcrypt: Arc<dyn Work>,
}

/// The expensive part: each step of the cost doubles it.
trait Work: Send + Sync {
    /// Whether the password is the hash's, at the work of the hash's cost.
    fn verify(&self, password: &[u8], hash: &PasswordHash) -> bool;

    /// The work of this cost, for nothing.
    fn spend(&self, password: &[u8], cost: u32);
}

struct Bcrypt;

/// The wrong passwords seen last.
#[derive(Default)]
struct Wrong {
    known: HashSet<[u8; 32]>,
    /// From the oldest to the newest.
    order: VecDeque<[u8; 32]>,
}

/// What a client says.
struct Credentials {
    name: String,
    password: Vec<u8>,
}

impl Users {
    /// Users that are the same as before keep the password that was found to be right.
    pub fn new(users: &[config::User], before: &Self) -> Self {
        let right = |user: &config::User| match before.by_name.get(&user.name) {
            Some(before) if before.hash == user.hash => before.right.clone(),
            _ => Arc::default(),
        };
        let user = |user: &config::User| (user.name.clone(), User { hash: user.hash.clone(), right: right(user) });
        Self {
            by_name: users.iter().map(user).collect(),
            cost: users.iter().map(|user| user.hash.cost()).max().unwrap_or_default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            key: Key::new(HMAC_SHA256, &rand::random::<[u8; 32]>()),
            wrong: Arc::default(),
            seats: Shares::new(SEATS, SEATS_OF_A_CLIENT),
            // Half of the machine is for what the exporter is there for.
            slots: Arc::new(Semaphore::new((cores / 2).max(1))),
            bcrypt: Arc::new(Bcrypt),
        }
    }
}

impl Passwords {
    /// Whether the request is one of a user.
    pub async fn check(&self, users: &Users, client: Client, headers: &HeaderMap) -> Result<(), Refusal> {
        let right = match Credentials::of(headers) {
            Some(credentials) => self.is_right(users, client, credentials).await?,
            None => false,
        };
        if right {
            return Ok(());
        }
        debug!("Refused a request without a user's name and password");
        Err(Refusal::Unauthorized)
    }

    async fn is_right(&self, users: &Users, client: Client, credentials: Credentials) -> Result<bool, Refusal> {
        let user = users.by_name.get(credentials.name.as_str());
        let tag = hmac::sign(&self.key, &credentials.message(user));
        if let Some(right) = self.known(user, &tag) {
            return Ok(right);
        }
        let _seat = self.seats.take(client).map_err(|_| busy())?;
        let Ok(Ok(slot)) = timeout(PATIENCE, self.slots.clone().acquire_owned()).await else { return Err(busy()) };
        // Another request with the same password may have been before this one.
        if let Some(right) = self.known(user, &tag) {
            return Ok(right);
        }
        let (user, cost, wrong, bcrypt) = (user.cloned(), users.cost, self.wrong.clone(), self.bcrypt.clone());
        let compute = move || {
            // The slot goes along: a client that hangs up makes no room before the work ends. What is found
            // is remembered all the same: a scraper that gave up is known when it comes again.
            let _slot = slot;
            let right = verify(&*bcrypt, &credentials.password, user.as_ref().map(|user| &user.hash), cost);
            match user.filter(|_| right) {
                Some(user) => *user.right.lock().unwrap_or_else(PoisonError::into_inner) = Some(tag),
                None => wrong.lock().unwrap_or_else(PoisonError::into_inner).insert(&tag),
            }
            right
        };
        tokio::task::spawn_blocking(compute).await.map_err(|_| {
            error!("The check of a password failed by a defect of the exporter; please report it");
            Refusal::Busy
        })
    }

    /// What was found of it before.
    fn known(&self, user: Option<&User>, tag: &Tag) -> Option<bool> {
        // Nobody can choose a tag without the key, so its comparison tells nothing.
        let is_right = |user: &User| {
            let right = user.right.lock().unwrap_or_else(PoisonError::into_inner);
            right.as_ref().is_some_and(|right| right.as_ref() == tag.as_ref())
        };
        if user.is_some_and(is_right) {
            return Some(true);
        }
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.known.contains(tag.as_ref()).then_some(false)
    }
}

/// Whether the password is the one of the hash; never without one. It takes the time of `cost` in any case:
/// each step of the cost doubles the time, so what a cheaper hash lacks are all steps from its own on.
fn verify(bcrypt: &dyn Work, password: &[u8], hash: Option<&PasswordHash>, cost: u32) -> bool {
    let Some(hash) = hash else {
        bcrypt.spend(password, cost);
        return false;
    };
    let right = bcrypt.verify(password, hash);
    (hash.cost()..cost).for_each(|cost| bcrypt.spend(password, cost));
    right
}

impl Work for Bcrypt {
    fn verify(&self, password: &[u8], hash: &PasswordHash) -> bool {
        bcrypt::verify(password, hash.expose()).unwrap_or_default()
    }

    fn spend(&self, password: &[u8], cost: u32) {
        const SALT: [u8; 16] = [0; 16];
        drop(black_box(bcrypt::hash_with_salt_bytes(password, cost, SALT)));
    }
}

fn busy() -> Refusal {
    debug!("Refused a request: too many passwords are being checked");
    Refusal::Busy
}

impl Credentials {
    /// Of exactly one header `Authorization: Basic …`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
        Some(Self { name, password: decoded[colon + 1..].to_vec() })
    }

    /// What is remembered of it: of a changed hash nothing is known.
    fn message(&self, user: Option<&User>) -> Vec<u8> {
        let hash = user.map_or("", |user| user.hash.expose());
        let parts = [self.name.as_bytes(), hash.as_bytes(), &self.password];
        parts
            .iter()
            .flat_map(|part| (part.len() as u64).to_le_bytes().into_iter().chain(part.iter().copied()))
            .collect()
    }
}

impl Wrong {
    fn insert(&mut self, tag: &Tag) {
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        if !self.known.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > WRONG
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<user>")
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

#[cfg(test)]
mod tests;
