//! The HTTP server.
//!
//! | path | what |
//! |---|---|
//! | `/` | landing page: links and a table of the tenants; gone where the telemetry path is `/` |
//! | the telemetry path, `/metrics` | the exposition; at most `max_requests` at a time, and half of them for one address, else 503 |
//! | `/-/healthy` | 200 while every loop beats, else 503 and their names; never depends on Graph |
//! | `/-/ready` | 503 until the first polls have ended or totals were restored; 200 ever after |
//! | `/config` | the configuration in force as YAML, without secrets |
//! | `/status` | the table as JSON |
//! | `/-/reload` | POST or PUT: reloads the configuration, then 200, or 500 and why not; 504 where that takes longer, 503 if too many wait; 403 unless enabled |
//! | any other | 404 |
//!
//! Elsewhere GET and HEAD are answered, other methods with 405. Bodies of requests are not read.
//!
//! Everything that a client can hold is bounded: connections, the size and number of headers, the time
//! that a request may take to come, the time an answer may take to be read, and idleness. When
//! connections run out, the one that has waited longest without a request makes room for another.
//! At a stop, listeners close at once, answers in flight go out within a deadline, and the rest is cut.

mod access;
mod answer;
mod body;
mod connection;
mod deadlines;
mod descriptors;
mod exchange;
mod http2;
mod landing;
mod listen;
mod page;
mod refusal;
mod reload;
mod request;
mod respond;
mod route;
mod status;
pub mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderValue;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::exposition::{Exposition, HttpMetrics};
use crate::status::Status;
use connection::Shares;
use route::Routes;

pub use access::{Access, AccessError};
pub use listen::{Listener, Passed, SocketError, bind};
pub use route::{InvalidTelemetryPath, check_telemetry_path};

/// Pages that are made anew for each request, at a time, and half of them for one client. With a thousand
/// tenants that fail each is some 2.5 MB.
const PAGES: usize = 32;

/// What the server serves, and how.
#[derive(Debug)]
pub struct State {
    /// What the telemetry path shows.
    pub exposition: Exposition,
    /// Where requests are counted.
    pub http: HttpMetrics,
    /// What the pages and probes tell.
    pub status: Arc<Status>,
    /// The web configuration in force.
    pub access: Arc<Access>,
    /// Where reloads are asked for; `None` where that is not allowed over HTTP.
    pub reloads: Option<mpsc::Sender<ReloadRequest>>,
    /// The program's version, for the pages.
    pub version: &'static str,
    /// When the program started, for the pages.
    pub started: DateTime<Utc>,
    /// The clock, for ages on the landing page.
    pub now: fn() -> DateTime<Utc>,
    /// `--web.telemetry-path`: one that [`check_telemetry_path`] allows.
    pub telemetry_path: String,
    /// `--web.max-requests`: how many scrapes are served at a time, half of them to one address at most;
    /// 0 for any number.
    pub max_requests: usize,
    /// The bounds.
    pub limits: Limits,
}

/// A request to reload the configuration: told when it was done, or in one line why it was not. Dropped
/// when the program stops.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What one client may hold, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. For each one more, one that is idle is closed.
    pub connections: usize,
    /// From the first byte of a request to the last of its headers; not what the answer takes to be made. What
    /// comes with the request before counts as idle until there is more of it.
    pub request: Duration,
    /// From the moment that an answer has to wait for its reader to its last byte.
    pub response: Duration,
    /// Without a request, on a new connection or one that is kept alive.
    pub idle: Duration,
    /// From the stop to the last answer.
    pub drain: Duration,
}

impl Limits {
    /// The usual limits, as far as this process has descriptors for as many connections: their limit is
    /// raised first.
    pub fn of_this_process() -> Self {
        let usual = Self::default();
        Self { connections: descriptors::room_for(usual.connections), ..usual }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A few scrapers, probes and browsers use under ten; a busy proxy some hundred. Each costs at
            // most its 32 KiB of buffers.
            connections: 512,
            // Headers come in one packet. Scrapers give up after ten seconds.
            request: Duration::from_secs(10),
            // Megabytes over a poor line. Longer than any scraper waits.
            response: Duration::from_secs(30),
            // Beyond a scrape interval of a minute, and no multiple of any usual one: at an equal interval,
            // each scrape would meet a connection that is being closed.
            idle: Duration::from_secs(75),
            // Well within the ten seconds that container runtimes leave between TERM and KILL.
            drain: Duration::from_secs(5),
        }
    }
}

/// Serves until the stop signal, then drains. The listeners close at the stop.
pub async fn serve<L: Into<Listener>>(listeners: Vec<L>, stop: CancellationToken, state: State) {
    let routes = Routes::new(&state.telemetry_path, state.reloads.is_some(), &state.http);
    // Half of them for one client at most: it need not read what it asks for.
    let (scrapes, share) = match state.max_requests {
        0 => (usize::MAX, usize::MAX),
        scrapes => (scrapes, (scrapes / 2).max(1)),
    };
    let server = Arc::new(Server {
        policy: page::policy(),
        routes,
        scrapes: Shares::new(scrapes, share),
        pages: Shares::new(PAGES, PAGES / 2),
        ready: AtomicBool::new(false),
        state,
    });
    let listeners = listeners.into_iter().map(Into::into).collect();
    tokio::select! {
        biased;
        never = declare(&server) => match never {},
        () = connection::accept_all(listeners, stop, server.clone()) => {}
    }
}

/// Starts series at zero: at once, and those of refusals as soon as there can be any.
async fn declare(server: &Server) -> Infallible {
    let Server { state, routes, .. } = server;
    let mut replaced = state.access.replaced();
    loop {
        routes.declare(&state.http, &state.access.current().refusing_codes());
        if replaced.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// What connections share.
#[derive(Debug)]
struct Server {
    state: State,
    routes: Routes,
    /// The pages' `Content-Security-Policy`.
    policy: HeaderValue,
    /// A place for each scrape that is rendered or not yet sent.
    scrapes: Arc<Shares>,
    /// A place for each page that was made for its request and is not yet sent.
    pages: Arc<Shares>,
    /// Once ready, always ready.
    ready: AtomicBool,
}
