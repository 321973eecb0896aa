//! What answers each route.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use super::answer::{Answer, RETRY_AFTER_SECONDS};
use super::connection::{Client, Full, Place};
use super::reload::reload;
use super::route::Route;
use super::status::StatusPage;
use super::{Server, landing};
use crate::exposition::{Rendered, Wanted};

/// An answer, or how to wait for it. Few have to wait, and only those are moved about with all that they need for
/// that, in a box.
pub(super) enum Made {
    Now(Answer),
    Later(BoxFuture<'static, Answer>),
}

impl From<Answer> for Made {
    fn from(answer: Answer) -> Self {
        Self::Now(answer)
    }
}

impl Made {
    pub(super) fn later(answer: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self::Later(Box::pin(answer))
    }

    pub(super) async fn answer(self) -> Answer {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}

/// The answer of a route to a client that it is for.
pub(super) fn respond(server: &Arc<Server>, route: Route, headers: &HeaderMap, client: Client) -> Made {
    let answer = match route {
        Route::Telemetry => return scrape(server, Wanted::from_headers(headers), client),
        Route::Reload => {
            let server = server.clone();
            return Made::later(async move { reload(&server.state).await });
        }
        Route::Landing => {
            page(server, client, || Answer::html(landing::page(&server.state, is_ready(server)), &server.policy))
        }
        Route::Healthy => match server.state.status.stalled() {
            stalled if stalled.is_empty() => Answer::text(StatusCode::OK, "Healthy.\n"),
            stalled => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("Stalled: {}.\n", stalled.join(", "))),
        },
        Route::Ready if is_ready(server) => Answer::text(StatusCode::OK, "Ready.\n"),
        Route::Ready => {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Not ready: the first poll of every tenant has yet to end.\n")
        }
        Route::Config => match server.state.status.configuration() {
            // Browsers show plain text, and would save YAML.
            Some(configuration) => Answer::text(StatusCode::OK, configuration.yaml),
            None => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "No configuration is loaded yet.\n"),
        },
        Route::Status => page(server, client, || Answer::json(&StatusPage::new(&server.state, is_ready(server)))),
    };
    answer.into()
}

/// A page that is made for its request, and in memory until it is sent.
fn page(server: &Server, client: Client, make: impl FnOnce() -> Answer) -> Answer {
    match server.pages.take(client) {
        Ok(place) => make().holding(place),
        Err(_) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Too many pages are being served; try again later.\n")
            .with(RETRY_AFTER, RETRY_AFTER_SECONDS),
    }
}

fn is_ready(server: &Server) -> bool {
    if server.state.status.ready() {
        server.ready.store(true, Ordering::Relaxed);
    }
    server.ready.load(Ordering::Relaxed)
}

/// Renders on a thread that may block where more than a little has to be encoded: that takes tens of
/// milliseconds for a hundred tenants, in which this one has polls and probes to serve.
fn scrape(server: &Arc<Server>, wanted: Wanted, client: Client) -> Made {
    let place = match server.scrapes.take(client) {
        Ok(place) => place,
        Err(full) => {
            let message = match full {
                Full::Taken(scrapes) => format!("{scrapes} scrapes are being served already; try again later.\n"),
                Full::Share(scrapes) => {
                    format!("{scrapes} scrapes of this address are being served; try again later.\n")
                }
            };
            let answer = Answer::text(StatusCode::SERVICE_UNAVAILABLE, message);
            return answer.with(RETRY_AFTER, RETRY_AFTER_SECONDS).into();
        }
    };
    let exposition = &server.state.exposition;
    if let Some(rendered) = exposition.render_if_ready(wanted) {
        return exposed(rendered, place).into();
    }
    let exposition = exposition.clone();
    // The place goes along: a client that hangs up does not make room for another before the work ends.
    let render = move || (exposition.render(wanted), place);
    Made::later(async {
        match tokio::task::spawn_blocking(render).await {
            Ok((rendered, place)) => exposed(rendered, place),
            Err(error) => Answer::internal(&error),
        }
    })
}

fn exposed(rendered: prometheus::Result<Rendered>, place: Place) -> Answer {
    match rendered {
        Ok(rendered) => Answer::metrics(rendered).holding(place),
        Err(error) => Answer::internal(&error),
    }
}
