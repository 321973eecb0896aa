//! What a unit of `Type=notify` waits for: word that the program serves, that it is alive, and that it stops.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::status::Status;

/// Tells systemd, where it asked to be told, that the exporter answers; then that it is alive, as
/// `/-/healthy` does; and at the stop, that it stops.
pub(super) async fn tell(stop: CancellationToken, status: Arc<Status>) {
    notify(State::Ready);
    match patience() {
        Some(patience) => tokio::select! {
            () = stop.cancelled() => {}
            never = stay_alive(&status, patience, || notify(State::Alive)) => match never {},
        },
        None => stop.cancelled().await,
    }
    notify(State::Stopping);
}

/// Tells it twice in the time that `WatchdogSec=` allows, as long as no loop stalls. systemd then ends the
/// program.
async fn stay_alive(status: &Status, patience: Duration, tell: impl Fn()) -> Infallible {
    loop {
        if status.stalled().is_empty() {
            tell();
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stalls_silences_the_word() {
        const PATIENCE: Duration = Duration::from_secs(30);
        let (status, told) = (Status::default(), Cell::new(0));
        let go_on = async || {
            told.set(0);
            let alive = stay_alive(&status, PATIENCE, || told.set(told.get() + 1));
            let _ = tokio::time::timeout(PATIENCE * 3 - PATIENCE / 4, alive).await;
            told.get()
        };
        status.beat("polls", Duration::from_secs(3600));
        assert_eq!(go_on().await, 6, "at once, and each half of the time");
        status.beat("polls", Duration::ZERO);
        assert_eq!(go_on().await, 0);
        status.beat("polls", Duration::from_secs(3600));
        assert_eq!(go_on().await, 6);
    }
}
