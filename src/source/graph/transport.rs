//! One attempt of a request: connections, TLS, time-outs and size limits. Knows no tokens and no
//! retries.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::body::{BodyError, BodyReader, Caps};
use super::errors::one_line;
use super::network::{Network, Proxied, Routes};
use super::retry::{Failure, Retry, Timeouts, answer_date, retry_after};
use super::trust::certificate_remedy;
use super::url::shown;
use crate::config::{self, ProxyUrl};
use crate::source::SourceError;
use crate::status::FailureReason;

/// What goes out.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    /// Bounds of an answer with a status of success; any other is small.
    pub caps: Caps,
}

/// What came back, whole and inflated.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, without its content encoding.
    pub body: Bytes,
}

impl Answer {
    /// `Date`: the service's clock.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        answer_date(&self.headers).map(DateTime::from)
    }

    /// `Retry-After`: how long the service asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }
}

/// The way out of one tenant's requests.
pub(super) struct Transport {
    routes: Routes,
}

impl Transport {
    /// By the ways that `network` has for the tenant.
    pub fn new(network: &Network, tenant: &config::Tenant, timeouts: Timeouts) -> Result<Self, SourceError> {
        Ok(Self { routes: network.routes(tenant, timeouts)? })
    }

    /// The proxy by which requests to an address go, and what names it.
    pub fn proxy(&self, url: &Url) -> Option<(&'static str, &ProxyUrl)> {
        self.routes.to(url).1.map(|proxied| (proxied.whence, &proxied.url))
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn send(&self, outgoing: &Outgoing, fresh: bool) -> Result<Answer, Failure> {
        let (pools, proxied) = self.routes.to(&outgoing.url);
        let client = if fresh { &pools.unpooled } else { &pools.pooled };
        let mut request =
            client.request(outgoing.method.clone(), outgoing.url.clone()).headers(outgoing.headers.clone());
        request = request.header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some(body) = &outgoing.body {
            request = request.body(body.clone());
        }
        let failed = |error: reqwest::Error| request_failure(&error, outgoing, proxied);
        let mut response = request.send().await.map_err(failed)?;
        let caps = if response.status().is_success() { outgoing.caps } else { Caps::SMALL };
        let unusable = |error: BodyError| body_failure(&error, outgoing);
        let mut body = BodyReader::new(response.headers(), caps).map_err(unusable)?;
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.push(&chunk).map_err(unusable)?;
        }
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        Ok(Answer { status, headers, body: body.finish().map_err(unusable)? })
    }
}

fn request_failure(error: &reqwest::Error, outgoing: &Outgoing, proxied: Option<&Proxied>) -> Failure {
    let text = error_chain(error);
    let again = Retry::After { asked: None, fresh: true };
    let connecting = proxied.filter(|_| error.is_connect());
    let (reason, retry, remedy) = if let Some(tls) = cause::<rustls::Error>(error) {
        let (retry, remedy) = no_tls(tls, error.is_connect());
        (FailureReason::Connection, retry, remedy)
    } else if let Some((retry, remedy)) = connecting.and_then(|proxied| refused(&text, proxied)) {
        (FailureReason::Connection, retry, remedy)
    } else if text.contains("keep-alive timed out") {
        let remedy = "; the connection is dead: a firewall or proxy on the way may have dropped it";
        (FailureReason::Connection, again, remedy.to_owned())
    } else if error.is_connect() && error.is_timeout() {
        (FailureReason::Timeout, again, nothing_answers(proxied))
    } else if error.is_timeout() {
        let less = remedy(": ", outgoing.caps, " asks for less at a time");
        (FailureReason::Timeout, again, format!("; the service or the way to it is slow{less}"))
    } else if error.is_connect() && text.contains("dns error") {
        let remedy = "; check the host name in the configuration and this machine's name resolution";
        (FailureReason::Connection, again, remedy.to_owned())
    } else if error.is_body() || error.is_decode() {
        (FailureReason::InvalidResponse, again, "; the answer was cut off".to_owned())
    } else if error.is_builder() {
        (FailureReason::Internal, Retry::Never, String::new())
    } else {
        (FailureReason::Connection, again, String::new())
    };
    let by = proxied.map(|proxied| format!(" by the proxy {}", proxied.url)).unwrap_or_default();
    let message = format!("{} {}{by}: {text}{remedy}", outgoing.method, shown(&outgoing.url));
    Failure { error: SourceError::new(reason, message), retry }
}

/// What TLS that failed needs.
fn no_tls(error: &rustls::Error, connecting: bool) -> (Retry, String) {
    match error {
        // A certificate does not get better within a minute.
        rustls::Error::InvalidCertificate(why) => (Retry::Never, format!("; {}", certificate_remedy(why))),
        _ if connecting => {
            (Retry::After { asked: None, fresh: true }, "; is this the address of an https service?".to_owned())
        }
        _ => (Retry::After { asked: None, fresh: true }, String::new()),
    }
}

/// What to look at where no connection was there in time.
fn nothing_answers(proxied: Option<&Proxied>) -> String {
    match proxied {
        Some(Proxied { whence, .. }) => {
            format!("; no way through the proxy in time: check {whence} and that the proxy reaches the host")
        }
        None => "; nothing answers there in time: check name resolution and firewall, or whether a proxy is needed \
                 (proxy_url)"
            .to_owned(),
    }
}

/// What a proxy that made no tunnel needs. The client tells the cases apart by its words only.
fn refused(text: &str, proxied: &Proxied) -> Option<(Retry, String)> {
    let whence = proxied.whence;
    let again = Retry::After { asked: None, fresh: true };
    if text.contains("proxy authorization required") {
        return Some((Retry::Never, format!("; the proxy wants a user and a password (407): set them in {whence}")));
    }
    if text.contains("tunnel error: failed to create underlying connection") {
        return Some((again, format!("; the proxy itself cannot be reached: check {whence} and that the proxy runs")));
    }
    text.contains("tunnel error").then(|| {
        let list = if whence == "proxy_url" { "no_proxy" } else { "NO_PROXY" };
        let remedy = format!(
            "; the proxy does not let this host or user through, or cannot reach the host, as its log says: allow the \
             host there, check the user in {whence}, or leave the proxy out for the host by {list}"
        );
        (again, remedy)
    })
}

fn body_failure(error: &BodyError, outgoing: &Outgoing) -> Failure {
    let (reason, retry, remedy) = match error {
        BodyError::TooLarge(_) => {
            (FailureReason::TooLarge, Retry::Never, remedy("; ", outgoing.caps, " makes smaller answers"))
        }
        BodyError::DamagedGzip => {
            (FailureReason::InvalidResponse, Retry::After { asked: None, fresh: true }, String::new())
        }
        BodyError::UnknownEncoding(_) => (FailureReason::InvalidResponse, Retry::Never, String::new()),
    };
    let message = format!("{} {}: {error}{remedy}", outgoing.method, shown(&outgoing.url));
    Failure { error: SourceError::new(reason, message), retry }
}

/// What makes for a smaller answer, between two pieces of a sentence; nothing where nothing does.
fn remedy(before: &str, caps: Caps, after: &str) -> String {
    if caps.remedy.is_empty() { String::new() } else { format!("{before}{}{after}", caps.remedy) }
}

/// Every cause in one line, outermost first, without repetitions and without the address, whose query
/// may hold what nobody should read.
pub(super) fn error_chain(error: &reqwest::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let url = error.url().map(Url::as_str);
    for cause in causes(error) {
        let mut text = one_line(&cause.to_string());
        // rustls says where its manual explains, which helps nobody here.
        if let Some(end) = text.find(": https://docs.rs/") {
            text.truncate(end);
        }
        if let Some(url) = url {
            text = text.replace(&format!(" for url ({url})"), "").replace(url, "…");
        }
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

fn cause<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// An error and its causes. An `io::Error` hides the error that it wraps from `source`, so it is asked.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let wrapped = |error: &'e (dyn StdError + 'static)| {
        let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
        Some(inner as &'e (dyn StdError + 'static))
    };
    std::iter::successors(Some(error), move |&error| wrapped(error).or_else(|| error.source()))
}
