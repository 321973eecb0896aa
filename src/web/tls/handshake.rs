//! The first bytes of a connection: a handshake, or plain HTTP by mistake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::{CertificateError, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::HTTP2;

/// What a plain request is told.
const NOT_HTTPS: &str = "TLS is spoken here: ask with https:// instead of http://.\n";
/// What is read of a plain request, so that it does not break off before its client reads the answer.
const MAX_PLAIN_BYTES: u64 = 64 * 1024;

/// Why there is no TLS on a connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::web) enum HandshakeError {
    #[error("the handshake took too long")]
    Slow,
    #[error("the client spoke plain HTTP and was told so")]
    PlainHttp,
    #[error("{0}")]
    Failed(String),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        // Our own reason to refuse a certificate would be shown as a structure.
        let tls = error.get_ref().and_then(|held| held.downcast_ref());
        Self::Failed(match tls {
            Some(rustls::Error::InvalidCertificate(CertificateError::Other(reason))) => reason.to_string(),
            _ => error.to_string(),
        })
    }
}

/// Shakes hands within the time limit. A client that speaks plain HTTP is answered so.
pub(in crate::web) async fn accept<T>(
    stream: T,
    config: Arc<ServerConfig>,
    limit: Duration,
) -> Result<TlsStream<Begun<T>>, HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = async {
        let mut stream = stream;
        let first = stream.read_u8().await?;
        // TLS begins with a number, HTTP with the capitals of a method.
        if first.is_ascii_uppercase() {
            tell_plain_client(stream).await?;
            return Err(HandshakeError::PlainHttp);
        }
        Ok(TlsAcceptor::from(config).accept(Begun { first: Some(first), stream }).await?)
    };
    time::timeout(limit, handshake).await.unwrap_or(Err(HandshakeError::Slow))
}

/// Whether the handshake agreed on HTTP/2.
pub(in crate::web) fn is_http2<T>(stream: &TlsStream<T>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

async fn tell_plain_client<T: AsyncRead + AsyncWrite + Unpin>(mut stream: T) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{NOT_HTTPS}",
        NOT_HTTPS.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_PLAIN_BYTES), &mut tokio::io::sink()).await?;
    Ok(())
}

/// A stream whose first byte has been looked at.
#[derive(Debug)]
pub(in crate::web) struct Begun<T> {
    first: Option<u8>,
    stream: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Begun<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() > 0
            && let Some(first) = this.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Begun<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
