//! The way out that the Azure SDK's credentials are given: our own client, one attempt, and the answer
//! kept as it came. The SDK's error type cannot read the token endpoint's descriptions, so the refusal
//! is read from there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::body::Caps;
use super::client::Link;
use super::retry::Failure;
use super::transport::{Answer, Outgoing};
use crate::source::Endpoint;

/// What became of the last attempt.
type Outcome = Result<Answer, Failure>;

/// One attempt at the token endpoint.
pub(super) struct TokenWire {
    link: Arc<Link>,
    fresh: bool,
    last: Mutex<Option<Outcome>>,
}

impl TokenWire {
    /// An attempt that has not been made yet, on a new connection if `fresh`.
    pub fn new(link: Arc<Link>, fresh: bool) -> Self {
        Self { link, fresh, last: Mutex::new(None) }
    }

    /// What became of the attempt, if it was made.
    pub fn take(&self) -> Option<Outcome> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        let outgoing = Outgoing {
            method: Method::POST,
            url: request.url().clone(),
            headers: HeaderMap::from_iter(headers),
            body,
            caps: Caps::SMALL,
        };
        let outcome = self.link.attempt(Endpoint::Token, outgoing, self.fresh).await;
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
