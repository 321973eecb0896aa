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

/// How blob storage says that an address opens nothing any more.
const GONE: [StatusCode; 4] =
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::GONE];

/// The failure that an answer other than 2xx is.
pub(super) fn failure(answer: &Answer, method: &http::Method, url: &Url, endpoint: Endpoint) -> Failure {
    let status = answer.status;
    let (reason, retry, mut remedy) = verdict(answer, endpoint);
    if endpoint == Endpoint::ExportDownload && GONE.contains(&status) && is_web_page(&answer.body) {
        remedy = BLOCKED.into();
    }
    let code = status
        .canonical_reason()
        .map_or_else(|| status.as_str().to_owned(), |name| format!("{} {name}", status.as_str()));
    let mut message = format!("{method} {} answered {code}", shown(url));
    if let Some(text) = error_text(&answer.body) {
        message.push_str(&format!(": {text}"));
    }
    // Graph's, or that of blob storage.
    let id = ["request-id", "x-ms-request-id"].iter().find_map(|name| answer.headers.get(*name)?.to_str().ok());
    if let Some(id) = id {
        message.push_str(&format!(" (request-id {})", one_line(id)));
    }
    if let Some(limit) = exceeded(answer) {
        message.push_str(&format!(" (limit: {limit})"));
    }
    if !remedy.is_empty() {
        message.push_str(&format!("; {remedy}"));
    }
    Failure { error: SourceError::new(reason, message), retry }
}

/// Which limit was exceeded and why, as some services of Graph tell for people to read.
fn exceeded(answer: &Answer) -> Option<String> {
    if answer.status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let said = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(one_line);
    let parts: Vec<_> = ["x-ms-throttle-scope", "x-ms-throttle-information"].into_iter().filter_map(said).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn verdict(answer: &Answer, endpoint: Endpoint) -> (FailureReason, Retry, String) {
    let again = |fresh| Retry::After { asked: retry_after(&answer.headers), fresh };
    match answer.status {
        StatusCode::UNAUTHORIZED => (FailureReason::Unauthorized, Retry::Never, unauthorized(endpoint).into()),
        StatusCode::FORBIDDEN => (FailureReason::Forbidden, Retry::Never, forbidden(endpoint).into()),
        StatusCode::NOT_FOUND => (FailureReason::NotFound, Retry::Never, not_found(endpoint).into()),
        StatusCode::TOO_MANY_REQUESTS => (FailureReason::Throttled, again(false), THROTTLED.into()),
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_GATEWAY => {
            (FailureReason::ServerError, again(false), SERVER_ERROR.into())
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            (FailureReason::ServerError, again(true), SERVER_ERROR.into())
        }
        status if status.is_server_error() => (FailureReason::ServerError, Retry::Never, SERVER_ERROR.into()),
        status if status.is_client_error() => (FailureReason::BadRequest, Retry::Never, bad_request(endpoint).into()),
        status if status.is_redirection() => (FailureReason::InvalidResponse, Retry::Never, redirect(answer, endpoint)),
        _ => (FailureReason::InvalidResponse, Retry::Never, String::new()),
    }
}

const THROTTLED: &str = "the service is throttling: a longer poll_interval asks less of it";
const SERVER_ERROR: &str = "the fault is the service's; the next poll tries again";
const EXPIRED: &str = "the export is gone or its signature has expired: a new job gets a new one";
/// Blob storage has no web pages.
const BLOCKED: &str = "let the exporter through to that host";

fn unauthorized(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ExportDownload => EXPIRED,
        _ => {
            "the service does not accept the token: check that credential, tenant_id, cloud and graph_url belong \
             together"
        }
    }
}

fn forbidden(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::SessionsReport => {
            "grant the application one of the Microsoft Graph application permissions \
             DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All and give admin consent \
             (a new permission takes effect with the next token, which the next poll asks for)"
        }
        Endpoint::ExportJob => {
            "grant the application the Microsoft Graph application permission DeviceManagementConfiguration.Read.All \
             (or, as Microsoft documents it, DeviceManagementConfiguration.ReadWrite.All) and give admin consent \
             (a new permission takes effect with the next token, which the next poll asks for)"
        }
        Endpoint::ExportDownload => EXPIRED,
        Endpoint::AutopilotDevices => {
            "grant the application the Microsoft Graph application permission \
             DeviceManagementServiceConfig.Read.All and give admin consent, or set enrollment_lookup to false"
        }
        Endpoint::ManagedDevices => {
            "grant the application the Microsoft Graph application permission \
             DeviceManagementManagedDevices.Read.All and give admin consent, or set enrollment_lookup to false"
        }
        Endpoint::Collection | Endpoint::Token => "grant the application what the service at source.path asks for",
    }
}

fn not_found(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ExportJob => "check cloud and graph_url: there are no export jobs here, or the job is gone",
        Endpoint::ExportDownload => EXPIRED,
        endpoint if endpoint.lists_devices() => {
            "check cloud and graph_url: there is no such list here, or set enrollment_lookup to false"
        }
        _ => "check cloud, graph_url and source.path: there is no such resource here",
    }
}

fn bad_request(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ExportJob => "check source.select and the other keys of source",
        Endpoint::ExportDownload => "the download's host refuses the address that the service gave",
        endpoint if endpoint.lists_devices() => "check cloud and graph_url, or set enrollment_lookup to false",
        _ => "check source.path and the other keys of source",
    }
}

fn redirect(answer: &Answer, endpoint: Endpoint) -> String {
    let target = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let host = target.and_then(|target| Url::parse(target).ok()).map(|url| url.origin().ascii_serialization());
    let to = host.map_or_else(String::new, |host| format!(" to {host}"));
    match endpoint {
        Endpoint::ExportDownload => format!("redirects{to} are not followed; the next poll asks for another export"),
        _ => format!("redirects{to} are not followed: name the service's own address in graph_url"),
    }
}

/// What the service said, in one line.
pub fn error_text(body: &[u8]) -> Option<String> {
    if is_xml(body) {
        return xml_code(body);
    }
    if answer_is_html(body) {
        return Some("the answer is HTML (a proxy or gateway page?)".to_owned());
    }
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error")?;
    // Graph has an object here, OAuth gateways a string.
    let code = error.get("code").or(Some(error)).and_then(Value::as_str).unwrap_or_default();
    let message = error.get("message").or_else(|| body.get("error_description")).and_then(Value::as_str);
    let message = one_line(&unwrapped(message.unwrap_or_default()));
    let text = [one_line(code), message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    Some(text.trim_end_matches('.').to_owned()).filter(|text| !text.is_empty())
}

/// The code of blob storage's error. Its other elements are not quoted: they may repeat the signature.
fn xml_code(body: &[u8]) -> Option<String> {
    /// Codes are a few words run together, such as `AuthenticationFailed`.
    const MAX_CODE_BYTES: usize = 64;
    let text = std::str::from_utf8(body).ok()?;
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    let plain = code.len() <= MAX_CODE_BYTES && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then(|| code.to_owned()).filter(|code| !code.is_empty())
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

/// Whether it is of the kind in which blob storage tells its errors. XHTML may begin in the same way.
fn is_xml(body: &[u8]) -> bool {
    let has_html = || body.windows(5).any(|tag| tag.eq_ignore_ascii_case(b"<html"));
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).starts_with(b"<?xml") && !has_html()
}

/// Whether a download is refused because nothing is there any more, or opens it any more. A web page says
/// so of another host: it comes from a proxy on the way, which would refuse the next address as well.
pub(super) fn is_gone(answer: &Answer) -> bool {
    GONE.contains(&answer.status) && !is_web_page(&answer.body)
}

/// Whether the body of an error is a web page, and not blob storage's XML.
fn is_web_page(body: &[u8]) -> bool {
    answer_is_html(body) && !is_xml(body)
}

/// Whether a body looks like a web page.
pub fn answer_is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// Foreign text for one line of a log: no control characters, no runs of spaces, not too long.
pub fn one_line(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, Method};
    use serde_json::json;

    use super::*;

    fn of(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter(headers),
            body: body.to_owned().into(),
        };
        let url = Url::parse("https://graph.example/beta/x?$skiptoken=hidden").unwrap();
        failure(&answer, &Method::POST, &url, Endpoint::SessionsReport)
    }

    fn message(status: u16, body: &str) -> String {
        of(status, &[], body).error.message
    }

    #[test]
    fn statuses_tell_the_reason_and_whether_to_try_again() {
        let again = |fresh| Retry::After { asked: Some(Duration::from_secs(3)), fresh };
        for (status, reason, retry) in [
            (401, FailureReason::Unauthorized, Retry::Never),
            (403, FailureReason::Forbidden, Retry::Never),
            (404, FailureReason::NotFound, Retry::Never),
            (400, FailureReason::BadRequest, Retry::Never),
            (410, FailureReason::BadRequest, Retry::Never),
            (429, FailureReason::Throttled, again(false)),
            (500, FailureReason::ServerError, again(false)),
            (502, FailureReason::ServerError, again(false)),
            (503, FailureReason::ServerError, again(true)),
            (504, FailureReason::ServerError, again(true)),
            (501, FailureReason::ServerError, Retry::Never),
            (302, FailureReason::InvalidResponse, Retry::Never),
        ] {
            let failure = of(status, &[("retry-after", "3")], "");
            assert_eq!((failure.error.reason, failure.retry), (reason, retry), "{status}");
        }
    }

    #[test]
    fn a_refusal_names_the_permissions_and_the_request() {
        let body =
            json!({"error": {"code": "Forbidden", "message": "Application is not authorized.", "innerError": {}}});
        insta::assert_snapshot!(
            of(403, &[("request-id", "4f5e")], &body.to_string()).error.message,
            @"POST https://graph.example/beta/x answered 403 Forbidden: Forbidden: Application is not authorized (request-id 4f5e); grant the application one of the Microsoft Graph application permissions DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All and give admin consent (a new permission takes effect with the next token, which the next poll asks for)"
        );
    }

    #[test]
    fn throttling_tells_its_limit_where_the_service_does() {
        let headers = [
            ("x-ms-throttle-scope", "Tenant_Application/ReadWrite/app/tenant"),
            ("x-ms-throttle-information", "ResourceUnitLimitExceeded"),
        ];
        insta::assert_snapshot!(of(429, &headers, "").error.message, @"POST https://graph.example/beta/x answered 429 Too Many Requests (limit: Tenant_Application/ReadWrite/app/tenant, ResourceUnitLimitExceeded); the service is throttling: a longer poll_interval asks less of it");
        assert!(!of(503, &headers, "").error.message.contains("limit"));
    }

    #[test]
    fn every_shape_of_error_is_quoted_in_one_line() {
        for (body, said) in [
            (json!({"error": {"code": "BadRequest", "message": "No."}}), "400 Bad Request: BadRequest: No;"),
            (json!({"error": {"code": "", "message": "No."}}), "400 Bad Request: No;"),
            (json!({"error": {"code": "X"}}), "400 Bad Request: X;"),
            (json!({"error": {"message": "a\r\n\tb\u{1b}[31mc\u{7}"}}), "400 Bad Request: a b [31mc;"),
            (json!({"error": "invalid_token", "error_description": "No."}), "400 Bad Request: invalid_token: No;"),
            (
                json!({"error": {"code": "X", "message": json!({"Message": "Inner.", "Activity": 1}).to_string()}}),
                "X: Inner;",
            ),
            (
                json!({"error": {"code": "X", "message": json!({"error": {"message": "Inner."}}).to_string()}}),
                "X: Inner;",
            ),
            (json!({"error": {"code": "X", "message": "{not json"}}), "X: {not json;"),
            (json!({"error": {"code": 5, "message": 7}}), "400 Bad Request;"),
            (json!([]), "400 Bad Request;"),
        ] {
            let message = message(400, &body.to_string());
            assert!(message.contains(said), "{message}");
            assert!(!message.contains("hidden"), "{message}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let body = json!({"error": {"code": "", "message": "é".repeat(5000)}}).to_string();
        let message = message(400, &body);
        assert!(message.contains(&format!("{}…", "é".repeat(MAX_QUOTED_CHARS))), "{message}");
    }

    #[test]
    fn a_web_page_is_told_as_one_and_never_quoted() {
        let message = message(502, "\r\n <!DOCTYPE html><html>secret</html>");
        assert!(
            message.contains("answered 502 Bad Gateway: the answer is HTML (a proxy or gateway page?);"),
            "{message}"
        );
        assert!(!message.contains("secret"));
    }

    #[test]
    fn a_redirect_names_the_host_it_leads_to_and_no_more() {
        let failure = of(302, &[("location", "https://login.example/sign?in=1")], "");
        assert!(failure.error.message.contains("redirects to https://login.example are not followed"), "{failure:?}");
        assert!(of(307, &[("location", "/x")], "").error.message.contains("redirects are not followed"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_service_says_is_one_line_of_bounded_length(body in proptest::prelude::any::<String>(), status in 300u16..600) {
            for body in [&body, &json!({"error": {"code": &body, "message": &body}}).to_string()] {
                let message = message(status, body);
                proptest::prop_assert!(!message.chars().any(char::is_control), "{message:?}");
                proptest::prop_assert!(message.chars().count() < 2 * MAX_QUOTED_CHARS + 600, "{message}");
            }
        }
    }
}
