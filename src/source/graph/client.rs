//! The one client: attaches the token, retries within a poll's budget, and says what went wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;
use uuid::Uuid;

use super::auth::{Credentials, Token};
use super::body::Caps;
use super::claims::Claims;
use super::errors;
use super::network::Network;
use super::rate::Rate;
use super::retry::{Attempt, Budget, Failure, Retry, RetryPolicy};
use super::transport::{Answer, Outgoing, Transport};
use super::url::{is_protected, is_same_origin, shown};
use crate::config::{self, ProxyUrl};
use crate::session::Label as _;
use crate::source::{Endpoint, Observer, SourceError};
use crate::status::FailureReason;

/// A request to the service.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is for.
    pub endpoint: Endpoint,
    /// The method: `GET`, or a `POST` that may be sent again: it only reads, or submits an export job,
    /// and one job more does no harm.
    pub method: Method,
    /// The address.
    pub url: Url,
    /// Headers besides those of every request.
    pub headers: HeaderMap,
    /// A JSON body.
    pub body: Option<Bytes>,
}

/// Why a download did not come.
#[derive(Debug)]
pub enum DownloadError {
    /// The signature has expired, or the file is no longer there.
    Gone(SourceError),
    /// Anything else.
    Failed(SourceError),
}

/// A client of one tenant's service.
pub struct Client {
    origin: Url,
    pub(super) link: Arc<Link>,
    pub(super) credentials: Credentials,
    policy: RetryPolicy,
    rate: Rate,
    /// Bounds of an answer with reports.
    caps: Caps,
}

/// The way out, shared by requests to the service and to the token endpoint: one attempt, reported and
/// logged.
pub(super) struct Link {
    transport: Transport,
    pub observer: Arc<dyn Observer>,
}

impl Client {
    /// A client for a tenant; sends nothing yet.
    pub fn new(
        tenant: &config::Tenant,
        network: &Network,
        observer: Arc<dyn Observer>,
        policy: RetryPolicy,
    ) -> Result<Self, SourceError> {
        Self::with_caps(tenant, network, observer, policy, Caps::PAGE)
    }

    pub(super) fn with_caps(
        tenant: &config::Tenant,
        network: &Network,
        observer: Arc<dyn Observer>,
        policy: RetryPolicy,
        caps: Caps,
    ) -> Result<Self, SourceError> {
        if !is_protected(&tenant.graph_url) {
            let message = format!("graph_url {} is plain http: only loopback may be", shown(&tenant.graph_url));
            return Err(SourceError::new(FailureReason::BadRequest, message));
        }
        let transport = Transport::new(network, tenant, policy.timeouts)?;
        let link = Arc::new(Link { transport, observer });
        let (origin, rate) = (tenant.graph_url.clone(), network.rate(tenant, &policy));
        Ok(Self { origin, link, credentials: Credentials::new(tenant), policy, rate, caps })
    }

    /// A poll's whole patience.
    pub fn budget(&self) -> Budget {
        Budget::new(self.policy.clone())
    }

    /// The proxy by which requests to an address go, and the key or variable that names it.
    pub fn proxy(&self, url: &Url) -> Option<(&'static str, &ProxyUrl)> {
        self.link.transport.proxy(url)
    }

    /// At most this share of it, for what a poll can go without.
    pub fn small_budget(&self, loss: Duration) -> Budget {
        let loss_per_poll = self.policy.loss_per_poll.min(loss);
        Budget::new(RetryPolicy { loss_per_poll, ..self.policy.clone() })
    }

    /// What the token that is sent now says of itself; `None` where none is configured or it is no JSON
    /// Web Token. Asks for one where none is kept.
    ///
    /// # Errors
    /// Where no token can be had.
    pub async fn token_claims(&self, budget: &mut Budget) -> Result<Option<Claims>, SourceError> {
        let token = self.credentials.token(&self.link, budget).await?;
        Ok(token.and_then(|token| token.claims()))
    }

    /// Sends a request, again where that makes sense, until a 2xx answer is there whole.
    pub async fn send(&self, request: &Request, budget: &mut Budget) -> Result<Answer, SourceError> {
        let (mut number, mut fresh, mut renewed) = (1, false, false);
        loop {
            // First, since a turn may be minutes away: a token would grow old by it.
            self.rate.wait(&request.url, &*self.link.observer).await?;
            let token = self.credentials.token(&self.link, budget).await?;
            // The token's own failures have been charged already, and being held back is no failure.
            let attempt = Attempt { number, began: Instant::now() };
            let outcome = self.attempt(request, token.as_ref(), fresh).await;
            if let Ok(answer) = &outcome {
                self.rate.heard(&answer.headers);
            }
            let failure = match outcome {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && !renewed && token.is_some() => {
                    // The token may have been revoked early, or its file rewritten since.
                    renewed = true;
                    self.credentials.forget().await;
                    self.link.observer.retry();
                    continue;
                }
                Ok(answer) => {
                    if answer.status == StatusCode::FORBIDDEN {
                        self.credentials.doubt().await;
                    }
                    let mut failure = errors::failure(&answer, &request.method, &request.url, request.endpoint);
                    if answer.status == StatusCode::UNAUTHORIZED {
                        failure.error.message.push_str(self.credentials.remedy());
                    }
                    failure
                }
                Err(failure) => failure,
            };
            fresh = budget.pause(redacted(failure, token.as_ref()), attempt, &*self.link.observer).await?;
            number += 1;
        }
    }

    /// Downloads a file that the service has left on another host. Neither the token nor anything else
    /// of the service's goes there: the address alone, with the signature in its query, opens the file.
    ///
    /// # Errors
    /// [`DownloadError::Gone`] where another attempt at this address cannot succeed and a new address
    /// may; else as [`Client::send`]. No message holds the query.
    pub async fn download(&self, url: &Url, budget: &mut Budget) -> Result<Bytes, DownloadError> {
        let (mut attempt, mut fresh) = (Attempt::first(), false);
        loop {
            let outgoing = Outgoing {
                method: Method::GET,
                url: url.clone(),
                headers: HeaderMap::new(),
                body: None,
                caps: Caps::ARCHIVE,
            };
            let failure = match self.link.attempt(Endpoint::ExportDownload, outgoing, fresh).await {
                Ok(answer) if answer.status.is_success() => return Ok(answer.body),
                Ok(answer) => {
                    let failure = errors::failure(&answer, &Method::GET, url, Endpoint::ExportDownload);
                    if errors::is_gone(&answer) {
                        return Err(DownloadError::Gone(failure.error));
                    }
                    failure
                }
                Err(failure) => failure,
            };
            fresh = budget.pause(failure, attempt, &*self.link.observer).await.map_err(DownloadError::Failed)?;
            attempt = attempt.next();
        }
    }

    /// Waits before a request is sent again although its answer came: the body was cut short.
    pub async fn pause_after_cut(
        &self,
        error: SourceError,
        attempt: Attempt,
        budget: &mut Budget,
    ) -> Result<(), SourceError> {
        let retry = Retry::After { asked: None, fresh: true };
        budget.pause(Failure { error, retry }, attempt, &*self.link.observer).await.map(drop)
    }

    async fn attempt(&self, request: &Request, token: Option<&Token>, fresh: bool) -> Result<Answer, Failure> {
        let mut headers = request.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if request.body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        // The last line of defence, whoever made the address: the token leaves for this origin only.
        if !is_same_origin(&request.url, &self.origin) {
            let message = format!("{} is not below graph_url", shown(&request.url));
            return Err(Failure { error: SourceError::new(FailureReason::Paging, message), retry: Retry::Never });
        }
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, token.header());
        }
        let caps = match request.endpoint {
            Endpoint::ExportJob => Caps::SMALL,
            endpoint if endpoint.lists_devices() => Caps { remedy: "", ..self.caps },
            _ => self.caps,
        };
        let (method, url) = (request.method.clone(), request.url.clone());
        let outgoing = Outgoing { method, url, headers, body: request.body.clone(), caps };
        self.link.attempt(request.endpoint, outgoing, fresh).await
    }
}

impl Link {
    /// One attempt, under an id of its own.
    pub async fn attempt(&self, endpoint: Endpoint, mut outgoing: Outgoing, fresh: bool) -> Result<Answer, Failure> {
        let id = Uuid::new_v4().to_string();
        if let Ok(value) = HeaderValue::from_str(&id) {
            outgoing.headers.insert("client-request-id", value);
        }
        let started = Instant::now();
        let result = self.transport.send(&outgoing, fresh).await;
        self.report(endpoint, &outgoing, &id, &result, started.elapsed());
        result
    }

    fn report(&self, endpoint: Endpoint, sent: &Outgoing, id: &str, result: &Result<Answer, Failure>, took: Duration) {
        let status = result.as_ref().ok().map(|answer| answer.status);
        self.observer.request(endpoint, status.map(|status| status.as_u16()), took);
        // A download's host has a clock of its own.
        let service = endpoint != Endpoint::ExportDownload;
        if let Some(date) = result.as_ref().ok().and_then(Answer::date).filter(|_| service) {
            self.observer.date(date);
        }
        if status == Some(StatusCode::TOO_MANY_REQUESTS) {
            self.observer.throttled();
        }
        let headers = result.as_ref().ok().map(|answer| &answer.headers);
        let request_id = headers.and_then(|headers| headers.get("request-id")?.to_str().ok());
        tracing::debug!(
            endpoint = endpoint.as_str(),
            method = %sent.method,
            url = shown(&sent.url),
            status = status.map(|status| status.as_u16()),
            error = result.as_ref().err().map(|failure| failure.error.message.as_str()),
            client_request_id = id,
            request_id,
            took_seconds = took.as_secs_f64(),
            "request"
        );
    }
}

/// Some gateways quote the request that they refuse.
fn redacted(mut failure: Failure, token: Option<&Token>) -> Failure {
    if let Some(token) = token {
        failure.error.message = token.redact(&failure.error.message);
    }
    failure
}
