//! Driving one connection: from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::super::body::Body;
use super::super::deadlines::Deadlines;
use super::super::exchange::{self, Connection};
use super::super::{Limits, Server, http2, tls};
use super::orders::{Order, Orders};
use super::slots::Slot;

/// The request line and all headers. A browser's cookies for the host are the largest part.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// hyper's read and write buffers, of which the headers are the only user: bodies are not read, and
/// are written from where they are.
const MAX_BUFFER_BYTES: usize = 2 * MAX_HEADER_BYTES;

/// Serves the requests of a connection until either side ends it, with no more of them after the stop. The slot
/// is the last to go.
pub(super) async fn drive<T>(
    stream: T,
    slot: Slot,
    must_close: CancellationToken,
    stop: CancellationToken,
    server: Arc<Server>,
) where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let limits = &server.state.limits;
    let (tls, door) = server.state.access.door();
    let mut orders = Orders::new(must_close, stop, door.clone());
    let connection =
        Arc::new(Connection { server: server.clone(), occupant: slot.occupant(), door, host: OnceLock::new() });
    let answer = |request| {
        // At once: from a complete request on, no other connection takes the slot.
        let answering = connection.occupant.begin();
        exchange::answer(&connection, request, answering)
    };
    let result = match tls {
        None => serve_http1(stream, answer, limits, &mut orders).await,
        Some(config) => {
            let shaken = tokio::select! {
                _ = orders.next() => return,
                shaken = tls::accept(stream, config, limits.request) => shaken,
            };
            match shaken {
                Ok(stream) if tls::is_http2(&stream) => http2::serve(stream, answer, limits, &mut orders).await,
                Ok(stream) => serve_http1(stream, answer, limits, &mut orders).await,
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

async fn serve_http1<T, F, A>(stream: T, answer: F, limits: &Limits, orders: &mut Orders) -> Result<(), hyper::Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Result<Response<Body>, Infallible>>,
{
    let io = TokioIo::new(Deadlines::new(stream, limits));
    let connection = http1::Builder::new()
        // `Deadlines` sees to that.
        .header_read_timeout(None)
        // Not `max_headers`: a hundred is hyper's own limit, and saying so would cost each request an allocation.
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(MAX_BUFFER_BYTES)
        // A client may close its side once it has asked, as `nc -N` does.
        .half_close(true)
        .serve_connection(io, service_fn(answer));
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            order = orders.next() => match order {
                Order::Finish => connection.as_mut().graceful_shutdown(),
                Order::Close => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_no_more_is_cut_in_time() {
        let [idle, request] = [75, 10].map(Duration::from_secs);
        let limits = Limits { idle, request, ..Limits::default() };
        let whole = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for (said, answered, limit) in [(whole, true, idle), ("", false, idle), (&whole[..20], false, request)] {
            let (server, mut client) = tokio::io::duplex(1 << 16);
            let served = tokio::spawn(async move {
                let page = |_| async { Ok(Response::new(Body::new(vec![Bytes::from_static(b"page")], ()))) };
                serve_http1(server, page, &limits, &mut Orders::none()).await
            });
            let start = Instant::now();
            client.write_all(said.as_bytes()).await.unwrap();
            let mut read = Vec::new();
            client.read_to_end(&mut read).await.unwrap();
            assert_eq!((start.elapsed(), read.ends_with(b"page")), (limit, answered), "{said:?}");
            // Silence between requests is no error.
            assert!(served.await.unwrap().is_ok() || !answered, "{said:?}");
        }
    }
}
