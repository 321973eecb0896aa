//! Bodies that misbehave on purpose.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// What a body does next.
#[derive(Debug)]
pub(super) enum Step {
    /// Sends this.
    Data(Bytes),
    /// Sends this so many times.
    Repeat(Bytes, u64),
    /// Sends nothing for so long.
    Stall(Duration),
    /// Breaks off, and the connection with it.
    Cut,
}

/// A body that goes through its steps.
pub(super) struct Script {
    steps: VecDeque<Step>,
    stalled: Option<Pin<Box<Sleep>>>,
    flushed: bool,
}

impl Script {
    /// A body of these steps.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), stalled: None, flushed: false }
    }
}

impl From<Vec<u8>> for Script {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new((!bytes.is_empty()).then(|| Step::Data(bytes.into())))
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(sleep) = &mut self.stalled {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.stalled = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Step::Repeat(_, 0)) => {}
                Some(Step::Repeat(data, times)) => {
                    self.steps.push_front(Step::Repeat(data.clone(), times - 1));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Step::Stall(duration)) => self.stalled = Some(Box::pin(tokio::time::sleep(duration))),
                Some(Step::Cut) if self.flushed => {
                    return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset))));
                }
                Some(Step::Cut) => {
                    // What was sent before must reach the client, so the server gets a turn to flush.
                    self.flushed = true;
                    self.steps.push_front(Step::Cut);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.stalled.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let mut length = 0;
        for step in &self.steps {
            match step {
                Step::Data(data) => length += data.len() as u64,
                Step::Repeat(..) | Step::Stall(_) | Step::Cut => return SizeHint::default(),
            }
        }
        SizeHint::with_exact(length)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll(script: &mut Script) -> Poll<Option<Result<Bytes, io::ErrorKind>>> {
        let frame = Pin::new(script).poll_frame(&mut Context::from_waker(Waker::noop()));
        frame.map(|frame| frame.map(|frame| frame.map(|f| f.into_data().unwrap()).map_err(|error| error.kind())))
    }

    fn data(text: &'static str) -> Poll<Option<Result<Bytes, io::ErrorKind>>> {
        Poll::Ready(Some(Ok(Bytes::from_static(text.as_bytes()))))
    }

    #[tokio::test]
    async fn a_body_goes_through_its_steps() {
        let text = Bytes::from_static(b"a");
        let mut script =
            Script::new([Step::Repeat(text.clone(), 2), Step::Cut, Step::Data(text), Step::Stall(Duration::MAX)]);
        assert_eq!(script.size_hint().exact(), None);
        assert_eq!([poll(&mut script), poll(&mut script)], [data("a"), data("a")]);
        assert_eq!(poll(&mut script), Poll::Pending, "the server may flush");
        assert_eq!(poll(&mut script), Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset))));
        assert_eq!(poll(&mut script), data("a"));
        assert_eq!([poll(&mut script), poll(&mut script)], [Poll::Pending, Poll::Pending], "it stalls");
        assert!(!script.is_end_stream());
    }

    #[test]
    fn a_plain_body_knows_its_length() {
        let mut script = Script::from(b"abc".to_vec());
        assert_eq!(script.size_hint().exact(), Some(3));
        assert_eq!([poll(&mut script), poll(&mut script)], [data("abc"), Poll::Ready(None)]);
        assert!(Script::from(Vec::new()).is_end_stream());
    }
}
