//! Tokens: where they come from, how long they are kept, and who sees them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential as _;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use chrono::DateTime;
use http::HeaderValue;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::claims::Claims;
use super::client::Link;
use super::entra;
use super::errors::one_line;
use super::retry::{Attempt, Budget, Failure, Retry};
use super::token_wire::TokenWire;
use super::url::shown;
use crate::config;
use crate::source::SourceError;
use crate::status::FailureReason;

/// A token is renewed when this much of its life is left, so that it does not expire on the way.
const RENEWAL_MARGIN: Duration = Duration::from_secs(300);
/// A file with a secret or a token holds a few KiB at most; more is the wrong file.
const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Shorter texts are not blotted out of messages: they would take half the message with them, and no
/// secret is one.
const MIN_REDACTED_BYTES: usize = 8;

/// A bearer token. `Debug` shows nothing of it.
#[derive(Clone)]
pub(super) struct Token {
    text: Arc<str>,
    header: HeaderValue,
}

/// How a tenant's tokens are had.
pub(super) struct Credentials {
    kind: config::Credential,
    tenant_id: Option<String>,
    authority: Url,
    scope: String,
    /// Locked while a token is asked for, so that it is asked for once.
    cached: tokio::sync::Mutex<Option<Cached>>,
}

struct Cached {
    token: Token,
    renew_at: Instant,
}

impl Credentials {
    /// Reads nothing and sends nothing yet.
    pub fn new(tenant: &config::Tenant) -> Self {
        Self {
            kind: tenant.credential.clone(),
            tenant_id: tenant.tenant_id.clone(),
            authority: tenant.authority_url.clone(),
            scope: format!("{}/.default", tenant.graph_url.origin().ascii_serialization()),
            cached: tokio::sync::Mutex::new(None),
        }
    }

    /// The token to send now, or `None` where none is configured.
    pub async fn token(&self, link: &Arc<Link>, budget: &mut Budget) -> Result<Option<Token>, SourceError> {
        match &self.kind {
            config::Credential::None => Ok(None),
            // Read at each use: whoever keeps it fresh may replace it at any time.
            config::Credential::BearerTokenFile { token_file } => {
                let text = secret_file("credential.token_file", token_file).await?;
                let whence = format!("credential.token_file {}", token_file.display());
                Token::new(&text, &whence).map(Some)
            }
            config::Credential::ClientSecret { client_id, secret } => {
                let mut cached = self.cached.lock().await;
                if let Some(kept) = cached.as_ref().filter(|kept| Instant::now() < kept.renew_at) {
                    return Ok(Some(kept.token.clone()));
                }
                let secret = client_secret(secret).await?;
                let kept = cached.insert(self.ask(client_id, &secret, link, budget).await?);
                Ok(Some(kept.token.clone()))
            }
        }
    }

    /// Drops the kept token: the service does not accept it.
    pub async fn forget(&self) {
        *self.cached.lock().await = None;
    }

    async fn ask(
        &self,
        client_id: &str,
        secret: &str,
        link: &Arc<Link>,
        budget: &mut Budget,
    ) -> Result<Cached, SourceError> {
        let (mut attempt, mut fresh) = (Attempt::first(), false);
        loop {
            let mut failure = match self.ask_once(client_id, secret, link, fresh).await {
                Ok(cached) => return Ok(cached),
                Err(failure) => failure,
            };
            failure.error.message = redact(&failure.error.message, secret, "<secret>");
            fresh = budget.pause(failure, attempt, &*link.observer).await?;
            attempt = attempt.next();
        }
    }

    async fn ask_once(&self, client_id: &str, secret: &str, link: &Arc<Link>, fresh: bool) -> Result<Cached, Failure> {
        let wire = Arc::new(TokenWire::new(link.clone(), fresh));
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority.as_str().to_owned();
        let client_options = ClientOptions {
            transport: Some(Transport::new(wire.clone())),
            // Its own retries go on for over a minute and then hide the cause; ours count and stop.
            retry: RetryOptions::none(),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        };
        let tenant_id = self.tenant_id.as_deref().unwrap_or_default();
        let options = ClientSecretCredentialOptions { client_options };
        let credential =
            ClientSecretCredential::new(tenant_id, client_id.to_owned(), secret.to_owned().into(), Some(options))
                .map_err(|error| unusable(&error))?;
        let outcome = credential.get_token(&[&self.scope], None).await;
        match (outcome, wire.take()) {
            (Ok(token), Some(Ok(answer))) if !token.token.secret().is_empty() => {
                if let Some(expires) = DateTime::from_timestamp(token.expires_on.unix_timestamp(), 0) {
                    link.observer.token_expires(expires);
                }
                let token = Token::new(token.token.secret(), "the token endpoint's answer").map_err(Failure::from)?;
                Ok(Cached { token, renew_at: Instant::now() + kept_for(&answer.body) })
            }
            (_, Some(Ok(answer))) => Err(entra::failure(&answer, &shown(&self.endpoint(tenant_id)))),
            (_, Some(Err(failure))) => Err(failure),
            (Err(error), None) => Err(unusable(&error)),
            (Ok(_), None) => Err(unusable(&"it was not asked")),
        }
    }

    fn endpoint(&self, tenant_id: &str) -> Url {
        let mut endpoint = self.authority.clone();
        endpoint.set_path(&format!("/{tenant_id}/oauth2/v2.0/token"));
        endpoint
    }
}

impl Token {
    fn new(text: &str, whence: &str) -> Result<Self, SourceError> {
        let header = HeaderValue::from_str(&format!("Bearer {text}"));
        let mut header = header.map_err(|_| {
            SourceError::new(FailureReason::Credential, format!("{whence} holds characters that no token has"))
        })?;
        header.set_sensitive(true);
        Ok(Self { text: text.into(), header })
    }

    /// The value of `Authorization`.
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// What it says of itself.
    pub fn claims(&self) -> Option<Claims> {
        Claims::of(&self.text)
    }

    /// A message without this token, should the service have quoted it.
    pub fn redact(&self, message: &str) -> String {
        redact(message, &self.text, "<token>")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<secret>)")
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { error, retry: Retry::Never }
    }
}

fn redact(message: &str, secret: &str, stand_in: &str) -> String {
    if secret.len() < MIN_REDACTED_BYTES { message.to_owned() } else { message.replace(secret, stand_in) }
}

/// The credential could not even ask: its own settings are wrong.
fn unusable(why: &dyn fmt::Display) -> Failure {
    SourceError::new(FailureReason::Credential, format!("credential: {}", one_line(&why.to_string()))).into()
}

/// How long a token of this answer is kept. Measured from its arrival on a clock that is never set.
fn kept_for(answer: &[u8]) -> Duration {
    #[derive(Deserialize)]
    struct Lifetime {
        expires_in: u64,
    }
    let seconds = serde_json::from_slice(answer).map_or(0, |Lifetime { expires_in }| expires_in);
    let lifetime = Duration::from_secs(seconds.min(MAX_LIFETIME_SECONDS));
    // A short-lived token is kept for half its life rather than not at all.
    lifetime.saturating_sub(RENEWAL_MARGIN).max(lifetime / 2)
}

/// Longer than any token lives.
const MAX_LIFETIME_SECONDS: u64 = 30 * 24 * 3600;

async fn client_secret(secret: &config::Secret) -> Result<String, SourceError> {
    match secret {
        config::Secret::Inline(text) => Ok(text.to_string()),
        config::Secret::File(path) => secret_file("credential.client_secret_file", path).await,
    }
}

/// Reads a file with one secret; white space around it is an editor's, not the secret's.
async fn secret_file(key: &str, path: &Path) -> Result<String, SourceError> {
    let fail = |why: &str| SourceError::new(FailureReason::Credential, format!("{key} {}: {why}", path.display()));
    let read = async {
        let mut text = String::new();
        let file = tokio::fs::File::open(path).await?;
        file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    let unreadable = |error| fail(&format!("{error}; it is read whenever it is needed: keep it in place and readable"));
    let text = read.await.map_err(unreadable)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(fail(&format!("the file has more than {MAX_SECRET_BYTES} bytes: is it the right one?")));
    }
    match text.trim() {
        "" => Err(fail("the file is empty")),
        text => Ok(text.to_owned()),
    }
}
