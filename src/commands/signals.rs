//! The signals that end the program: SIGINT (Ctrl-C) and SIGTERM.

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Failure;

/// A token that the first signal cancels. The second signal ends the process as if there were no
/// handler at all.
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

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
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
