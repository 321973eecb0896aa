//! What a unit of `Type=notify` waits for: word that the program serves, that it is alive, and that it stops.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::status::Status;

/// Tells systemd, where it asked to be told, that the exporter answers; then that it is alive, as
/// `/-/healthy` does; and at the stop, that it stops.
pub(super) async fn tell(stop: CancellationToken, status: Arc<Status>) {
    notify(State::Ready);
    tokio::select! {
        () = stop.cancelled() => {}
        () = stay_alive(&status) => {}
    }
    notify(State::Stopping);
}

/// Twice in the time that `WatchdogSec=` allows, as long as no loop stalls. systemd then ends the program.
async fn stay_alive(status: &Status) {
    let Some(patience) = patience() else { return std::future::pending().await };
    loop {
        if status.stalled().is_empty() {
            notify(State::Alive);
        }
        tokio::time::sleep(patience / 2).await;
    }
}

#[derive(Clone, Copy)]
enum State {
    Ready,
    Alive,
    Stopping,
}

/// How long systemd waits for word; `None` where it does not.
#[cfg(target_os = "linux")]
fn patience() -> Option<Duration> {
    // Nothing is not a time, and would have this tell without end.
    sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
}

#[cfg(not(target_os = "linux"))]
fn patience() -> Option<Duration> {
    None
}

#[cfg(target_os = "linux")]
fn notify(state: State) {
    use sd_notify::NotifyState;
    let state = match state {
        State::Ready => NotifyState::Ready,
        State::Alive => NotifyState::Watchdog,
        State::Stopping => NotifyState::Stopping,
    };
    // Does nothing where nobody asked: there is no NOTIFY_SOCKET.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "Cannot tell systemd how things stand: look at NOTIFY_SOCKET, or write Type=exec in the unit");
    }
}

#[cfg(not(target_os = "linux"))]
fn notify(_: State) {}
