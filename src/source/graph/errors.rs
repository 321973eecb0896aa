//! What an answer that is no report means: the failure's label, whether another attempt makes sense,
//! and one line for people. Decided by the status; the service's text is quoted, never relied on.

use http::{StatusCode, header};
use serde_json::Value;
use url::Url;

use super::retry::{Failure, Retry, retry_after};
use super::transport::Answer;
use super::url::shown;
use crate::source::{Endpoint, SourceError};
use crate::status::FailureReason;

/// How much of the service's text is quoted.
const MAX_QUOTED_CHARS: usize = 300;

/// The failure that an answer other than 2xx is.
pub(super) fn failure(answer: &Answer, method: &http::Method, url: &Url, endpoint: Endpoint) -> Failure {
    let status = answer.status;
    let (reason, retry, remedy) = verdict(answer, endpoint);
    let code = status
        .canonical_reason()
        .map_or_else(|| status.as_str().to_owned(), |name| format!("{} {name}", status.as_str()));
    let mut message = format!("{method} {} answered {code}", shown(url));
    if let Some(text) = said(answer) {
        message.push_str(&format!(": {text}"));
    }
    if let Some(id) = answer.headers.get("request-id").and_then(|id| id.to_str().ok()) {
        message.push_str(&format!(" (request-id {})", one_line(id)));
    }
    if !remedy.is_empty() {
        message.push_str(&format!("; {remedy}"));
    }
    Failure { error: SourceError::new(reason, message), retry }
}

fn verdict(answer: &Answer, endpoint: Endpoint) -> (FailureReason, Retry, String) {
    let again = |fresh| Retry::After { asked: retry_after(&answer.headers), fresh };
    match answer.status {
        StatusCode::UNAUTHORIZED => (FailureReason::Unauthorized, Retry::Never, UNAUTHORIZED.into()),
        StatusCode::FORBIDDEN => (FailureReason::Forbidden, Retry::Never, forbidden(endpoint).into()),
        StatusCode::NOT_FOUND => (FailureReason::NotFound, Retry::Never, NOT_FOUND.into()),
        StatusCode::TOO_MANY_REQUESTS => (FailureReason::Throttled, again(false), THROTTLED.into()),
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY => {
            (FailureReason::ServerError, again(false), SERVER_ERROR.into())
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            (FailureReason::ServerError, again(true), SERVER_ERROR.into())
        }
        status if status.is_server_error() => (FailureReason::ServerError, Retry::Never, SERVER_ERROR.into()),
        status if status.is_client_error() => (FailureReason::BadRequest, Retry::Never, BAD_REQUEST.into()),
        status if status.is_redirection() => (FailureReason::InvalidResponse, Retry::Never, redirect(answer)),
        _ => (FailureReason::InvalidResponse, Retry::Never, String::new()),
    }
}

const UNAUTHORIZED: &str =
    "the service does not accept the token: check that credential, tenant_id, cloud and graph_url belong together";
const NOT_FOUND: &str = "check cloud, graph_url and source.path: there is no such resource here";
const THROTTLED: &str = "the service is throttling: a longer poll_interval asks less of it";
const SERVER_ERROR: &str = "the fault is the service's; the next poll tries again";
const BAD_REQUEST: &str = "check source.path and the other keys of source";

fn forbidden(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::SessionsReport => {
            "grant the application one of the Microsoft Graph application permissions \
             DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All and give admin consent \
             (a new permission takes effect with the next token)"
        }
        Endpoint::Collection | Endpoint::Token => "grant the application what the service at source.path asks for",
    }
}

fn redirect(answer: &Answer) -> String {
    let target = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let host = target.and_then(|target| Url::parse(target).ok()).map(|url| url.origin().ascii_serialization());
    let to = host.map_or_else(String::new, |host| format!(" to {host}"));
    format!("redirects{to} are not followed: name the service's own address in graph_url")
}

/// What the service said, in one line.
fn said(answer: &Answer) -> Option<String> {
    if answer_is_html(&answer.body) {
        return Some("the answer is HTML (a proxy or gateway page?)".to_owned());
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let error = body.get("error")?;
    // Graph has an object here, OAuth gateways a string.
    let code = error.get("code").or(Some(error)).and_then(Value::as_str).unwrap_or_default();
    let message = error.get("message").or_else(|| body.get("error_description")).and_then(Value::as_str);
    let message = one_line(&unwrapped(message.unwrap_or_default()));
    let text = [one_line(code), message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    (!text.is_empty()).then_some(text)
}

/// Intune puts a JSON document into the message; what people can read is its own message.
fn unwrapped(message: &str) -> String {
    let inner = message.trim_start().starts_with('{').then(|| serde_json::from_str::<Value>(message).ok()).flatten();
    let text = inner.as_ref().and_then(|inner| {
        ["Message", "message"]
            .iter()
            .find_map(|name| inner.get(name)?.as_str())
            .or_else(|| inner.pointer("/error/message")?.as_str())
    });
    text.unwrap_or(message).to_owned()
}

/// Whether a body looks like a web page.
pub fn answer_is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// Foreign text for one line of a log: no control characters, no runs of spaces, not too long.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
