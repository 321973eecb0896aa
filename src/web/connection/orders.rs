//! What a connection is told while it is served.

use std::future::pending;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::super::access::Door;

/// What a connection is told, either once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Order {
    /// To end when the answers under way are sent.
    Finish,
    /// To end now.
    Close,
}

/// Tells a connection what to do. The tokens are looked at only once they have woken this: each look takes locks,
/// and a connection's task runs for every packet.
#[derive(Debug)]
pub(in crate::web) struct Orders(FuturesUnordered<BoxFuture<'static, Order>>);

impl Orders {
    pub(in crate::web) fn new(must_close: CancellationToken, stop: CancellationToken, door: Arc<Door>) -> Self {
        let orders = Self::none();
        orders.0.push(Box::pin(async move {
            must_close.cancelled().await;
            debug!("A connection is closed: it makes room for another, or did not end in time");
            Order::Close
        }));
        orders.0.push(Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = door.superseded() => debug!("A connection ends: the web configuration has changed what it asks of connections"),
            }
            Order::Finish
        }));
        orders
    }

    /// That tell nothing.
    pub(in crate::web) fn none() -> Self {
        Self(FuturesUnordered::new())
    }

    /// Waits for the next one.
    pub(in crate::web) async fn next(&mut self) -> Order {
        match self.0.next().await {
            Some(order) => order,
            None => pending().await,
        }
    }

    /// Waits until the connection has to end now.
    pub(in crate::web) async fn close(&mut self) {
        while self.next().await != Order::Close {}
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn each_comes_once_and_when_it_is_given() {
        let [must_close, stop] = [(); 2].map(|()| CancellationToken::new());
        let mut orders = Orders::new(must_close.clone(), stop.clone(), Arc::default());
        assert_eq!(orders.next().now_or_never(), None);
        stop.cancel();
        assert_eq!(orders.next().await, Order::Finish);
        assert_eq!(orders.next().now_or_never(), None);
        must_close.cancel();
        assert_eq!(orders.next().await, Order::Close);
        assert_eq!(orders.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn who_waits_for_the_close_passes_over_the_other() {
        let [must_close, stop] = [(); 2].map(|()| CancellationToken::new());
        let mut orders = Orders::new(must_close.clone(), stop.clone(), Arc::default());
        stop.cancel();
        assert_eq!(orders.close().now_or_never(), None);
        must_close.cancel();
        orders.close().await;
        assert_eq!(Orders::none().next().now_or_never(), None);
    }
}
