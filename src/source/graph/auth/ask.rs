//! Asking for a token once, by the SDK's credential for each kind, over our own client.

use std::sync::Arc;
use std::time::Duration;

use azure_core::cloud::CustomConfiguration;
use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientMethodOptions, ClientOptions, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::super::claims::Claims;
use super::super::client::Link;
use super::super::errors::one_line;
use super::super::retry::{Failure, Retry};
use super::super::token_wire::{Service, TokenWire};
use super::super::transport::Answer;
use super::super::url::shown;
use super::super::{entra, metadata};
use super::cli::Cli;
use super::proof::{Evidence, Proof};
use super::redact;
use crate::clock;
use crate::config::Credential;
use crate::source::SourceError;
use crate::status::FailureReason;

/// Longer than any token lives.
const MAX_LIFETIME: TimeDelta = TimeDelta::days(30);

/// A token as it was issued.
pub(super) struct Issued {
    pub text: String,
    /// How long it lives from now on.
    pub lifetime: Duration,
    /// When it expires, by this machine's clock, where that is known.
    pub expires: Option<DateTime<Utc>>,
}

/// Whom to ask, and for what.
pub(super) struct Asker {
    pub credential: Credential,
    pub tenant_id: Option<String>,
    pub authority: Url,
    pub scope: String,
}

impl Asker {
    /// Asks once.
    pub async fn once(&self, proof: &Proof, link: &Arc<Link>, fresh: bool) -> Result<Issued, Failure> {
        match (&self.credential, &proof.evidence) {
            (Credential::ClientSecret { client_id, .. }, Evidence::Secret(secret)) => {
                self.by_secret(client_id, secret, link, fresh).await
            }
            (Credential::ClientCertificate { client_id, certificate_file, .. }, Evidence::Certificate(certificate)) => {
                let now = clock::now();
                let told = |problem: String| {
                    let file = certificate_file.display();
                    Failure::from(SourceError::new(
                        FailureReason::Credential,
                        format!("credential.certificate_file {file}: {problem}"),
                    ))
                };
                certificate.check(now).map_err(told)?;
                let assertion = certificate.assertion(client_id, &self.endpoint(), now).map_err(told)?;
                self.by_assertion(client_id, &assertion, link, fresh).await
            }
            (Credential::WorkloadIdentity { client_id, .. }, Evidence::Federated(assertion)) => {
                self.by_assertion(client_id, assertion, link, fresh).await
            }
            (Credential::ManagedIdentity { client_id }, _) => {
                self.by_managed_identity(client_id.as_deref(), link, fresh).await
            }
            (Credential::AzureCli, _) => self.by_cli().await,
            (_, Evidence::Token(text)) => Ok(of_file(text)),
            _ => Err(SourceError::new(FailureReason::Internal, "credential: its proof is of another kind").into()),
        }
    }

    async fn by_secret(&self, client_id: &str, secret: &str, link: &Arc<Link>, fresh: bool) -> Result<Issued, Failure> {
        let wire = Arc::new(TokenWire::new(link.clone(), Service::Entra, fresh));
        let options = ClientSecretCredentialOptions { client_options: self.client_options(&wire) };
        let (client_id, secret) = (client_id.to_owned(), secret.to_owned().into());
        let made = ClientSecretCredential::new(self.tenant_id(), client_id, secret, Some(options));
        let credential = made.map_err(|error| unusable(&error))?;
        self.by_entra(&*credential, &wire).await
    }

    async fn by_assertion(
        &self,
        client_id: &str,
        assertion: &str,
        link: &Arc<Link>,
        fresh: bool,
    ) -> Result<Issued, Failure> {
        let wire = Arc::new(TokenWire::new(link.clone(), Service::Entra, fresh));
        let options = ClientAssertionCredentialOptions { client_options: self.client_options(&wire) };
        let (tenant_id, client_id) = (self.tenant_id().to_owned(), client_id.to_owned());
        let made = ClientAssertionCredential::new(tenant_id, client_id, Assertion(assertion.to_owned()), Some(options));
        let credential = made.map_err(|error| unusable(&error))?;
        self.by_entra(&*credential, &wire).await.map_err(|mut failure| {
            failure.error.message = redact(&failure.error.message, assertion, "<assertion>");
            failure
        })
    }

    async fn by_entra(&self, credential: &dyn TokenCredential, wire: &TokenWire) -> Result<Issued, Failure> {
        let outcome = credential.get_token(&[&self.scope], None).await;
        match (outcome, wire.take()) {
            (Ok(token), Some(Ok(answer))) if !token.token.secret().is_empty() => {
                Ok(issued(token.token.secret(), lifetime(&answer)))
            }
            (_, Some(Ok(answer))) => Err(entra::failure(&answer, &shown(&self.endpoint()))),
            (_, Some(Err(failure))) => Err(failure),
            (Err(error), None) => Err(unusable(&error)),
            (Ok(_), None) => Err(unusable(&"it was not asked")),
        }
    }

    async fn by_managed_identity(
        &self,
        client_id: Option<&str>,
        link: &Arc<Link>,
        fresh: bool,
    ) -> Result<Issued, Failure> {
        let wire = Arc::new(TokenWire::new(link.clone(), Service::Metadata, fresh));
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: client_id.map(|id| UserAssignedId::ClientId(id.to_owned())),
            client_options: self.client_options(&wire),
        };
        let credential =
            ManagedIdentityCredential::new(Some(options)).map_err(|error| metadata::unsupported(&error))?;
        let outcome = credential.get_token(&[&self.scope], None).await;
        match (outcome, wire.take()) {
            (Ok(token), Some(Ok(answer))) if !token.token.secret().is_empty() => {
                Ok(issued(token.token.secret(), lifetime(&answer)))
            }
            (_, Some(Ok(answer))) => Err(metadata::failure(&answer, client_id)),
            (_, Some(Err(failure))) => Err(metadata::unreachable(failure)),
            (Err(error), None) => Err(metadata::unsupported(&error)),
            (Ok(_), None) => Err(unusable(&"it was not asked")),
        }
    }

    async fn by_cli(&self) -> Result<Issued, Failure> {
        let cli = Arc::new(Cli::new());
        let options = AzureCliCredentialOptions {
            tenant_id: self.tenant_id.clone(),
            executor: Some(cli.clone()),
            ..AzureCliCredentialOptions::default()
        };
        let credential = AzureCliCredential::new(Some(options)).map_err(|error| unusable(&error))?;
        match credential.get_token(&[&self.scope], None).await {
            Ok(token) if !token.token.secret().is_empty() => {
                let expires = DateTime::from_timestamp(token.expires_on.unix_timestamp(), 0);
                let left = expires.map_or(TimeDelta::zero(), |expires| expires - clock::now());
                Ok(issued(token.token.secret(), left))
            }
            Ok(_) | Err(_) => Err(cli.failure()),
        }
    }

    fn client_options(&self, wire: &Arc<TokenWire>) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority.as_str().to_owned();
        ClientOptions {
            transport: Some(Transport::new(wire.clone())),
            // Its own retries go on for over a minute and then hide the cause; ours count and stop.
            retry: RetryOptions::none(),
            cloud: Some(Arc::new(cloud.into())),
            ..ClientOptions::default()
        }
    }

    fn tenant_id(&self) -> &str {
        self.tenant_id.as_deref().unwrap_or_default()
    }

    fn endpoint(&self) -> Url {
        let mut endpoint = self.authority.clone();
        endpoint.set_path(&format!("/{}/oauth2/v2.0/token", self.tenant_id()));
        endpoint
    }
}

/// An assertion that is made already. `Debug` shows nothing of it.
struct Assertion(String);

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.clone())
    }
}

impl std::fmt::Debug for Assertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Assertion(<secret>)")
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self { error, retry: Retry::Never }
    }
}

/// The credential could not even ask: its own settings are wrong.
fn unusable(why: &dyn std::fmt::Display) -> Failure {
    SourceError::new(FailureReason::Credential, format!("credential: {}", one_line(&why.to_string()))).into()
}

fn issued(text: &str, lifetime: TimeDelta) -> Issued {
    let lifetime = lifetime.clamp(TimeDelta::zero(), MAX_LIFETIME);
    let expires = Some(clock::now() + lifetime);
    Issued { text: text.to_owned(), lifetime: lifetime.to_std().unwrap_or_default(), expires }
}

/// A token from a file. It may say itself when it expires.
fn of_file(text: &str) -> Issued {
    match Claims::of(text).and_then(|claims| claims.exp) {
        Some(expires) => issued(text, expires - clock::now()),
        None => Issued { text: text.to_owned(), lifetime: Duration::ZERO, expires: None },
    }
}

/// How long a token of this answer lives. Entra's `expires_in` is a number; the metadata services
/// write numbers as text, and some give only `expires_on`, a Unix time.
fn lifetime(answer: &Answer) -> TimeDelta {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Lifetime {
        expires_in: Value,
        expires_on: Value,
    }
    let told: Lifetime = serde_json::from_slice(&answer.body).unwrap_or_default();
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let until = |unix| unix - answer.date().unwrap_or_else(clock::now).timestamp();
    let seconds = number(&told.expires_in).or_else(|| number(&told.expires_on).map(until)).unwrap_or(0);
    TimeDelta::try_seconds(seconds).unwrap_or(MAX_LIFETIME)
}
