//! The signals that end the program, SIGINT (Ctrl-C) and SIGTERM, and the one that has it reload, SIGHUP.

#[cfg(unix)]
use signal_hook::consts::{SIGINT, SIGTERM};
#[cfg(unix)]
use signal_hook::flag;
#[cfg(unix)]
use std::sync::{Arc, atomic::AtomicBool};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Failure;

/// A token that the first signal cancels: the program then stops in good order. On Unix, Ctrl-C while
/// it is stopping ends it at once, as if there were no handler; what was shown is on disk all the
/// same. A further SIGTERM changes nothing: supervisors repeat it, and have SIGKILL for when they
/// lose patience.
pub(super) fn stop() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    let signals = Signals::new()?;
    tokio::spawn(async move {
        let name = signals.first().await;
        info!(signal = name, "Stopping");
        cancelled.cancel();
    });
    Ok(stop)
}

/// SIGHUP, from the moment that this is made: before, it ends the program. Many that arrive together are
/// one.
pub(super) struct Hangups {
    #[cfg(unix)]
    signal: Signal,
}

impl Hangups {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {
            #[cfg(unix)]
            signal: signal(SignalKind::hangup()).map_err(Failure::other)?,
        })
    }

    /// Waits for the next one. Other systems have no such signal.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        if self.signal.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Failure> {
        arm().map_err(Failure::other)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(Failure::other)?;
        let terminate = signal(SignalKind::terminate()).map_err(Failure::other)?;
        Ok(Self { interrupt, terminate })
    }

    async fn first(mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Has the first signal see to it that a later SIGINT does what it does by default. All of this
/// happens within the handlers, so it works even when every thread is stuck. They run in the order of
/// their registration: a signal must look at the flag before it sets it, or the first one kills.
#[cfg(unix)]
fn arm() -> std::io::Result<()> {
    let stopping = Arc::new(AtomicBool::new(false));
    flag::register_conditional_default(SIGINT, stopping.clone())?;
    flag::register(SIGINT, stopping.clone())?;
    flag::register(SIGTERM, stopping)?;
    Ok(())
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Self, Failure> {
        Ok(Self)
    }

    async fn first(self) -> &'static str {
        // Without a handler for Ctrl-C the system ends the process, as it should then.
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    }
}
