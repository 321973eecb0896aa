//! Driving one connection: from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::super::body::Body;
use super::super::deadlines::Deadlines;
use super::super::{Limits, Server, http2, route, tls};
use super::slots::Slot;

/// Prometheus sends seven; a browser behind a few proxies about thirty.
const MAX_HEADERS: usize = 100;
/// The request line and all headers. A browser's cookies for the host are the largest part.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// hyper's read and write buffers, of which the headers are the only user: bodies are not read, and
/// are written from where they are.
const MAX_BUFFER_BYTES: usize = 2 * MAX_HEADER_BYTES;

/// What ends a connection, beside its client.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// No more requests.
    pub(super) stop: CancellationToken,
    /// No more anything.
    pub(super) cut: CancellationToken,
}

/// Serves the requests of a connection until either side ends it. The slot is the last to go.
pub(super) async fn drive<T>(stream: T, slot: Slot, ends: Ends, server: Arc<Server>)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    tokio::select! {
        biased;
        () = ends.cut.cancelled() => {}
        () = slot.claimed() => debug!("A connection that waited made room for another"),
        () = serve(stream, &slot, &ends.stop, &server) => {}
    }
}

async fn serve<T>(stream: T, slot: &Slot, stop: &CancellationToken, server: &Arc<Server>)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let limits = &server.state.limits;
    let occupant = slot.occupant();
    let answer = |request| {
        let answering = occupant.begin();
        route::answer(server.clone(), request, answering)
    };
    let result = match server.state.access.tls() {
        None => serve_http1(stream, answer, limits, stop).await,
        Some(config) => {
            let shaken = tokio::select! {
                () = stop.cancelled() => return,
                shaken = tls::accept(stream, config, limits.request) => shaken,
            };
            match shaken {
                Ok(stream) if tls::is_http2(&stream) => http2::serve(stream, answer, limits, stop).await,
                Ok(stream) => serve_http1(stream, answer, limits, stop).await,
                Err(error) => {
                    debug!(%error, "No TLS on a connection");
                    return;
                }
            }
        }
    };
    if let Err(error) = result {
        debug!(error = &error as &dyn std::error::Error, "A connection ended badly");
    }
}

async fn serve_http1<T, F, A>(
    stream: T,
    answer: F,
    limits: &Limits,
    stop: &CancellationToken,
) -> Result<(), hyper::Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Response<Body>>,
{
    let io = TokioIo::new(Deadlines::new(stream, limits.request, limits.response));
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Runs while a connection is idle as well: the time that `Deadlines` leaves open.
        .header_read_timeout(limits.idle)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        // A client may close its side once it has asked, as `nc -N` does.
        .half_close(true)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
