//! The routes, and what answers each of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, RETRY_AFTER,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::error;

use super::access::Refusal;
use super::body::Body;
use super::connection::Answering;
use super::{Server, State, landing};
use crate::exposition::{HttpMetrics, InFlight, Rendered, Wanted};
use crate::status::TenantStatus;

const LANDING: &str = "/";
const HEALTHY: &str = "/-/healthy";
const READY: &str = "/-/ready";
const RELOAD: &str = "/-/reload";
const STATUS: &str = "/status";
/// The label of requests for anything else.
const OTHER: &str = "other";

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// How much of the time for a request a reload may take before the answer says that it takes longer.
const RELOAD_SHARE: f64 = 0.9;
/// When a scraper that was refused may try again, in seconds. A scrape takes milliseconds.
const RETRY_AFTER_SECONDS: &str = "1";
/// What is asked of a client without a password.
const REALM: &str = r#"Basic realm="remote-assistance-exporter", charset="UTF-8""#;

/// Which path leads where.
#[derive(Debug)]
pub(super) struct Routes {
    telemetry_path: Box<str>,
    /// Whether `/-/reload` does anything.
    lifecycle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Landing,
    Telemetry,
    Healthy,
    Ready,
    Reload,
    Status,
}

impl Route {
    /// The methods that it answers.
    fn methods(self) -> [Method; 2] {
        match self {
            Self::Reload => [Method::POST, Method::PUT],
            _ => [Method::GET, Method::HEAD],
        }
    }
}

impl Routes {
    pub(super) fn new(telemetry_path: &str, lifecycle: bool) -> Self {
        Self { telemetry_path: telemetry_path.into(), lifecycle }
    }

    fn find(&self, path: &str) -> Option<Route> {
        match path {
            path if *path == *self.telemetry_path => Some(Route::Telemetry),
            LANDING => Some(Route::Landing),
            HEALTHY => Some(Route::Healthy),
            READY => Some(Route::Ready),
            RELOAD => Some(Route::Reload),
            STATUS => Some(Route::Status),
            _ => None,
        }
    }

    /// The label that requests are counted under.
    fn label(&self, route: Option<Route>) -> &str {
        match route {
            Some(Route::Telemetry) => &self.telemetry_path,
            Some(Route::Landing) => LANDING,
            Some(Route::Healthy) => HEALTHY,
            Some(Route::Ready) => READY,
            Some(Route::Reload) => RELOAD,
            Some(Route::Status) => STATUS,
            None => OTHER,
        }
    }

    /// Starts the series of every path at zero, also with these statuses of refusals.
    pub(super) fn declare(&self, http: &HttpMetrics, refusing: &[u16]) {
        let declare = |path: &str, codes: &[u16]| http.declare(path, &[codes, refusing].concat());
        declare(&self.telemetry_path, &[200, 500, 503]);
        declare(HEALTHY, &[200, 503]);
        declare(READY, &[200, 503]);
        declare(RELOAD, if self.lifecycle { &[200, 500] } else { &[403] });
        declare(STATUS, &[200]);
        declare(OTHER, &[404]);
        if self.find(LANDING) == Some(Route::Landing) {
            declare(LANDING, &[200]);
        }
    }
}

/// Why a telemetry path cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it {why}; choose another, such as /metrics")]
pub struct InvalidTelemetryPath {
    why: &'static str,
}

/// Checks `--web.telemetry-path`.
///
/// # Errors
/// Where it could never be requested, or hides a page.
pub fn check_telemetry_path(path: &str) -> Result<(), InvalidTelemetryPath> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    let why = if !path.starts_with('/') {
        "does not begin with a slash"
    } else if !path.bytes().all(plain) {
        "has characters that a path cannot have unescaped"
    } else if [HEALTHY, READY, RELOAD, STATUS].contains(&path) {
        "is another page's"
    } else {
        return Ok(());
    };
    Err(InvalidTelemetryPath { why })
}

/// Answers one request; refuses it where the connection may not begin an answer. Its body is dropped
/// unread, upon which hyper closes the connection after the answer, or skips what has come already.
pub(super) async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
    answering: Option<Answering>,
) -> Response<Body> {
    let arrived = Instant::now();
    let in_flight = server.state.http.begin();
    let access = server.state.access.current();
    let route = server.routes.find(request.uri().path());
    let mut answer = if answering.is_none() {
        crowded(request.version())
    } else if let Err(refusal) = access.admit(request.headers()).await {
        refused(refusal)
    } else {
        admitted(&server, route, &request).await
    };
    access.decorate(&mut answer.headers);
    server.state.http.answered(server.routes.label(route), answer.status.as_u16(), arrived.elapsed());
    answer.into_response((in_flight, answering))
}

/// The answer to a request that the web configuration admits.
async fn admitted(server: &Arc<Server>, route: Option<Route>, request: &Request<Incoming>) -> Answer {
    match (route, request.method()) {
        _ if !has_one_host(request) => Answer::text(StatusCode::BAD_REQUEST, "One Host header is needed.\n"),
        (None, _) => Answer::text(StatusCode::NOT_FOUND, "There is no such page.\n"),
        (Some(route), method) if route.methods().contains(method) => respond(server, route, request.headers()).await,
        (Some(Route::Reload), _) => not_allowed("POST, PUT"),
        (Some(_), _) => not_allowed("GET, HEAD"),
    }
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Unauthorized => Answer::text(StatusCode::UNAUTHORIZED, "A user's name and password are needed.\n")
            .with(WWW_AUTHENTICATE, REALM),
        Refusal::TooMany(wait) => {
            let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
            Answer::text(StatusCode::TOO_MANY_REQUESTS, "The rate limit is exceeded; try again later.\n")
                .with_value(RETRY_AFTER, seconds)
        }
        Refusal::Busy => {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Too many passwords are being checked; try again later.\n")
                .with(RETRY_AFTER, RETRY_AFTER_SECONDS)
        }
    }
}

/// Half of all connections are answers to this client that it does not read.
fn crowded(version: Version) -> Answer {
    let answer = Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Too many answers to this address are under way.\n")
        .with(RETRY_AFTER, RETRY_AFTER_SECONDS);
    if version < Version::HTTP_2 { answer.with(CONNECTION, "close") } else { answer }
}

fn not_allowed(allowed: &'static str) -> Answer {
    Answer::text(StatusCode::METHOD_NOT_ALLOWED, format!("Methods answered here: {allowed}.\n")).with(ALLOW, allowed)
}

/// HTTP/1.1 demands exactly one Host header (RFC 9112, §3.2); two are how proxies are fooled. HTTP/2 has
/// a field of its own for it (RFC 9113, §8.3.1).
fn has_one_host(request: &Request<Incoming>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 if request.version() == Version::HTTP_2 => request.uri().authority().is_some(),
        0 => request.version() < Version::HTTP_11,
        hosts => hosts == 1,
    }
}

async fn respond(server: &Arc<Server>, route: Route, headers: &HeaderMap) -> Answer {
    match route {
        Route::Landing => {
            let page = landing::page(&server.state, ready(server));
            Answer::new(StatusCode::OK, HTML, page).with_value(CONTENT_SECURITY_POLICY, server.policy.clone())
        }
        Route::Telemetry => scrape(server, Wanted::from_headers(headers)).await,
        Route::Healthy => match server.state.status.stalled() {
            stalled if stalled.is_empty() => Answer::text(StatusCode::OK, "Healthy.\n"),
            stalled => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("Stalled: {}.\n", stalled.join(", "))),
        },
        Route::Ready if ready(server) => Answer::text(StatusCode::OK, "Ready.\n"),
        Route::Ready => {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Not ready: the first poll of every tenant has yet to end.\n")
        }
        Route::Reload => reload(&server.state).await,
        Route::Status => match serde_json::to_vec(&StatusPage::new(&server.state, ready(server))) {
            Ok(json) => Answer::new(StatusCode::OK, JSON, json),
            Err(error) => internal(&error),
        },
    }
}

fn ready(server: &Server) -> bool {
    if server.state.status.ready() {
        server.ready.store(true, Ordering::Relaxed);
    }
    server.ready.load(Ordering::Relaxed)
}

/// Has the configuration reloaded, and waits until it is. A client that hangs up does not stop it.
async fn reload(state: &State) -> Answer {
    let Some(reloads) = &state.reloads else {
        return Answer::text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.\n");
    };
    let stopping = || Answer::text(StatusCode::SERVICE_UNAVAILABLE, "The exporter is stopping.\n");
    let (request, outcome) = oneshot::channel();
    match reloads.try_send(request) {
        Ok(()) => {}
        Err(TrySendError::Closed(_)) => return stopping(),
        Err(TrySendError::Full(_)) => {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Too many reloads are waiting; try again later.\n")
                .with(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
    }
    // Before the connection would be cut.
    match tokio::time::timeout(state.limits.request.mul_f64(RELOAD_SHARE), outcome).await {
        Ok(Ok(Ok(()))) => Answer::text(StatusCode::OK, "Reloaded.\n"),
        Ok(Ok(Err(refused))) => {
            Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("Failed to reload the configuration: {refused}\n"))
        }
        Ok(Err(_)) => stopping(),
        Err(_) => Answer::text(
            StatusCode::GATEWAY_TIMEOUT,
            "The reload takes long and goes on; the log and exporter_config_last_reload_successful tell how it ends.\n",
        ),
    }
}

/// Renders on a thread that may block where more than a little has to be encoded: that takes tens of
/// milliseconds for a hundred tenants, in which this one has polls and probes to serve.
async fn scrape(server: &Arc<Server>, wanted: Wanted) -> Answer {
    let Ok(permit) = server.scrapes.clone().try_acquire_owned() else {
        let message = format!("{} scrapes are being served already; try again later.\n", server.state.max_requests);
        return Answer::text(StatusCode::SERVICE_UNAVAILABLE, message).with(RETRY_AFTER, RETRY_AFTER_SECONDS);
    };
    let exposition = &server.state.exposition;
    if exposition.is_ready(wanted) {
        return exposed(exposition.render(wanted), permit);
    }
    let exposition = exposition.clone();
    // The permit goes along: a client that hangs up does not make room for another before the work ends.
    let render = move || (exposition.render(wanted), permit);
    match tokio::task::spawn_blocking(render).await {
        Ok((rendered, permit)) => exposed(rendered, permit),
        Err(error) => internal(&error),
    }
}

fn exposed(rendered: prometheus::Result<Rendered>, permit: OwnedSemaphorePermit) -> Answer {
    let rendered = match rendered {
        Ok(rendered) => rendered,
        Err(error) => return internal(&error),
    };
    let Ok(content_type) = HeaderValue::from_str(&rendered.content_type) else {
        return internal(&std::io::Error::other("the content type is no header"));
    };
    let mut answer = Answer::new(StatusCode::OK, TEXT, Bytes::new()).with_value(CONTENT_TYPE, content_type);
    answer.body = rendered.body;
    if let Some(encoding) = rendered.content_encoding {
        answer = answer.with(CONTENT_ENCODING, encoding);
    }
    answer.permit = Some(permit);
    answer
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Answer {
    error!(error, "A page could not be made");
    Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made; the log says why.\n")
}

/// `/status`.
#[derive(Serialize)]
struct StatusPage {
    version: &'static str,
    started: DateTime<Utc>,
    ready: bool,
    tenants: Vec<TenantStatus>,
}

impl StatusPage {
    fn new(state: &State, ready: bool) -> Self {
        Self { version: state.version, started: state.started, ready, tenants: state.status.tenants() }
    }
}

/// An answer in the making.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<Bytes>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Answer {
    fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        // Every page is the state of this moment, and none is to be guessed to be another type.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self { status, headers, body: vec![body.into()], permit: None }
    }

    fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status, TEXT, body)
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        self.with_value(name, HeaderValue::from_static(value))
    }

    fn with_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The request is in flight, and its permit held, until the body is gone. hyper leaves the body
    /// out for HEAD.
    fn into_response(self, under_way: (InFlight, Option<Answering>)) -> Response<Body> {
        let mut response = Response::new(Body::new(self.body, (under_way, self.permit)));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_matched_whole() {
        let routes = Routes::new("/metrics", false);
        assert_eq!(routes.find("/"), Some(Route::Landing));
        assert_eq!(routes.find("/metrics"), Some(Route::Telemetry));
        for path in ["/metrics/", "/metric", "//", "", "*", "/-/", "/status/x"] {
            assert_eq!(routes.find(path), None, "{path}");
        }
    }

    #[test]
    fn a_telemetry_path_of_slash_takes_the_landing_page_away() {
        let routes = Routes::new("/", false);
        assert_eq!(routes.find("/"), Some(Route::Telemetry));
        assert_eq!(routes.find("/metrics"), None);
    }

    #[test]
    fn telemetry_paths() {
        for path in ["/", "/metrics", "/a/b.txt", "/-/metrics"] {
            assert_eq!(check_telemetry_path(path), Ok(()));
        }
        for path in ["", "metrics", "/me trics", "/a?b", "/ä", "/%20", "/status", "/-/healthy", "/-/ready", "/-/reload"]
        {
            let error = check_telemetry_path(path).unwrap_err().to_string();
            assert!(error.ends_with("; choose another, such as /metrics"), "{path}: {error}");
        }
    }
}
