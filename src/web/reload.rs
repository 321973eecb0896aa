//! `/-/reload`.

use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::State;
use super::answer::{Answer, RETRY_AFTER_SECONDS};

/// How much of the time for a request a reload may take before the answer says that it takes longer.
const RELOAD_SHARE: f64 = 0.9;

/// Has the configuration reloaded, and waits until it is. A client that hangs up does not stop it.
pub(super) async fn reload(state: &State) -> Answer {
    let Some(reloads) = &state.reloads else {
        return Answer::text(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.\n");
    };
    let stopping = || Answer::text(StatusCode::SERVICE_UNAVAILABLE, "The exporter is stopping.\n");
    let (request, outcome) = oneshot::channel();
    match reloads.try_send(request) {
        Ok(()) => {}
        Err(TrySendError::Closed(_)) => return stopping(),
        Err(TrySendError::Full(_)) => {
            return Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Too many reloads are waiting; try again later.\n")
                .with(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
    }
    // Before the connection would be cut.
    match tokio::time::timeout(state.limits.request.mul_f64(RELOAD_SHARE), outcome).await {
        Ok(Ok(Ok(()))) => Answer::text(StatusCode::OK, "Reloaded.\n"),
        Ok(Ok(Err(refused))) => {
            Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("Failed to reload the configuration: {refused}\n"))
        }
        Ok(Err(_)) => stopping(),
        Err(_) => Answer::text(
            StatusCode::GATEWAY_TIMEOUT,
            "The reload takes long and goes on; the log and exporter_config_last_reload_successful tell how it ends.\n",
        ),
    }
}
