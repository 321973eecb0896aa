//! What a unit of `Type=notify` waits for: word that the program serves, and that it stops.

use tokio_util::sync::CancellationToken;

/// Tells systemd, where it asked to be told, that the exporter answers; and at the stop, that it stops.
pub(super) async fn tell(stop: CancellationToken) {
    notify(State::Ready);
    stop.cancelled().await;
    notify(State::Stopping);
}

#[derive(Clone, Copy)]
enum State {
    Ready,
    Stopping,
}

#[cfg(target_os = "linux")]
fn notify(state: State) {
    use sd_notify::NotifyState;
    let state = match state {
        State::Ready => NotifyState::Ready,
        State::Stopping => NotifyState::Stopping,
    };
    // Does nothing where nobody asked: there is no NOTIFY_SOCKET.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "Cannot tell systemd how things stand: look at NOTIFY_SOCKET, or write Type=exec in the unit");
    }
}

#[cfg(not(target_os = "linux"))]
fn notify(_: State) {}
