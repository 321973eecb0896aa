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
            message.push_str(&format!(": {}", said.trim_end_matches('.')));
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
        500_011 => Some("this cloud does not know the Graph host that the token is for: check cloud and graph_url"),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;

    fn of(status: u16, body: &str) -> Failure {
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, "2".parse().unwrap())]);
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.to_owned().into() };
        failure(&answer, "https://login.example/t/oauth2/v2.0/token")
    }

    fn refusal(number: u32) -> String {
        let description = format!("AADSTS{number}: It went wrong.\r\nTrace ID: 1\r\nCorrelation ID: 2\r\nTimestamp: 3");
        json!({"error": "invalid_client", "error_description": description, "error_codes": [number]}).to_string()
    }

    #[test]
    fn known_numbers_have_a_remedy_and_others_are_quoted() {
        let message = |number| of(400, &refusal(number)).error.message;
        insta::assert_snapshot!(message(7_000_215), @"the token endpoint https://login.example/t/oauth2/v2.0/token answered 400: invalid_client: AADSTS7000215: It went wrong; the client secret is wrong: set credential.client_secret (or the file) to the secret's value, not its id");
        assert!(
            message(7_000_222).ends_with("expired: add a new one to the app registration and set it in the credential")
        );
        assert!(message(700_016).contains("no application with this client_id"));
        assert!(message(90_002).contains("check tenant_id, and cloud"));
        assert!(message(500_011).contains("check cloud and graph_url"));
        assert!(message(12_345).ends_with("answered 400: invalid_client: AADSTS12345: It went wrong"));
    }

    #[test]
    fn only_passing_troubles_are_tried_again() {
        let again = Retry::After { asked: Some(Duration::from_secs(2)), fresh: false };
        for number in TRANSIENT {
            assert_eq!(of(400, &refusal(number)).retry, again, "{number}");
        }
        for number in [7_000_215, 7_000_222, 700_016, 90_002, 50_034, 90_005] {
            let failure = of(401, &refusal(number));
            assert_eq!(
                (failure.retry, failure.error.reason),
                (Retry::Never, FailureReason::Authentication),
                "{number}"
            );
        }
        assert_eq!((of(429, "").retry, of(429, "").error.reason), (again, FailureReason::Throttled));
        assert_eq!((of(503, "").retry, of(503, "").error.reason), (again, FailureReason::ServerError));
    }

    #[test]
    fn the_number_is_found_in_the_description_too() {
        let body =
            json!({"error": "x", "error_description": "AADSTS90002: Tenant 'x' not found. Trace ID: 5"}).to_string();
        let message = of(400, &body).error.message;
        assert!(message.contains("AADSTS90002: Tenant 'x' not found; there is no such tenant"), "{message}");
    }

    #[test]
    fn answers_that_are_no_refusal_are_told_as_what_they_are() {
        assert!(of(200, "<html>").error.message.contains("answered 200: the answer is HTML"));
        assert!(of(200, "{}").error.message.ends_with("answered 200, but with no token that can be used"));
        assert_eq!(of(200, "{}").error.reason, FailureReason::InvalidResponse);
        assert!(of(400, "garbage").error.message.ends_with("answered 400"));
        assert!(of(400, r#"{"error":{"code":"x"}}"#).error.message.ends_with("answered 400"));
    }
}
