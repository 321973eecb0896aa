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

/// The remedy for the first AADSTS number in a text.
pub(super) fn remedy_in(text: &str) -> Option<&'static str> {
    number_in(text.get(text.find("AADSTS")?..)?).and_then(remedy)
}

/// The number at the beginning of a description.
fn number_in(description: &str) -> Option<u32> {
    let digits = description.strip_prefix("AADSTS")?;
    digits[..digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
}

/// The numbers that administrators meet, as Microsoft's reference of error codes describes them and as
/// Entra's own texts read. Any other number is told in Entra's words.
fn remedy(number: u32) -> Option<&'static str> {
    Some(match number {
        7_000_215 => {
            "the client secret is wrong: set credential.client_secret (or the file) to the secret's value, not its id"
        }
        7_000_222 => {
            "the client secret has expired: add a new one to the app registration and set it in the credential"
        }
        7_000_216 | 7_000_218 => "the credential did not arrive: a gateway at authority_url may have removed it",
        700_016 => {
            "the tenant has no application with this client_id: check client_id and tenant_id; an application of \
             another tenant has to be multi-tenant and needs admin consent here"
        }
        7_000_229 => {
            "the application is registered but not present in this tenant: give it admin consent here, which adds it \
             under Enterprise applications"
        }
        700_025 => "the application is a public client: switch public client flows off in its app registration",
        70_001 | 7_000_112 => "the application is disabled: enable sign-in for it under Enterprise applications",
        700_027 => {
            "Entra does not know the certificate: upload the one in credential.certificate_file to the app registration, and check client_id"
        }
        700_030 => {
            "Entra does not accept the certificate's subject: upload the certificate itself to the app registration"
        }
        700_024 => {
            "the assertion is expired or not valid yet: check this machine's clock, and what keeps token_file fresh"
        }
        70_021 | 700_211 | 700_212 | 700_213 | 7_002_138 => {
            "no federated credential of the application matches the token: compare issuer, subject and audience, letter by letter"
        }
        500_011 => "this cloud does not know the Graph host that the token is for: check cloud and graph_url",
        70_011 | 1_002_012 => "Entra does not take the Graph host as a scope: check graph_url and cloud",
        90_002 => {
            "there is no such tenant here: check tenant_id, and cloud, since each cloud knows its own tenants only"
        }
        900_023 => "the tenant_id is neither a GUID nor a domain that Entra knows: check it",
        90_038 => "the tenant is in another cloud: check cloud",
        53_003 => "a Conditional Access policy blocks it: look at the sign-in logs of the application or account",
        65_001 | 650_056 | 90_094 => {
            "the application lacks admin consent: grant its permissions in the tenant and give admin consent"
        }
        50_034 => "the account is not in this tenant: check tenant_id and who is logged in",
        50_076 | 50_079 => "the account has to prove itself again: log in anew",
        50_196 => "Entra stopped a loop of the same request: lengthen poll_interval and look for other instances",
        _ => return None,
    })
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
        self.error_codes.first().copied().or_else(|| number_in(&self.error_description))
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
        insta::assert_snapshot!(message(700_016).split_once("; ").unwrap().1, @"the tenant has no application with this client_id: check client_id and tenant_id; an application of another tenant has to be multi-tenant and needs admin consent here");
        insta::assert_snapshot!(message(7_000_229).split_once("; ").unwrap().1, @"the application is registered but not present in this tenant: give it admin consent here, which adds it under Enterprise applications");
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
