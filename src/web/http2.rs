//! HTTP/2: its bounds, and the time that its answers and connections have.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{self, Instant};
use tracing::debug;

use super::Limits;
use super::body::Body;
use super::connection::{Order, Orders};

/// Requests of one connection at a time, each of which may wait for its window. A scraper has one, a browser
/// a page and what is on it.
const MAX_STREAMS: u32 = 32;
/// All headers of a request, as HTTP/1.1 has it here.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Bodies of requests are not read, so clients may send the least that HTTP/2 has for a start.
const WINDOW_BYTES: u32 = 64 * 1024 - 1;
/// Streams that the client reset before they were looked at, at a time; beyond it the connection ends. A
/// client that floods with resets has no use, and one that gives up on requests has few of them.
const MAX_PENDING_RESETS: usize = 20;
/// Streams of one connection that broke the protocol. An honest client has none.
const MAX_ERRORS: usize = 100;
/// A client is asked after so long whether it is still there, and has the time of a request to say so. Well
/// below the idle time, so that one that is gone frees its connection soon.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Serves the requests of a connection until either side ends it; this one by its orders, or where an answer or
/// the next request takes too long.
///
/// # Errors
/// What ended it badly.
pub(super) async fn serve<T, F, A>(
    stream: T,
    answer: F,
    limits: &Limits,
    orders: &mut Orders,
) -> Result<(), hyper::Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Fn(Request<Incoming>) -> A,
    A: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    let answers = Arc::new(Answers::new());
    let service = service_fn(|request| {
        let (open, answer) = (answers.begin(), answer(request));
        async move { Ok::<_, Infallible>(answer.await?.map(|body| body.holding(open))) }
    });
    let mut connection = pin!(builder(limits).serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        result = connection.as_mut() => return result,
        order = orders.next() => {
            if order == Order::Close {
                return Ok(());
            }
        }
        outstayed = answers.outstayed(limits) => {
            debug!(?outstayed, "An HTTP/2 connection takes longer than it may");
            if outstayed == Outstayed::Answer {
                return Ok(());
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    // Until the answers that are under way have been sent.
    tokio::select! {
        ended = time::timeout(longest_answer(limits), connection) => ended.unwrap_or(Ok(())),
        () = orders.close() => Ok(()),
    }
}

fn builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERRORS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(limits.request);
    builder
}

/// From a request's headers to the last byte of its answer. A client may leave the answer's window closed
/// and stay alive in every other way, so the answer's own time has to end it.
fn longest_answer(limits: &Limits) -> Duration {
    limits.request + limits.response
}

/// The answers of a connection that are under way.
#[derive(Debug)]
struct Answers(Mutex<Open>);

#[derive(Debug)]
struct Open {
    /// When each of them was asked for, by its number.
    begun: BTreeMap<u64, Instant>,
    next: u64,
    /// When the last of them ended, or the connection began.
    last_end: Instant,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outstayed {
    /// An answer was not sent to its end in its time.
    Answer,
    /// Nothing was asked for.
    Idle,
}

impl Answers {
    fn new() -> Self {
        Self(Mutex::new(Open { begun: BTreeMap::new(), next: 0, last_end: Instant::now() }))
    }

    fn begin(self: &Arc<Self>) -> Answering {
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.begun.insert(number, Instant::now());
        drop(open);
        Answering { answers: self.clone(), number }
    }

    /// Waits until the connection has to end.
    async fn outstayed(&self, limits: &Limits) -> Outstayed {
        let answer = longest_answer(limits);
        loop {
            let (deadline, outstayed) = {
                let open = self.open();
                match open.begun.first_key_value() {
                    Some((_, begun)) => (*begun + answer, Outstayed::Answer),
                    None => (open.last_end + limits.idle, Outstayed::Idle),
                }
            };
            let now = Instant::now();
            if deadline <= now {
                return outstayed;
            }
            // Neither deadline of what begins or ends meanwhile is before this.
            time::sleep_until(deadline.min(now + answer.min(limits.idle))).await;
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that is under way until this is dropped.
#[derive(Debug)]
struct Answering {
    answers: Arc<Answers>,
    number: u64,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut open = self.answers.open();
        open.begun.remove(&self.number);
        open.last_end = Instant::now();
    }
}

#[cfg(test)]
mod tests;
