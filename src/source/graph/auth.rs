//! Tokens: where they come from, how long they are kept, and who sees them.
//!
//! A token is kept until shortly before it expires and renewed earlier, while a failure still costs
//! nothing: the kept one goes on. What proves the identity is read at each use ([`proof`]); where it
//! has changed, a new token is asked for at once, again while the kept one goes on.

mod ask;
mod certificate;
mod cli;
mod proof;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use self::ask::{Asker, Issued};
use self::proof::{Evidence, Fingerprint, Proof};
use super::claims::Claims;
use super::client::Link;
use super::retry::{Attempt, Budget, Failure, Retry};
use crate::config::{self, Credential};
use crate::source::SourceError;
use crate::status::FailureReason;

/// A token is renewed when this much of its life is left: at the default poll interval there are two
/// more polls to try in, so that a token endpoint that is away for minutes fails none of them.
const RENEWAL_MARGIN: Duration = Duration::from_secs(900);
/// A token is sent until this much of its life is left, so that it does not expire on the way.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);
/// How long an early renewal may take: a request waits for it that the kept token could serve.
const EARLY_TIMEOUT: Duration = Duration::from_secs(10);
/// After an early renewal that failed, until the next one.
const EARLY_PAUSE: Duration = Duration::from_secs(60);
/// How long a token from a file is sent after it could last be read there, where it does not say itself
/// when it expires. As for other tokens, there are two more polls for whoever mends it.
const FILE_GRACE: Duration = RENEWAL_MARGIN;
/// How often a refused proof is read again within one asking: it may be exchanged just then.
const MAX_REREADS: u32 = 2;
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
    asker: Asker,
    /// Locked while a token is asked for, so that it is asked for once.
    state: tokio::sync::Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// What was read last.
    proof: Option<Proof>,
    /// The early renewal that failed last: by which proof, if any, and when the next one may follow.
    failed: Option<(Option<Fingerprint>, Instant)>,
}

struct Kept {
    token: Token,
    /// By which proof it was had.
    fingerprint: Fingerprint,
    renew_at: Instant,
    expires_at: Instant,
}

impl Credentials {
    /// Reads nothing and sends nothing yet.
    pub fn new(tenant: &config::Tenant) -> Self {
        let asker = Asker {
            credential: tenant.credential.clone(),
            tenant_id: tenant.tenant_id.clone(),
            authority: tenant.authority_url.clone(),
            scope: format!("{}/.default", tenant.graph_url.origin().ascii_serialization()),
        };
        Self { asker, state: tokio::sync::Mutex::default() }
    }

    /// The token to send now, or `None` where none is configured.
    pub async fn token(&self, link: &Arc<Link>, budget: &mut Budget) -> Result<Option<Token>, SourceError> {
        let credential = &self.asker.credential;
        if matches!(credential, Credential::None) {
            return Ok(None);
        }
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let usable = state.kept.as_ref().is_some_and(|kept| now < kept.expires_at);
        let read = match usable {
            true => Proof::read(credential, state.proof.as_ref()).await,
            false => Proof::read_patiently(credential, state.proof.as_ref()).await,
        };
        if let Ok(proof) = &read {
            state.note(proof, link);
        }
        if usable {
            self.renew_early(&mut state, read, now, link).await;
        } else {
            let kept = self.ask(read?, &mut state, link, budget).await?;
            state.kept = Some(kept);
        }
        Ok(state.kept.as_ref().map(|kept| kept.token.clone()))
    }

    /// Drops the kept token: the service does not accept it.
    pub async fn forget(&self) {
        self.state.lock().await.kept = None;
    }

    /// What else to check where the service does not accept the token.
    pub fn remedy(&self) -> &'static str {
        match self.asker.credential {
            Credential::BearerTokenFile { .. } => ", and that whatever writes token_file keeps it fresh",
            _ => "",
        }
    }

    /// Makes the kept token due: the service knows it, but finds no permission in it. A new one may have it.
    pub async fn doubt(&self) {
        if let Some(kept) = &mut self.state.lock().await.kept {
            kept.renew_at = Instant::now();
        }
    }

    /// Renews a kept token that is due, or leaves it as it is.
    async fn renew_early(&self, state: &mut State, read: Result<Proof, SourceError>, now: Instant, link: &Arc<Link>) {
        let Some(kept) = &state.kept else { return };
        let fingerprint = read.as_ref().ok().map(|proof| proof.fingerprint);
        let due = now >= kept.renew_at || fingerprint != Some(kept.fingerprint);
        let waits = state.failed.is_some_and(|(failed, until)| failed == fingerprint && now < until);
        if !due || waits {
            return;
        }
        let left = kept.expires_at.saturating_duration_since(now);
        let renewed = match read {
            Ok(proof) => tokio::time::timeout(EARLY_TIMEOUT, self.ask_once(&proof, link, false))
                .await
                .unwrap_or_else(|_| Err(late()))
                .map_err(|failure| failure.error),
            Err(error) => Err(error),
        };
        match renewed {
            Ok(kept) => {
                state.kept = Some(kept);
                state.failed = None;
            }
            Err(error) => {
                state.failed = Some((fingerprint, now + EARLY_PAUSE));
                tracing::warn!(
                    reason = %error.message,
                    valid_seconds = left.as_secs(),
                    "no new token yet; the one at hand goes on"
                );
            }
        }
    }

    /// Asks with a poll's patience.
    async fn ask(
        &self,
        mut proof: Proof,
        state: &mut State,
        link: &Arc<Link>,
        budget: &mut Budget,
    ) -> Result<Kept, SourceError> {
        let (mut attempt, mut fresh, mut rereads) = (Attempt::first(), false, 0);
        loop {
            let failure = match self.ask_once(&proof, link, fresh).await {
                Ok(kept) => return Ok(kept),
                Err(failure) => failure,
            };
            let read = Proof::read(&self.asker.credential, Some(&proof)).await;
            let changed = read.ok().filter(|read| read.fingerprint != proof.fingerprint);
            if let Some(changed) = changed {
                state.note(&changed, link);
                proof = changed;
                if failure.retry == Retry::Never && rereads < MAX_REREADS {
                    rereads += 1;
                    link.observer.retry();
                    continue;
                }
            }
            fresh = budget.pause(failure, attempt, &*link.observer).await?;
            attempt = attempt.next();
        }
    }

    /// Where a token comes from, for messages.
    fn whence(&self) -> String {
        match &self.asker.credential {
            Credential::BearerTokenFile { token_file } => format!("credential.token_file {}", token_file.display()),
            credential => format!("the token by credential.kind {}", credential.kind()),
        }
    }

    async fn ask_once(&self, proof: &Proof, link: &Arc<Link>, fresh: bool) -> Result<Kept, Failure> {
        let asked = self.asker.once(proof, link, fresh).await;
        let kept = asked.and_then(|issued| Kept::new(issued, proof, &self.whence(), link).map_err(Failure::from));
        kept.map_err(|mut failure| {
            failure.error.message = proof.redact(&failure.error.message);
            failure
        })
    }
}

impl State {
    /// Takes down what was read, and tells when a certificate expires that was not known yet.
    fn note(&mut self, proof: &Proof, link: &Link) {
        let known = self.proof.as_ref().is_some_and(|known| known.fingerprint == proof.fingerprint);
        if let (Evidence::Certificate(certificate), false) = (&proof.evidence, known) {
            link.observer.credential_expires(certificate.not_after());
        }
        self.proof = Some(proof.clone());
    }
}

impl Kept {
    fn new(issued: Issued, proof: &Proof, whence: &str, link: &Link) -> Result<Self, SourceError> {
        let now = Instant::now();
        let token = Token::new(&issued.text, whence)?;
        let (renew_in, expires_in) = match (&proof.evidence, issued.expires) {
            // Whoever keeps the file fresh renews it, and nobody is asked: each time that it can be read
            // its time begins anew, changed or not.
            (Evidence::Token(_), None) => (Duration::ZERO, FILE_GRACE),
            (Evidence::Token(_), Some(_)) => (issued.lifetime, issued.lifetime),
            _ => kept_for(issued.lifetime),
        };
        if let Some(expires) = issued.expires {
            link.observer.token_expires(expires);
        }
        Ok(Self { token, fingerprint: proof.fingerprint, renew_at: now + renew_in, expires_at: now + expires_in })
    }
}

/// After how long a token is renewed, and after how long it is not sent any more. Of a short life at
/// least half is used, and hardly less than all.
fn kept_for(lifetime: Duration) -> (Duration, Duration) {
    let renewed = lifetime.saturating_sub(RENEWAL_MARGIN).max(lifetime / 2);
    (renewed, lifetime.saturating_sub(EXPIRY_MARGIN).max(lifetime / 10 * 9))
}

fn late() -> Failure {
    let seconds = EARLY_TIMEOUT.as_secs();
    SourceError::new(FailureReason::Timeout, format!("credential: no answer within {seconds} s")).into()
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

/// A message without a secret. Quoted texts are cut, so the beginning of a secret is blotted out as well.
fn redact(message: &str, secret: &str, stand_in: &str) -> String {
    let Some(end) = (MIN_REDACTED_BYTES..=secret.len()).find(|end| secret.is_char_boundary(*end)) else {
        return message.to_owned();
    };
    let whole = message.replace(secret, stand_in);
    let (mut shown, mut rest) = (String::new(), whole.as_str());
    while let Some((before, _)) = rest.split_once(&secret[..end]) {
        let found = &rest[before.len()..];
        let same = found.chars().zip(secret.chars()).take_while(|(one, other)| one == other);
        rest = &found[same.map(|(c, _)| c.len_utf8()).sum()..];
        shown.push_str(before);
        shown.push_str(stand_in);
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::graph::{Client, Network};
    use crate::source::testing::{Fake, Witness, quick, report_tenant};

    #[tokio::test]
    async fn the_grace_of_a_token_file_begins_when_it_could_last_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, "opaque-token").unwrap();
        let mut tenant = report_tenant(&Fake::start(Vec::new()).await);
        tenant.credential = Credential::BearerTokenFile { token_file: token_file.clone() };
        let client = Client::new(&tenant, &Network::new(|_| None), Arc::<Witness>::default(), quick()).unwrap();
        let credentials = &client.credentials;
        let expiry = async || {
            credentials.token(&client.link, &mut client.budget()).await.unwrap();
            credentials.state.lock().await.kept.as_ref().unwrap().expires_at
        };
        let first = expiry().await;
        let second = expiry().await;
        assert!(second > first, "a good read counts, although the text is the same");
        std::fs::remove_file(&token_file).unwrap();
        assert_eq!(expiry().await, second);
        assert!(second <= Instant::now() + FILE_GRACE);
    }

    #[test]
    fn a_secret_is_blotted_out_wherever_it_was_cut() {
        let redacted = |message: &str| redact(message, "éa-long-secret", "<secret>");
        for (message, shown) in [
            ("x éa-long-secret y éa-long-secret", "x <secret> y <secret>"),
            ("the text was cut: éa-long-sec…", "the text was cut: <secret>…"),
            ("éa-long-éa-long-secretsecret", "<secret><secret>secret"),
            ("éa-long", "<secret>"),
            ("éa-lon", "éa-lon"),
            ("", ""),
        ] {
            assert_eq!(redacted(message), shown, "{message}");
        }
        assert_eq!(redact("a seven of it: 1234567", "1234567", "<secret>"), "a seven of it: 1234567");
    }
}
