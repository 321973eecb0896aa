//! The way out that the Azure SDK's credentials are given: our own client, one attempt, and the answer
//! kept as it came. The SDK's error type cannot read the token endpoint's descriptions, so the refusal
//! is read from there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::body::Caps;
use super::client::Link;
use super::retry::{Failure, Retry};
use super::transport::{Answer, Outgoing};
use super::url::shown;
use crate::config::proxy::is_local;
use crate::source::{Endpoint, SourceError};
use crate::status::FailureReason;

/// What became of the last attempt.
type Outcome = Result<Answer, Failure>;

/// Who is asked for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// The token endpoint of Entra.
    Entra,
    /// The metadata service of the resource that the exporter runs on.
    Metadata,
}

/// The metadata service is on the same machine or the one below: it answers in well under a second, or
/// in some when it has to ask Entra itself.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// One attempt at getting a token.
pub(super) struct TokenWire {
    link: Arc<Link>,
    service: Service,
    fresh: bool,
    last: Mutex<Option<Outcome>>,
}

impl TokenWire {
    /// An attempt that has not been made yet, on a new connection if `fresh`.
    pub fn new(link: Arc<Link>, service: Service, fresh: bool) -> Self {
        Self { link, service, fresh, last: Mutex::new(None) }
    }

    /// What became of the attempt, if it was made.
    pub fn take(&self) -> Option<Outcome> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn ask_metadata(&self, outgoing: Outgoing) -> Outcome {
        let failed = |reason, why: String, retry| {
            let message = format!("GET {}: {why}", shown(&outgoing.url));
            Err(Failure { error: SourceError::new(reason, message), retry })
        };
        if outgoing.url.scheme() == "http" && !is_local(&outgoing.url) {
            // With the request goes a secret of the platform.
            let why = "plain http to another machine; check IDENTITY_ENDPOINT";
            return failed(FailureReason::Credential, why.to_owned(), Retry::Never);
        }
        let attempt = self.link.attempt(Endpoint::Token, outgoing.clone(), self.fresh);
        tokio::time::timeout(METADATA_TIMEOUT, attempt).await.unwrap_or_else(|_| {
            self.link.observer.request(Endpoint::Token, None, METADATA_TIMEOUT);
            let why = format!("no answer within {} s", METADATA_TIMEOUT.as_secs());
            failed(FailureReason::Timeout, why, Retry::After { asked: None, fresh: true })
        })
    }

    fn keep(&self, outcome: Outcome) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

/// Shows nothing of the answer, which holds the token.
impl fmt::Debug for TokenWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenWire").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for TokenWire {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let headers = request.headers().iter().filter_map(|(name, value)| {
            let name = HeaderName::try_from(name.as_str()).ok()?;
            Some((name, HeaderValue::from_str(value.as_str()).ok()?))
        });
        let body = match request.body() {
            Body::Bytes(bytes) => Some(bytes.clone()),
            Body::SeekableStream(_) => None,
        };
        let method = match self.service {
            Service::Entra => Method::POST,
            Service::Metadata => Method::GET,
        };
        let body = body.filter(|bytes| !bytes.is_empty());
        let (url, headers) = (request.url().clone(), HeaderMap::from_iter(headers));
        let outgoing = Outgoing { method, url, headers, body, caps: Caps::SMALL };
        let outcome = match self.service {
            Service::Entra => self.link.attempt(Endpoint::Token, outgoing, self.fresh).await,
            Service::Metadata => self.ask_metadata(outgoing).await,
        };
        let passed_on = match &outcome {
            Ok(answer) if answer.status.is_success() => {
                Ok(AsyncRawResponse::from_bytes(answer.status.as_u16().into(), Headers::new(), answer.body.clone()))
            }
            Ok(answer) => Err(format!("status {}", answer.status)),
            Err(failure) => Err(failure.error.message.clone()),
        };
        self.keep(outcome);
        passed_on.map_err(|message| Error::with_message(ErrorKind::Other, message))
    }
}
