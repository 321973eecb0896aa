//! Answers to requests that no page answers.

use http::header::{ALLOW, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode, Version};

use super::access::Refusal;
use super::answer::{Answer, RETRY_AFTER_SECONDS};

/// What is asked of a client without a password.
const REALM: &str = r#"Basic realm="remote-assistance-exporter", charset="UTF-8""#;

/// Half of all connections are answers to this client that it does not read.
pub(super) fn crowded(version: Version) -> Answer {
    let answer = Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Too many answers to this address are under way.\n")
        .with(RETRY_AFTER, RETRY_AFTER_SECONDS);
    last(version, answer)
}

/// Whoever sends a bad request may mean another one by what follows it.
pub(super) fn malformed(version: Version, problem: &'static str) -> Answer {
    last(version, Answer::text(StatusCode::BAD_REQUEST, problem))
}

/// What the web configuration does not admit.
pub(super) fn denied(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Unauthorized => Answer::text(StatusCode::UNAUTHORIZED, "A user's name and password are needed.\n")
            .with(WWW_AUTHENTICATE, REALM),
        Refusal::TooMany(wait) => {
            let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
            Answer::text(StatusCode::TOO_MANY_REQUESTS, "The rate limit is exceeded; try again later.\n")
                .with_value(RETRY_AFTER, seconds)
        }
        Refusal::Busy => {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "Too many passwords are being checked; try again later.\n")
                .with(RETRY_AFTER, RETRY_AFTER_SECONDS)
        }
    }
}

/// The page answers these methods only.
pub(super) fn not_allowed(allowed: &'static str) -> Answer {
    Answer::text(StatusCode::METHOD_NOT_ALLOWED, format!("Methods answered here: {allowed}.\n")).with(ALLOW, allowed)
}

/// The last answer on its connection. (Connections of HTTP/2 have no such header.)
fn last(version: Version, answer: Answer) -> Answer {
    if version < Version::HTTP_2 { answer.with(CONNECTION, "close") } else { answer }
}
