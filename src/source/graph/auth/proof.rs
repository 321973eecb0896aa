//! What proves the identity: read anew whenever a token is wanted, so that a file that changes takes
//! effect at once. Kubernetes swaps the directory of a mounted secret by a link; opening the name each
//! time follows it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::certificate::Certificate;
use super::redact;
use crate::config::{Credential, MAX_SECRET_BYTES, Secret};
use crate::source::SourceError;
use crate::status::FailureReason;

/// How often a file that cannot be used is looked at again where nothing else is left: whoever replaces
/// it may be half-way.
const LOOKS: u32 = 5;
/// The time between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// Tells one proof from another without keeping it.
pub(super) type Fingerprint = [u8; 32];

/// What proves the identity at one moment.
#[derive(Clone)]
pub(super) struct Proof {
    pub evidence: Evidence,
    pub fingerprint: Fingerprint,
}

/// The proof itself.
#[derive(Clone)]
pub(super) enum Evidence {
    /// What surrounds the process: the metadata service, or the Azure CLI's login.
    Surroundings,
    /// A client secret.
    Secret(Arc<str>),
    /// A certificate and its key.
    Certificate(Arc<Certificate>),
    /// A token of another issuer that Entra is told to trust.
    Federated(Arc<str>),
    /// The token itself.
    Token(Arc<str>),
}

impl Proof {
    /// Reads what the credential names. A certificate that is `known` already is not parsed again.
    pub async fn read(credential: &Credential, known: Option<&Self>) -> Result<Self, SourceError> {
        let text = |text: &str| Arc::<str>::from(text);
        let evidence = match credential {
            Credential::None | Credential::ManagedIdentity { .. } | Credential::AzureCli => Evidence::Surroundings,
            Credential::ClientSecret { secret, .. } => {
                Evidence::Secret(text(&secret_text("credential.client_secret_file", secret).await?))
            }
            Credential::WorkloadIdentity { token_file, .. } => {
                Evidence::Federated(text(&secret_file("credential.token_file", token_file).await?))
            }
            Credential::BearerTokenFile { token_file } => {
                Evidence::Token(text(&secret_file("credential.token_file", token_file).await?))
            }
            Credential::ClientCertificate { certificate_file, password, .. } => {
                return Self::of_certificate(certificate_file, password.as_ref(), known).await;
            }
        };
        let fingerprint = match &evidence {
            Evidence::Secret(text) | Evidence::Federated(text) | Evidence::Token(text) => {
                Sha256::digest(text.as_bytes()).into()
            }
            Evidence::Surroundings | Evidence::Certificate(_) => Fingerprint::default(),
        };
        Ok(Self { evidence, fingerprint })
    }

    /// The same, looking again for a moment where the files cannot be used.
    pub async fn read_patiently(credential: &Credential, known: Option<&Self>) -> Result<Self, SourceError> {
        let mut looks = 1;
        loop {
            match Self::read(credential, known).await {
                Err(_) if looks < LOOKS => looks += 1,
                outcome => return outcome,
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn of_certificate(file: &Path, password: Option<&Secret>, known: Option<&Self>) -> Result<Self, SourceError> {
        const KEY: &str = "credential.certificate_file";
        let bytes = whole_file(KEY, file).await?;
        let password = match password {
            Some(secret) => Some(secret_text("credential.certificate_password_file", secret).await?),
            None => None,
        };
        let mut hasher = Sha256::new_with_prefix((bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
        hasher.update(password.as_deref().unwrap_or_default());
        let fingerprint: Fingerprint = hasher.finalize().into();
        if let Some(known) = known.filter(|known| known.fingerprint == fingerprint) {
            return Ok(known.clone());
        }
        // A password is stretched by many rounds on purpose.
        let parsing = tokio::task::spawn_blocking(move || Certificate::parse(&bytes, password.as_deref()));
        let parsed = parsing.await.map_err(|_| failure(KEY, file, "it could not be read"))?;
        let certificate = parsed.map_err(|problem| failure(KEY, file, &problem))?;
        Ok(Self { evidence: Evidence::Certificate(Arc::new(certificate)), fingerprint })
    }

    /// A message without what must not be shown, should the service have quoted it.
    pub fn redact(&self, message: &str) -> String {
        match &self.evidence {
            Evidence::Secret(text) => redact(message, text, "<secret>"),
            Evidence::Federated(text) | Evidence::Token(text) => redact(message, text, "<token>"),
            Evidence::Certificate(_) | Evidence::Surroundings => message.to_owned(),
        }
    }
}

async fn secret_text(key: &str, secret: &Secret) -> Result<String, SourceError> {
    match secret {
        Secret::Inline(text) => Ok(text.to_string()),
        Secret::File(path) => secret_file(key, path).await,
    }
}

/// Reads a file with one secret; white space around it is an editor's, not the secret's.
async fn secret_file(key: &str, path: &Path) -> Result<String, SourceError> {
    let bytes = whole_file(key, path).await?;
    let text = String::from_utf8(bytes).map_err(|_| failure(key, path, "the file is not text"))?;
    match text.trim() {
        "" => Err(failure(key, path, "the file is empty")),
        text => Ok(text.to_owned()),
    }
}

async fn whole_file(key: &str, path: &Path) -> Result<Vec<u8>, SourceError> {
    let read = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(MAX_SECRET_BYTES + 1).read_to_end(&mut bytes).await?;
        std::io::Result::Ok(bytes)
    };
    let bytes = read.await.map_err(|error| {
        failure(key, path, &format!("{error}; it is read whenever it is needed: keep it in place and readable"))
    })?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        let why = format!("the file has more than {MAX_SECRET_BYTES} bytes: is it the right one?");
        return Err(failure(key, path, &why));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(failure(key, path, "the file is empty"));
    }
    Ok(bytes)
}

fn failure(key: &str, path: &Path, why: &str) -> SourceError {
    SourceError::new(FailureReason::Credential, format!("{key} {}: {why}", path.display()))
}
