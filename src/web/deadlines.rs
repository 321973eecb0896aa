//! A connection whose client must hurry: it fails where a request is not answered, or an answer not
//! read, in time. (Idleness between requests is hyper's to see: it alone knows where they end.)

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream with a deadline for each request and each answer. A client that sends or reads a byte now
/// and then does not move it.
#[derive(Debug)]
pub(super) struct Deadlines<T> {
    io: T,
    /// Runs from the first byte of a request until the server reads no more of it: hyper does not read while
    /// an answer is made, so how long that takes is no client's fault.
    request: Deadline,
    /// Runs from the first time that the client's system takes no more to the answer's last byte.
    response: Deadline,
}

impl<T> Deadlines<T> {
    pub(super) fn new(io: T, request: Duration, response: Duration) -> Self {
        Self { io, request: Deadline::new(request), response: Deadline::new(response) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Deadlines<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Pending => this.request.poll(cx),
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > before {
                    this.request.start();
                }
                Poll::Ready(Ok(()))
            }
            failed => failed,
        }
    }
}

impl<T: AsyncWrite + Unpin> Deadlines<T> {
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.request.stop();
        match write(Pin::new(&mut self.io), cx) {
            Poll::Pending => self.wait_for_reader(cx),
            // No end yet: the answer may have more.
            written => written,
        }
    }

    /// TLS takes what it is given to write and holds it back; that the client's system takes no more shows
    /// in the flush alone.
    fn poll_send_all(
        &mut self,
        cx: &mut Context<'_>,
        send: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        match send(Pin::new(&mut self.io), cx) {
            Poll::Pending => self.wait_for_reader(cx),
            sent => {
                self.response.stop();
                sent
            }
        }
    }

    /// Fails once the answer has waited too long.
    fn wait_for_reader<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.response.start();
        ready!(self.response.poll(cx))?;
        Poll::Pending
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

    /// hyper flushes when it has nothing left to write, so a flush that ends is the end of an answer.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send_all(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send_all(cx, |io, cx| io.poll_shutdown(cx))
    }
}

#[derive(Debug)]
struct Deadline {
    limit: Duration,
    running: bool,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        Self { limit, running: false, timer: Box::pin(tokio::time::sleep(limit)) }
    }

    /// Starts it, unless it is running already.
    fn start(&mut self) {
        if !self.running {
            self.running = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
    }

    fn stop(&mut self) {
        self.running = false;
    }

    /// Fails once the deadline has passed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.running {
            return Poll::Pending;
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, DuplexStream};

    use super::*;

    const REQUEST: Duration = Duration::from_secs(10);
    const RESPONSE: Duration = Duration::from_secs(30);
    const PIPE_BYTES: usize = 64;

    fn pair() -> (Deadlines<DuplexStream>, DuplexStream) {
        let (server, client) = tokio::io::duplex(PIPE_BYTES);
        (Deadlines::new(server, REQUEST, RESPONSE), client)
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
    async fn an_idle_connection_has_no_deadline_here() {
        let (mut server, mut client) = pair();
        let late = tokio::time::timeout(10 * REQUEST, server.read_u8()).await;
        assert!(late.is_err(), "{late:?}");
        client.write_all(b"?").await.unwrap();
        server.read_u8().await.unwrap();
        server.write_all(b"!").await.unwrap();
        server.flush().await.unwrap();
        let late = tokio::time::timeout(10 * REQUEST, server.read_u8()).await;
        assert!(late.is_err(), "an answer ends the request's deadline: {late:?}");
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
        (Deadlines::new(BufWriter::with_capacity(100 * PIPE_BYTES, server), REQUEST, RESPONSE), client)
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
