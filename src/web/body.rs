//! The body of an answer: pieces that follow each other, none of them copied.

use std::any::Any;
use std::convert::Infallible;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};

/// One frame of all pieces: they go to the system in one call, where each frame would be a call of its
/// own once hyper's buffer is full, and wake the reader each time.
pub(super) struct Body(Option<Pieces>);

/// Pieces of bytes, and what is given back when the last of them is gone.
pub(super) struct Pieces {
    /// The piece that is sent next is the last one here.
    pieces: Vec<Bytes>,
    left: usize,
    held: Box<dyn Any + Send + Sync>,
}

impl Body {
    /// `held` is dropped when every piece was handed to the system or the connection has ended: what
    /// counts is what is still in memory.
    pub fn new(mut pieces: Vec<Bytes>, held: impl Send + Sync + 'static) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        let left = pieces.iter().map(Bytes::len).sum();
        pieces.reverse();
        Self((left > 0).then(|| Pieces { pieces, left, held: Box::new(held) }))
    }

    /// The same, with more to give back at the same time.
    pub fn holding(self, more: impl Send + Sync + 'static) -> Self {
        Self(self.0.map(|pieces| Pieces { held: Box::new((pieces.held, more)), ..pieces }))
    }
}

impl hyper::body::Body for Body {
    type Data = Pieces;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Pieces>, Infallible>>> {
        Poll::Ready(self.0.take().map(|pieces| Ok(Frame::data(pieces))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |pieces| pieces.left as u64))
    }
}

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.last().map_or(&[], Bytes::as_ref)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled = slices.iter_mut().zip(self.pieces.iter().rev());
        filled.map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut sent: usize) {
        self.left -= sent;
        // Pieces that are gone are given back at once: a snapshot's bytes are large.
        while let Some(piece) = self.pieces.last_mut().filter(|_| sent > 0) {
            let of_piece = sent.min(piece.len());
            piece.advance(of_piece);
            sent -= of_piece;
            if piece.is_empty() {
                self.pieces.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use hyper::body::Body as _;

    use super::*;

    fn pieces() -> Vec<Bytes> {
        ["ab", "", "cde", "f"].map(Bytes::from).into()
    }

    #[tokio::test]
    async fn it_is_one_frame_that_holds_until_it_is_gone() {
        let (held, more) = (Arc::new(()), Arc::new(()));
        let mut body = Body::new(pieces(), held.clone()).holding(more.clone());
        assert_eq!(body.size_hint().exact(), Some(6));
        let frame = body.frame().await.unwrap().unwrap().into_data().ok().unwrap();
        assert!(body.is_end_stream() && body.frame().await.is_none());
        drop(body);
        assert_eq!([&held, &more].map(Arc::strong_count), [2, 2]);
        drop(frame);
        assert_eq!([&held, &more].map(Arc::strong_count), [1, 1]);
    }

    #[test]
    fn nothing_is_no_frame() {
        let body = Body::new(vec![Bytes::new()], ());
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }

    #[test]
    fn it_is_read_by_any_steps() {
        for step in 1..=6 {
            let mut body = Body::new(pieces(), ()).0.unwrap();
            let mut read = Vec::new();
            while body.has_remaining() {
                let mut slices = [IoSlice::new(&[]); 2];
                let filled = body.chunks_vectored(&mut slices);
                assert_eq!(filled, body.pieces.len().min(2));
                assert_eq!(&*slices[0], body.chunk());
                let seen: Vec<u8> = slices.iter().flat_map(|slice| slice.iter()).copied().take(step).collect();
                body.advance(seen.len());
                read.extend(seen);
            }
            assert_eq!((read.as_slice(), body.chunk()), (&b"abcdef"[..], &b""[..]), "{step}");
        }
    }

    #[test]
    fn a_piece_that_is_sent_is_given_back() {
        let piece = Bytes::from(vec![1; 10]);
        let mut body = Body::new(vec![piece.clone(), Bytes::from_static(b"rest")], ()).0.unwrap();
        body.advance(9);
        assert!(!piece.is_unique());
        body.advance(1);
        assert!(piece.is_unique());
    }
}
