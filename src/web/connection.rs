//! Connections: accepting them, and draining them at the stop.
//!
//! Which of them there are is the business of `slots`, what is said on each that of `driving`, what each is told
//! that of `orders`, and what one client may take of other scarce things that of `shares`.

mod driving;
mod orders;
mod shares;
mod slots;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::Server;
use super::listen::Listener;
use driving::drive;
use slots::Slots;

pub(super) use orders::{Order, Orders};
pub(super) use shares::{Full, Place, Shares};
pub(super) use slots::{Answering, Client, Occupant};

/// The first and the longest pause after the system could give no connection, as when it is out of
/// descriptors: short enough for the next scrape, long enough not to burn a core.
const ACCEPT_PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(1);

/// Accepts on every listener until the stop, then waits for what is in flight.
pub(super) async fn accept_all(listeners: Vec<Listener>, stop: CancellationToken, server: Arc<Server>) {
    let drain = server.state.limits.drain;
    let acceptor =
        Acceptor { slots: Slots::new(server.state.limits.connections), open: TaskTracker::new(), stop, server };
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(acceptor.clone().accept(listener));
    }
    loops.join_all().await;
    acceptor.open.close();
    if time::timeout(drain, acceptor.open.wait()).await.is_err() {
        warn!(connections = acceptor.open.len(), "Connections did not end in time and are cut");
        acceptor.slots.cut();
        acceptor.open.wait().await;
    }
}

#[derive(Clone)]
struct Acceptor {
    server: Arc<Server>,
    slots: Arc<Slots>,
    /// The connections' tasks.
    open: TaskTracker,
    stop: CancellationToken,
}

impl Acceptor {
    async fn accept(self, listener: Listener) {
        let mut pause = *ACCEPT_PAUSE.start();
        let accept = async {
            loop {
                match listener.accept().await {
                    Ok((stream, address)) => {
                        pause = *ACCEPT_PAUSE.start();
                        let Ok((slot, must_close)) = self.slots.take(address.into()).await else { return };
                        self.open.spawn(drive(stream, slot, must_close, self.stop.clone(), self.server.clone()));
                    }
                    Err(error) if concerns_one_connection(&error) => {
                        debug!(%error, "A connection ended before it began")
                    }
                    Err(error) => {
                        // Once for each time of need, not for each try.
                        if pause == *ACCEPT_PAUSE.start() {
                            warn!(%error, "Cannot accept connections and keeps trying");
                        }
                        // What the system lacks, a connection less gives back.
                        self.slots.claim_one();
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
}

/// The listener is as good as before.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused | E::Interrupted)
}
