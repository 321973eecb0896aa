//! The body of an answer: pieces that follow each other, none of them copied.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// Pieces of bytes, and what is given back when the last of them is gone.
#[derive(Debug)]
pub(super) struct Body {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Body {
    /// `held` is dropped when every piece was handed to the system or the connection has ended: what
    /// counts is what is still in memory.
    pub fn new<H: Send + Sync + 'static>(pieces: Vec<Bytes>, held: H) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        let held = Arc::new(held);
        let guarded = |bytes| Bytes::from_owner(Guarded { bytes, _held: held.clone() });
        let pieces: Vec<_> = pieces.into_iter().map(guarded).collect();
        Self { pieces: pieces.into_iter(), left }
    }

    /// The same, with more to give back at the same time.
    pub fn holding<H: Send + Sync + 'static>(self, held: H) -> Self {
        Self::new(self.pieces.collect(), held)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.next();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A piece that keeps what is held.
struct Guarded<H> {
    bytes: Bytes,
    _held: Arc<H>,
}

impl<H> AsRef<[u8]> for Guarded<H> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn pieces_come_in_order_and_hold_until_the_last_is_gone() {
        let (held, more) = (Arc::new(()), Arc::new(()));
        let pieces = vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"c")];
        let mut body = Body::new(pieces, held.clone()).holding(more.clone());
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(3));
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            read.push(frame.unwrap().into_data().unwrap());
        }
        drop(body);
        assert_eq!(read, [&b"ab"[..], b"", b"c"]);
        read.truncate(1);
        assert_eq!([&held, &more].map(Arc::strong_count), [2, 2]);
        drop(read);
        assert_eq!([&held, &more].map(Arc::strong_count), [1, 1]);
    }
}
