//! Connections: accepting, serving and draining them.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::deadlines::Deadlines;
use super::{Server, route};

/// Prometheus sends seven; a browser behind a few proxies about thirty.
const MAX_HEADERS: usize = 100;
/// The request line and all headers. A browser's cookies for the host are the largest part.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// hyper's read and write buffers, of which the headers are the only user: bodies are not read, and
/// are written from where they are.
const MAX_BUFFER_BYTES: usize = 2 * MAX_HEADER_BYTES;
/// The first and the longest pause after the system could give no connection, as when it is out of
/// descriptors: short enough for the next scrape, long enough not to burn a core.
const ACCEPT_PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(1);

/// Accepts on every listener until the stop, then waits for what is in flight.
pub(super) async fn accept_all(listeners: Vec<TcpListener>, stop: CancellationToken, server: Arc<Server>) {
    let drain = server.state.limits.drain;
    let acceptor = Acceptor {
        slots: Arc::new(Semaphore::new(server.state.limits.connections)),
        open: TaskTracker::new(),
        stop,
        cut: CancellationToken::new(),
        server,
    };
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(acceptor.clone().accept(listener));
    }
    loops.join_all().await;
    acceptor.open.close();
    if time::timeout(drain, acceptor.open.wait()).await.is_err() {
        warn!(connections = acceptor.open.len(), "Connections did not end in time and are cut");
        acceptor.cut.cancel();
        acceptor.open.wait().await;
    }
}

#[derive(Clone)]
struct Acceptor {
    server: Arc<Server>,
    /// One permit for each connection.
    slots: Arc<Semaphore>,
    /// The connections' tasks.
    open: TaskTracker,
    /// No more requests.
    stop: CancellationToken,
    /// No more anything.
    cut: CancellationToken,
}

impl Acceptor {
    async fn accept(self, listener: TcpListener) {
        let mut pause = *ACCEPT_PAUSE.start();
        let accept = async {
            loop {
                // A slot first: a connection that cannot be served stays in the system's queue.
                let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        pause = *ACCEPT_PAUSE.start();
                        self.open.spawn(self.clone().drive(stream, slot));
                    }
                    Err(error) if concerns_one_connection(&error) => {
                        debug!(%error, "A connection ended before it began")
                    }
                    Err(error) => {
                        // Once for each time of need, not for each try.
                        if pause == *ACCEPT_PAUSE.start() {
                            warn!(%error, "Cannot accept connections and keeps trying");
                        }
                        time::sleep(pause).await;
                        pause = (2 * pause).min(*ACCEPT_PAUSE.end());
                    }
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => info!("Listening no more"),
            () = accept => {}
        }
    }

    async fn drive(self, stream: TcpStream, _slot: OwnedSemaphorePermit) {
        // Answers are written whole; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let limits = &self.server.state.limits;
        let io = TokioIo::new(Deadlines::new(stream, limits.request, limits.response));
        let service = service_fn(|request| {
            let server = self.server.clone();
            async move { Ok::<_, Infallible>(route::answer(server, request).await) }
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
        let serve = async {
            tokio::select! {
                result = connection.as_mut() => return result,
                () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            connection.await
        };
        tokio::select! {
            () = self.cut.cancelled() => {}
            result = serve => if let Err(error) = result {
                debug!(error = &error as &dyn std::error::Error, "A connection ended badly");
            },
        }
    }
}

/// The listener is as good as before.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused | E::Interrupted)
}
