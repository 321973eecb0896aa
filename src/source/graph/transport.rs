//! One attempt of a request: connections, TLS, time-outs and size limits. Knows no tokens and no
//! retries.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use super::body::{BodyError, BodyReader, Caps};
use super::errors::one_line;
use super::retry::{Failure, Retry, Timeouts, answer_date};
use super::url::{is_local, shown};
use crate::source::SourceError;
use crate::status::FailureReason;

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// What goes out.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
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
}

/// Clients that trust the same certificates.
pub(super) struct Transport {
    /// For the world outside, by the environment's proxy where it names one.
    outside: Pools,
    /// For this machine and the one below. A proxy must not see what goes there, least of all a token in plain text.
    local: Pools,
    caps: Caps,
}

struct Pools {
    pooled: reqwest::Client,
    /// Never keeps a connection: each request has its own.
    unpooled: reqwest::Client,
}

/// Polls of one tenant never overlap, so one connection carries nearly everything.
const IDLE_CONNECTIONS: usize = 2;

impl Transport {
    /// Trusts the system's certificates and those of `ca_file`.
    pub fn new(ca_file: Option<&Path>, timeouts: Timeouts, caps: Caps) -> Result<Self, SourceError> {
        let tls = tls_config(ca_file)?;
        Ok(Self { outside: Pools::new(&tls, timeouts, true)?, local: Pools::new(&tls, timeouts, false)?, caps })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn send(&self, outgoing: &Outgoing, fresh: bool) -> Result<Answer, Failure> {
        let pools = if is_local(&outgoing.url) { &self.local } else { &self.outside };
        let client = if fresh { &pools.unpooled } else { &pools.pooled };
        let mut request =
            client.request(outgoing.method.clone(), outgoing.url.clone()).headers(outgoing.headers.clone());
        request = request.header(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some(body) = &outgoing.body {
            request = request.body(body.clone());
        }
        let failed = |error: reqwest::Error| request_failure(&error, outgoing);
        let mut response = request.send().await.map_err(failed)?;
        let caps = if response.status().is_success() { self.caps } else { Caps::SMALL };
        let unusable = |error: BodyError| body_failure(&error, outgoing);
        let mut body = BodyReader::new(response.headers(), caps).map_err(unusable)?;
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.push(&chunk).map_err(unusable)?;
        }
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        Ok(Answer { status, headers, body: body.finish().map_err(unusable)? })
    }
}

impl Pools {
    fn new(tls: &rustls::ClientConfig, timeouts: Timeouts, proxied: bool) -> Result<Self, SourceError> {
        let build = |idle_connections: usize| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(USER_AGENT)
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(timeouts.connect)
                .read_timeout(timeouts.read)
                .timeout(timeouts.total)
                .pool_max_idle_per_host(idle_connections);
            let builder = if proxied { builder } else { builder.no_proxy() };
            builder.build().map_err(|error| {
                SourceError::new(FailureReason::Internal, format!("the HTTP client cannot be built: {}", chain(&error)))
            })
        };
        Ok(Self { pooled: build(IDLE_CONNECTIONS)?, unpooled: build(0)? })
    }
}

fn tls_config(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, SourceError> {
    let mut roots = rustls::RootCertStore::empty();
    // A system without certificates can still reach a service that `ca_file` vouches for, and a
    // certificate that cannot be read is no reason to distrust the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        add_certificates(&mut roots, path).map_err(|why| {
            let message = format!("ca_file {}: {}", path.display(), one_line(&why));
            SourceError::new(FailureReason::Credential, message)
        })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SourceError::new(FailureReason::Internal, format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn add_certificates(roots: &mut rustls::RootCertStore, path: &Path) -> Result<(), String> {
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        found = true;
    }
    if found { Ok(()) } else { Err("holds no PEM certificate".to_owned()) }
}

fn request_failure(error: &reqwest::Error, outgoing: &Outgoing) -> Failure {
    let text = chain(error);
    let retry = Retry::After { asked: None, fresh: true };
    let (reason, retry, remedy) = if error.is_timeout() {
        let remedy = "; the service or the way to it is slow: a smaller source.page_size asks for less at a time";
        (FailureReason::Timeout, retry, remedy)
    } else if cause::<rustls::Error>(error).is_some() {
        // A certificate does not get better within a minute.
        let remedy = "; if the service or a proxy has its certificate from a private authority, name that in ca_file";
        (FailureReason::Connection, Retry::Never, remedy)
    } else if error.is_connect() && text.contains("dns error") {
        (
            FailureReason::Connection,
            retry,
            "; check the host name in the configuration and this machine's name resolution",
        )
    } else if error.is_body() || error.is_decode() {
        (FailureReason::InvalidResponse, retry, "; the answer was cut off")
    } else if error.is_builder() {
        (FailureReason::Internal, Retry::Never, "")
    } else {
        (FailureReason::Connection, retry, "")
    };
    let message = format!("{} {}: {text}{remedy}", outgoing.method, shown(&outgoing.url));
    Failure { error: SourceError::new(reason, message), retry }
}

fn body_failure(error: &BodyError, outgoing: &Outgoing) -> Failure {
    let (reason, retry, remedy) = match error {
        BodyError::TooLarge(_) => {
            (FailureReason::TooLarge, Retry::Never, "; a smaller source.page_size makes smaller answers")
        }
        BodyError::DamagedGzip => (FailureReason::InvalidResponse, Retry::After { asked: None, fresh: true }, ""),
        BodyError::UnknownEncoding(_) => (FailureReason::InvalidResponse, Retry::Never, ""),
    };
    let message = format!("{} {}: {error}{remedy}", outgoing.method, shown(&outgoing.url));
    Failure { error: SourceError::new(reason, message), retry }
}

/// Every cause in one line, outermost first, without repetitions and without the address, whose query
/// may hold what nobody should read.
fn chain(error: &reqwest::Error) -> String {
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
