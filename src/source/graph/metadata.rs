//! What the refusals of a metadata service mean, which gives tokens of a managed identity.

use std::fmt::Display;

use http::StatusCode;
use serde_json::Value;

use super::errors::{answer_is_html, one_line};
use super::retry::{Failure, Retry, retry_after};
use super::transport::Answer;
use crate::source::SourceError;
use crate::status::FailureReason;

const KIND: &str = "credential.kind managed_identity";
const ELSEWHERE: &str = "virtual machines, App Service, Functions and Container Apps have a metadata service; choose another kind elsewhere";

/// The failure that an answer is, where it gave no token.
pub(super) fn failure(answer: &Answer, client_id: Option<&str>) -> Failure {
    let status = answer.status;
    let again = Retry::After { asked: retry_after(&answer.headers), fresh: false };
    let (reason, retry) = match status {
        StatusCode::TOO_MANY_REQUESTS => (FailureReason::Throttled, again),
        // Both are answered while the service is being updated.
        StatusCode::NOT_FOUND | StatusCode::GONE => (FailureReason::Authentication, again),
        status if status.is_server_error() => (FailureReason::ServerError, again),
        status if status.is_success() => (FailureReason::InvalidResponse, Retry::Never),
        _ => (FailureReason::Authentication, Retry::Never),
    };
    let mut message = format!("{KIND}: the metadata service answered {}", status.as_u16());
    if answer_is_html(&answer.body) {
        message.push_str(": the answer is HTML (a proxy or gateway page?)");
    } else if status.is_success() {
        message.push_str(", but with no token that can be used");
    } else if let Some(said) = said(&answer.body) {
        message.push_str(&format!(": {said}"));
    }
    if status == StatusCode::BAD_REQUEST {
        message.push_str(match client_id {
            Some(_) => "; assign the identity with this client_id to the resource that the exporter runs on",
            None => {
                "; switch the system-assigned identity of the resource on, or name a user-assigned one by client_id"
            }
        });
    }
    Failure { error: SourceError::new(reason, message), retry }
}

/// The service could not be reached.
pub(super) fn unreachable(mut failure: Failure) -> Failure {
    failure.error.message = format!("{KIND}: {}; {ELSEWHERE}", failure.error.message);
    failure
}

/// The SDK does not know the service that the environment speaks of.
pub(super) fn unsupported(why: &dyn Display) -> Failure {
    let why = one_line(&why.to_string());
    SourceError::new(FailureReason::Credential, format!("{KIND}: {}; {ELSEWHERE}", why.trim_end_matches('.'))).into()
}

fn said(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(one_line).unwrap_or_default();
    let description =
        Some(text("error_description")).filter(|text| !text.is_empty()).unwrap_or_else(|| text("message"));
    let parts: Vec<_> = [text("error"), description].into_iter().filter(|part| !part.is_empty()).collect();
    Some(parts.join(": ").trim_end_matches('.').to_owned()).filter(|text| !text.is_empty())
}
