//! The routes, and what answers each of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::access::{Door, Rules};
use super::answer::{Answer, RETRY_AFTER_SECONDS};
use super::body::Body;
use super::connection::{Answering, Client, Full, Occupant, Place};
use super::reload::reload;
use super::status::StatusPage;
use super::{Server, landing, refusal, request};
use crate::exposition::{HttpMetrics, Path, Rendered, Wanted};

const LANDING: &str = "/";
const HEALTHY: &str = "/-/healthy";
const READY: &str = "/-/ready";
const RELOAD: &str = "/-/reload";
const CONFIG: &str = "/config";
const STATUS: &str = "/status";
/// The label of requests for anything else.
const OTHER: &str = "other";

/// Which path leads where.
#[derive(Debug)]
pub(super) struct Routes {
    telemetry_path: Box<str>,
    /// Whether `/-/reload` does anything.
    lifecycle: bool,
    /// What requests are counted under: those of each route, and all others.
    counted: [Path; Route::ALL.len()],
    other: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Telemetry,
    Landing,
    Healthy,
    Ready,
    Reload,
    Config,
    Status,
}

impl Route {
    /// In their order. A telemetry path of a slash takes the landing page away.
    const ALL: [Self; 7] =
        [Self::Telemetry, Self::Landing, Self::Healthy, Self::Ready, Self::Reload, Self::Config, Self::Status];

    fn path(self, telemetry_path: &str) -> &str {
        match self {
            Self::Telemetry => telemetry_path,
            Self::Landing => LANDING,
            Self::Healthy => HEALTHY,
            Self::Ready => READY,
            Self::Reload => RELOAD,
            Self::Config => CONFIG,
            Self::Status => STATUS,
        }
    }

    /// The methods that it answers.
    fn methods(self) -> [Method; 2] {
        match self {
            Self::Reload => [Method::POST, Method::PUT],
            _ => [Method::GET, Method::HEAD],
        }
    }

    /// The statuses that are expected of it.
    fn codes(self, lifecycle: bool) -> &'static [u16] {
        match self {
            Self::Telemetry => &[200, 500, 503],
            Self::Landing | Self::Healthy | Self::Ready | Self::Status => &[200, 503],
            Self::Reload if lifecycle => &[200, 500, 503, 504],
            Self::Reload => &[403],
            Self::Config => &[200],
        }
    }
}

impl Routes {
    /// Has the requests of every route counted.
    pub(super) fn new(telemetry_path: &str, lifecycle: bool, http: &HttpMetrics) -> Self {
        let counted = Route::ALL.map(|route| http.path(route.path(telemetry_path)));
        Self { telemetry_path: telemetry_path.into(), lifecycle, counted, other: http.path(OTHER) }
    }

    fn find(&self, path: &str) -> Option<Route> {
        Route::ALL.into_iter().find(|route| *path == *route.path(&self.telemetry_path))
    }

    fn counted(&self, route: Option<Route>) -> Path {
        route.map_or(self.other, |route| self.counted[route as usize])
    }

    /// Starts the counters of every path at zero, also with these statuses of refusals.
    pub(super) fn declare(&self, http: &HttpMetrics, refusing: &[u16]) {
        for route in Route::ALL {
            http.declare(self.counted(Some(route)), &[route.codes(self.lifecycle), refusing].concat());
        }
        http.declare(self.other, &[&[400, 404, 405], refusing].concat());
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
    } else if [HEALTHY, READY, RELOAD, CONFIG, STATUS].contains(&path) {
        "is another page's"
    } else {
        return Ok(());
    };
    Err(InvalidTelemetryPath { why })
}

/// What a request comes by.
pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) occupant: Arc<Occupant>,
    pub(super) door: Arc<Door>,
}

/// Answers one request; refuses it where the connection may not begin an answer, or came by a door that is no
/// longer in force. Its body is dropped unread, upon which hyper closes the connection after the answer, or skips
/// what has come already.
pub(super) async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
    answering: Option<Answering>,
) -> Result<Response<Body>, Infallible> {
    let arrived = Instant::now();
    let Connection { server, door, .. } = &*connection;
    let in_flight = server.state.http.begin();
    let access = server.state.access.current();
    let route = server.routes.find(request.uri().path());
    let mut answer = match &answering {
        None => refusal::crowded(request.version()),
        // The rules of this moment take for granted what their own connections have proved. (HTTP/2 takes
        // streams until the client has heard the farewell.)
        Some(_) if !access.stands_behind(door) => refusal::superseded(request.version()),
        Some(answering) => checked(server, &access, route, &request, answering.client()).await,
    };
    if request.method() == Method::HEAD {
        answer = answer.without_body();
    }
    access.decorate(&mut answer.headers);
    server.state.http.answered(server.routes.counted(route), answer.status.as_u16(), arrived.elapsed());
    Ok(answer.into_response((in_flight, answering)))
}

/// The answer to a request on a connection that may be answered.
async fn checked(
    server: &Arc<Server>,
    access: &Rules,
    route: Option<Route>,
    request: &Request<Incoming>,
    client: Client,
) -> Answer {
    if let Some(problem) = request::problem(request) {
        return refusal::malformed(request.version(), problem);
    }
    match access.admit(client, request.headers()).await {
        Ok(()) => admitted(server, route, request, client).await,
        Err(refused) => refusal::denied(refused),
    }
}

/// The answer to a request that the web configuration admits.
async fn admitted(server: &Arc<Server>, route: Option<Route>, request: &Request<Incoming>, client: Client) -> Answer {
    match (route, request.method()) {
        _ if request::is_for_no_page(request) => refusal::not_allowed("GET, HEAD"),
        (None, _) => Answer::text(StatusCode::NOT_FOUND, "There is no such page.\n"),
        (Some(route), method) if route.methods().contains(method) => {
            respond(server, route, request.headers(), client).await
        }
        (Some(Route::Reload), _) => refusal::not_allowed("POST, PUT"),
        (Some(_), _) => refusal::not_allowed("GET, HEAD"),
    }
}

async fn respond(server: &Arc<Server>, route: Route, headers: &HeaderMap, client: Client) -> Answer {
    match route {
        Route::Landing => {
            made(server, client, || Answer::html(landing::page(&server.state, ready(server)), &server.policy))
        }
        Route::Telemetry => scrape(server, Wanted::from_headers(headers), client).await,
        Route::Healthy => match server.state.status.stalled() {
            stalled if stalled.is_empty() => Answer::text(StatusCode::OK, "Healthy.\n"),
            stalled => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("Stalled: {}.\n", stalled.join(", "))),
        },
        Route::Ready if ready(server) => Answer::text(StatusCode::OK, "Ready.\n"),
        Route::Ready => {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Not ready: the first poll of every tenant has yet to end.\n")
        }
        Route::Reload => reload(&server.state).await,
        Route::Config => match server.state.status.configuration() {
            // Browsers show plain text, and would save YAML.
            Some(configuration) => Answer::text(StatusCode::OK, configuration.yaml),
            None => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "No configuration is loaded yet.\n"),
        },
        Route::Status => made(server, client, || Answer::json(&StatusPage::new(&server.state, ready(server)))),
    }
}

/// A page that is made for its request, and in memory until it is sent.
fn made(server: &Server, client: Client, page: impl FnOnce() -> Answer) -> Answer {
    match server.pages.take(client) {
        Ok(place) => page().holding(place),
        Err(_) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are being served; try again later.\n")
            .with(RETRY_AFTER, RETRY_AFTER_SECONDS),
    }
}

fn ready(server: &Server) -> bool {
    if server.state.status.ready() {
        server.ready.store(true, Ordering::Relaxed);
    }
    server.ready.load(Ordering::Relaxed)
}

/// Renders on a thread that may block where more than a little has to be encoded: that takes tens of
/// milliseconds for a hundred tenants, in which this one has polls and probes to serve.
async fn scrape(server: &Arc<Server>, wanted: Wanted, client: Client) -> Answer {
    let place = match server.scrapes.take(client) {
        Ok(place) => place,
        Err(full) => {
            let message = match full {
                Full::Taken(scrapes) => format!("{scrapes} scrapes are being served already; try again later.\n"),
                Full::Share(scrapes) => {
                    format!("{scrapes} scrapes of this address are being served; try again later.\n")
                }
            };
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, message).with(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
    };
    let exposition = &server.state.exposition;
    if let Some(rendered) = exposition.render_if_ready(wanted) {
        return exposed(rendered, place);
    }
    let exposition = exposition.clone();
    // The place goes along: a client that hangs up does not make room for another before the work ends.
    let render = move || (exposition.render(wanted), place);
    match tokio::task::spawn_blocking(render).await {
        Ok((rendered, place)) => exposed(rendered, place),
        Err(error) => Answer::internal(&error),
    }
}

fn exposed(rendered: prometheus::Result<Rendered>, place: Place) -> Answer {
    match rendered {
        Ok(rendered) => Answer::metrics(rendered).holding(place),
        Err(error) => Answer::internal(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn routes(telemetry_path: &str) -> Routes {
        Routes::new(telemetry_path, false, &HttpMetrics::new(clock::now).unwrap())
    }

    #[test]
    fn routes_are_in_their_order() {
        assert!(Route::ALL.iter().enumerate().all(|(place, route)| place == *route as usize));
    }

    #[test]
    fn paths_are_matched_whole() {
        let routes = routes("/metrics");
        assert_eq!(routes.find("/"), Some(Route::Landing));
        assert_eq!(routes.find("/metrics"), Some(Route::Telemetry));
        for path in ["/metrics/", "/metric", "//", "", "*", "/-/", "/status/x"] {
            assert_eq!(routes.find(path), None, "{path}");
        }
    }

    #[test]
    fn a_telemetry_path_of_slash_takes_the_landing_page_away() {
        let routes = routes("/");
        assert_eq!(routes.find("/"), Some(Route::Telemetry));
        assert_eq!(routes.find("/metrics"), None);
    }

    #[test]
    fn telemetry_paths() {
        for path in ["/", "/metrics", "/a/b.txt", "/-/metrics"] {
            assert_eq!(check_telemetry_path(path), Ok(()));
        }
        for path in ["", "metrics", "/me trics", "/a?b", "/ä", "/%20", "/config", "/status", "/-/healthy", "/-/reload"]
        {
            let error = check_telemetry_path(path).unwrap_err().to_string();
            assert!(error.ends_with("; choose another, such as /metrics"), "{path}: {error}");
        }
    }
}
