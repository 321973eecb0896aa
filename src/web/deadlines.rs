//! A connection whose client must hurry: it fails where no request comes, a request is not complete, or an
//! answer not read, in time.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

use super::Limits;

/// A stream with a deadline for what its client has to do next. A client that sends or reads a byte now and
/// then does not move it.
///
/// hyper has a timer of its own for idleness and headers, but makes it anew for each request, for which it may
/// wake a thread that sleeps until the timers before.
#[derive(Debug)]
pub(super) struct Deadlines<T> {
    io: T,
    limits: Limits,
    phase: Phase,
    /// Goes off at the phase's deadline or before it; then it is set anew.
    timer: Pin<Box<Sleep>>,
    /// Whom it wakes then.
    waker: Waker,
}

/// Who is waited for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The client, to ask for something.
    Idle(Instant),
    /// The client, to send the rest of its request. Runs from the first byte until the server reads no more
    /// of it: hyper does not read while an answer is made, so how long that takes is no client's fault.
    Request(Instant),
    /// This server.
    Answer,
    /// The client, to read. Runs from the first time that its system takes no more to the answer's last byte.
    Reader(Instant),
}

impl<T> Deadlines<T> {
    pub(super) fn new(io: T, limits: &Limits) -> Self {
        let idle = Instant::now() + limits.idle;
        let timer = Box::pin(tokio::time::sleep_until(idle));
        Self { io, limits: *limits, phase: Phase::Idle(idle), timer, waker: Waker::noop().clone() }
    }

    /// Fails once the phase has lasted too long.
    fn hurry<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let (Phase::Idle(deadline) | Phase::Request(deadline) | Phase::Reader(deadline)) = self.phase else {
            return Poll::Pending;
        };
        let waits = self.timer.deadline() <= deadline && !self.timer.is_elapsed();
        if waits && self.waker.will_wake(cx.waker()) {
            // As it mostly does: asking it costs more than all else here.
            return Poll::Pending;
        }
        self.waker.clone_from(cx.waker());
        loop {
            if self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            // Whatever is left of the task's budget: without any, it would not keep whom to wake.
            ready!(pin!(unconstrained(self.timer.as_mut())).poll(cx));
            if self.timer.deadline() == deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(deadline);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Deadlines<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let Poll::Ready(read) = Pin::new(&mut this.io).poll_read(cx, buf) else { return this.hurry(cx) };
        if buf.filled().len() > before && matches!(this.phase, Phase::Idle(_)) {
            this.phase = Phase::Request(Instant::now() + this.limits.request);
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> Deadlines<T> {
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if matches!(self.phase, Phase::Idle(_) | Phase::Request(_)) {
            self.phase = Phase::Answer;
        }
        match write(Pin::new(&mut self.io), cx) {
            Poll::Pending => self.wait_for_reader(cx),
            // No end yet: the answer may have more.
            written => written,
        }
    }

    /// Fails once the answer has waited too long.
    fn wait_for_reader<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        if self.phase == Phase::Answer {
            self.phase = Phase::Reader(Instant::now() + self.limits.response);
        }
        self.hurry(cx)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Deadlines<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, |io, cx| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes when it has nothing left to write, so a flush that ends is the end of an answer, if one
    /// was written. TLS takes what it is given to write and holds it back; that the client's system takes no
    /// more shows here alone.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Poll::Ready(flushed) = Pin::new(&mut this.io).poll_flush(cx) else { return this.wait_for_reader(cx) };
        if matches!(this.phase, Phase::Answer | Phase::Reader(_)) {
            this.phase = Phase::Idle(Instant::now() + this.limits.idle);
        }
        Poll::Ready(flushed)
    }

    /// The farewell of TLS has to be read as an answer has.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Poll::Pending = Pin::new(&mut this.io).poll_shutdown(cx)? else { return Poll::Ready(Ok(())) };
        if !matches!(this.phase, Phase::Reader(_)) {
            this.phase = Phase::Answer;
        }
        this.wait_for_reader(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream};

    use super::*;

    const IDLE: Duration = Duration::from_secs(75);
    const REQUEST: Duration = Duration::from_secs(10);
    const RESPONSE: Duration = Duration::from_secs(30);
    const PIPE_BYTES: usize = 64;

    fn limits() -> Limits {
        Limits { idle: IDLE, request: REQUEST, response: RESPONSE, ..Limits::default() }
    }

    fn pair() -> (Deadlines<DuplexStream>, DuplexStream) {
        let (server, client) = tokio::io::duplex(PIPE_BYTES);
        (Deadlines::new(server, &limits()), client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_drips_is_cut_at_its_deadline() {
        let (mut server, mut client) = pair();
        let start = Instant::now();
        let drip = async {
            loop {
                client.write_all(b"x").await.unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        };
        let read = async {
            loop {
                if let Err(error) = server.read_u8().await {
                    return error;
                }
            }
        };
        let error = tokio::select! { error = read => error, () = drip => unreachable!() };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), REQUEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_cut_where_nothing_is_asked_for() {
        let (mut server, mut client) = pair();
        for _ in 0..3 {
            tokio::time::sleep(IDLE / 2).await;
            client.write_all(b"?").await.unwrap();
            server.read_u8().await.unwrap();
            // However long the answer takes to be made.
            tokio::time::sleep(IDLE / 2).await;
            server.write_all(b"!").await.unwrap();
            server.flush().await.unwrap();
            client.read_u8().await.unwrap();
            let early = tokio::time::timeout(Duration::ZERO, server.read_u8()).await;
            assert!(early.is_err(), "{early:?}");
        }
        let answered = Instant::now();
        // A flush of nothing ends no answer.
        tokio::time::sleep(IDLE / 2).await;
        server.flush().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(answered.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_without_budget_is_woken_all_the_same() {
        use tokio::task::coop::{consume_budget, has_budget_remaining};
        let (mut server, _client) = pair();
        let start = Instant::now();
        // One that has yet to be polled, where nothing is left.
        let mut read = pin!(server.read_u8());
        while has_budget_remaining() {
            consume_budget().await;
        }
        assert!(std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
        let cut = tokio::time::timeout(2 * IDLE, read).await.expect("it is woken");
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_new_is_cut_where_nothing_is_asked_for() {
        let (mut server, _client) = pair();
        let start = Instant::now();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_amid_a_request_gives_it_no_more_time() {
        let (mut server, mut client) = pair();
        client.write_all(b"?").await.unwrap();
        server.read_u8().await.unwrap();
        let start = Instant::now();
        tokio::time::sleep(REQUEST / 2).await;
        server.flush().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), REQUEST);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_read_by_drips_is_cut_at_its_deadline() {
        let (mut server, mut client) = pair();
        let start = Instant::now();
        let drip = async {
            loop {
                client.read_u8().await.unwrap();
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
        };
        let write = async { server.write_all(&[0; 10 * PIPE_BYTES]).await.unwrap_err() };
        let error = tokio::select! { error = write => error, () = drip => unreachable!() };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), RESPONSE);
    }

    /// A stream that, as TLS does, takes whatever is written and sends it in the flush, and its client.
    fn holding_back() -> (Deadlines<BufWriter<DuplexStream>>, DuplexStream) {
        let (server, client) = tokio::io::duplex(PIPE_BYTES);
        (Deadlines::new(BufWriter::with_capacity(100 * PIPE_BYTES, server), &limits()), client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_that_waits_for_its_reader_is_cut_at_its_deadline() {
        let (mut server, mut client) = holding_back();
        server.write_all(&[0; 10 * PIPE_BYTES]).await.unwrap();
        let start = Instant::now();
        let drip = async {
            loop {
                client.read_u8().await.unwrap();
                tokio::time::sleep(Duration::from_secs(7)).await;
            }
        };
        let error = tokio::select! {
            flushed = server.flush() => flushed.unwrap_err(),
            () = drip => unreachable!(),
            () = tokio::time::sleep(10 * RESPONSE) => panic!("it waits forever"),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), RESPONSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_farewell_that_waits_for_its_reader_is_cut_at_its_deadline() {
        let (mut server, _client) = holding_back();
        server.write_all(&[0; 10 * PIPE_BYTES]).await.unwrap();
        let start = Instant::now();
        let farewell = tokio::time::timeout(10 * RESPONSE, server.shutdown()).await;
        let error = farewell.expect("it ends").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), RESPONSE);
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_deadline() {
        let (mut server, mut client) = pair();
        for _ in 0..3 {
            let read = async {
                tokio::time::sleep(RESPONSE / 2).await;
                client.read_exact(&mut [0; 2 * PIPE_BYTES]).await.unwrap();
            };
            let write = async {
                server.write_all(&[0; 2 * PIPE_BYTES]).await.unwrap();
                server.flush().await.unwrap();
            };
            tokio::join!(read, write);
        }
    }
}
