//! The signals that end the program: SIGINT (Ctrl-C) and SIGTERM.

#[cfg(unix)]
use signal_hook::{consts::SIGINT, flag::register_conditional_default};
#[cfg(unix)]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
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

#[cfg(unix)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Once true, SIGINT does what it does by default. The handler itself looks at it, so this works
    /// even when every thread is stuck.
    stopping: Arc<AtomicBool>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt()).map_err(Failure::other)?;
        let terminate = signal(SignalKind::terminate()).map_err(Failure::other)?;
        let stopping = Arc::new(AtomicBool::new(false));
        register_conditional_default(SIGINT, stopping.clone()).map_err(Failure::other)?;
        Ok(Self { interrupt, terminate, stopping })
    }

    async fn first(mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        };
        self.stopping.store(true, Ordering::SeqCst);
        name
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
