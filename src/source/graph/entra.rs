//! What the token endpoint's refusals mean.

use serde::Deserialize;

use super::errors::{answer_is_html, one_line};
use super::retry::{Failure, Retry, retry_after};
use super::transport::Answer;
use crate::source::SourceError;
use crate::status::FailureReason;

/// The numbers that stand for a passing trouble of the service.
const TRANSIENT: [u32; 6] = [90006, 90012, 90024, 90033, 90055, 90090];

/// The failure that an answer of the token endpoint is, where it gave no token.
pub(super) fn failure(answer: &Answer, endpoint: &str) -> Failure {
    let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let number = refusal.number();
    let again = Retry::After { asked: retry_after(&answer.headers), fresh: false };
    let (reason, retry) = match answer.status.as_u16() {
        429 => (FailureReason::Throttled, again),
        500..=599 => (FailureReason::ServerError, again),
        200..=299 => (FailureReason::InvalidResponse, Retry::Never),
        _ if number.is_some_and(|number| TRANSIENT.contains(&number)) => (FailureReason::Authentication, again),
        _ => (FailureReason::Authentication, Retry::Never),
    };
    let mut message = format!("the token endpoint {endpoint} answered {}", answer.status.as_u16());
    if answer_is_html(&answer.body) {
        message.push_str(": the answer is HTML (a proxy or gateway page?)");
    } else if answer.status.is_success() {
        message.push_str(", but with no token that can be used");
    } else {
        let said = [one_line(&refusal.error), refusal.sentence()].into_iter().filter(|part| !part.is_empty());
        let said = said.collect::<Vec<_>>().join(": ");
        if !said.is_empty() {
            message.push_str(&format!(": {said}"));
        }
    }
    if let Some(remedy) = number.and_then(remedy) {
        message.push_str(&format!("; {remedy}"));
    }
    Failure { error: SourceError::new(reason, message), retry }
}

fn remedy(number: u32) -> Option<&'static str> {
    match number {
        7_000_215 => Some(
            "the client secret is wrong: set credential.client_secret (or the file) to the secret's value, not its id",
        ),
        7_000_222 => {
            Some("the client secret has expired: add a new one to the app registration and set it in the credential")
        }
        700_016 => Some("the tenant has no application with this client_id: check client_id and tenant_id"),
        90_002 => Some(
            "there is no such tenant here: check tenant_id, and cloud, since each cloud knows its own tenants only",
        ),
        _ => None,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
    error_codes: Vec<u32>,
}

impl Refusal {
    fn number(&self) -> Option<u32> {
        let written = || {
            let digits = self.error_description.strip_prefix("AADSTS")?;
            digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
        };
        self.error_codes.first().copied().or_else(written)
    }

    /// The description's first line: what follows are trace ids and a time stamp.
    fn sentence(&self) -> String {
        let first = self.error_description.split(['\r', '\n']).next().unwrap_or_default();
        one_line(first.split(" Trace ID:").next().unwrap_or_default())
    }
}
