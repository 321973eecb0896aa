//! What the web configuration asks of connections, requests and answers: in force as a whole, and exchanged
//! as a whole while the server runs.

mod limiter;
mod passwords;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::connection::Client;
use super::tls::{self, TlsError, TlsServer};
use crate::config::{ClientAuth, TlsConfig, WebConfig};
use limiter::Limiter;
use passwords::{Passwords, Users};

/// The web configuration in force. The default is that of an empty file: plain HTTP, and everybody may read.
#[derive(Debug, Default)]
pub struct Access {
    current: ArcSwap<Rules>,
    /// Told of each exchange.
    replaced: watch::Sender<()>,
}

/// One web configuration, ready for use.
#[derive(Debug, Default)]
pub(super) struct Rules {
    tls: Option<TlsServer>,
    /// Nothing more is answered on connections that came by another.
    door: Arc<Door>,
    headers: Vec<(HeaderName, HeaderValue)>,
    limiter: Option<Arc<Limiter>>,
    users: Users,
    /// One for all web configurations that follow each other.
    passwords: Arc<Passwords>,
}

/// What connections come by: the same until other proofs are asked for.
#[derive(Debug, Default)]
pub(super) struct Door {
    proofs: Proofs,
    /// Cancelled once another door is in force.
    superseded: CancellationToken,
}

/// What a connection has to prove before its first request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Proofs {
    tls: bool,
    client_auth: ClientAuth,
    allowed_names: Vec<String>,
    /// `client_ca_file` or `client_ca`, as PEM.
    authorities: Vec<u8>,
}

/// Why a web configuration cannot be put in force. One line.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// TLS cannot be served as configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The rate limit is exceeded, for so long.
    TooMany(Duration),
    /// No user name and password, or not the right ones.
    Unauthorized,
    /// Too many passwords are being checked.
    Busy,
}

impl Access {
    /// Puts a web configuration in force.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn new(config: &WebConfig) -> Result<Self, AccessError> {
        let access = Self::default();
        access.replace(config)?;
        Ok(access)
    }

    /// Puts another web configuration in force. Requests under way keep to the one before. So do connections,
    /// unless what they have to prove differs: then they end after the requests under way. What is known of
    /// passwords and of the rate goes on where its part of the configuration is the same.
    ///
    /// # Errors
    /// [`AccessError`]; then the one before stays in force.
    pub fn replace(&self, config: &WebConfig) -> Result<(), AccessError> {
        let before = self.current();
        let rules = Arc::new(Rules::new(config, &before)?);
        self.current.store(rules.clone());
        if !rules.stands_behind(&before.door) {
            before.door.superseded.cancel();
        }
        self.replaced.send_replace(());
        Ok(())
    }

    /// Hears of each exchange from now on.
    pub(super) fn replaced(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    /// What the next connection's TLS is, `None` for plain HTTP, and what it comes by.
    pub(super) fn door(&self) -> (Option<Arc<ServerConfig>>, Arc<Door>) {
        let rules = self.current.load();
        (rules.tls.as_ref().map(|tls| tls.config.clone()), rules.door.clone())
    }

    /// When the first of the certificates that are shown expires; `None` without TLS.
    pub fn certificate_expiry(&self) -> Option<DateTime<Utc>> {
        self.current.load().tls.as_ref().map(|tls| tls.certificate_expiry)
    }

    /// What is in force now. One request keeps to it from its beginning to its end.
    pub(super) fn current(&self) -> Guard<Arc<Rules>> {
        self.current.load()
    }
}

impl Rules {
    fn new(config: &WebConfig, before: &Self) -> Result<Self, AccessError> {
        // Before the verifier reads the same: what changes in between is found by the next look.
        let proofs = config.tls.as_ref().map(Proofs::of).unwrap_or_default();
        let door = if proofs == before.door.proofs {
            before.door.clone()
        } else {
            Arc::new(Door { proofs, ..Door::default() })
        };
        let tls = config.tls.as_ref().map(|tls| tls::server(tls, config.http2)).transpose()?;
        let limiter = config.rate_limit.map(|rate| match &before.limiter {
            Some(limiter) if limiter.rate() == rate => limiter.clone(),
            _ => Arc::new(Limiter::new(rate)),
        });
        Ok(Self {
            tls,
            door,
            headers: config.headers.clone(),
            limiter,
            users: Users::new(&config.users, &before.users),
            passwords: before.passwords.clone(),
        })
    }

    /// Whether connections that came by this door have proved what is asked now.
    pub fn stands_behind(&self, door: &Arc<Door>) -> bool {
        Arc::ptr_eq(&self.door, door)
    }

    /// Whether another request is within the rate limit. To be asked before the password, as it is elsewhere: it
    /// also bounds how many of those can be tried.
    ///
    /// # Errors
    /// That it is not.
    pub fn limit(&self) -> Result<(), Refusal> {
        self.limiter.as_ref().map_or(Ok(()), |limiter| limiter.check().map_err(Refusal::TooMany))
    }

    /// Whether requests need a password.
    pub fn has_users(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether a request of this client with these headers has a right password.
    ///
    /// # Errors
    /// Why it is not answered.
    pub async fn authenticate(&self, client: Client, headers: &HeaderMap) -> Result<(), Refusal> {
        self.passwords.check(&self.users, client, headers).await
    }

    /// Statuses of answers to requests that are not admitted.
    pub fn refusing_codes(&self) -> Vec<u16> {
        let limited = self.limiter.is_some().then_some(429);
        let authenticated = self.has_users().then_some(401);
        limited.into_iter().chain(authenticated).collect()
    }

    /// Sets the configured headers in place of the page's own.
    pub fn decorate(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

impl Door {
    /// Waits until another door is in force.
    pub async fn superseded(&self) {
        self.superseded.cancelled().await;
    }
}

impl Proofs {
    fn of(tls: &TlsConfig) -> Self {
        // What cannot be read is refused, with its reason, where the verifier is made.
        let authorities = tls.client_authorities.as_ref().and_then(|source| source.read().ok());
        Self {
            tls: true,
            client_auth: tls.client_auth,
            allowed_names: tls.client_allowed_sans.clone(),
            authorities: authorities.unwrap_or_default(),
        }
    }
}
