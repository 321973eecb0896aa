//! Requests as they came and answers as they go.

use std::io::Write;
use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderName, HeaderValue, VARY};
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::json;

use super::body::Script;
use super::export::blob::VERSION;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
pub(super) const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

const MS_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const MS_VERSION: HeaderName = HeaderName::from_static("x-ms-version");

/// A request with its body, and what the answer needs to know of it.
pub(super) struct Call {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, without `?`; empty if there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it came.
    pub now: DateTime<Utc>,
    /// The id that the answer gives it.
    pub request_id: String,
}

impl Call {
    /// A header's text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The client's own id of the request; Graph puts its own where there is none.
    pub fn client_request_id(&self) -> &str {
        self.header(CLIENT_REQUEST_ID).unwrap_or(&self.request_id)
    }

    fn accepts_gzip(&self) -> bool {
        let codings = self.headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        codings.flat_map(|value| value.split(',')).any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f64>);
            gzip && weight.is_ok_and(|weight| weight > 0.0)
        })
    }
}

/// An answer before it is dressed for the wire.
pub(super) struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Headers besides those that every answer has.
    pub headers: Vec<(HeaderName, String)>,
    /// The body.
    pub payload: Payload,
    /// Whether the request would have changed something.
    pub write: bool,
}

/// A body before it is dressed for the wire.
pub(super) enum Payload {
    /// Compressed if the client likes.
    Plain(Vec<u8>),
    /// Sent as it is.
    Scripted(Script),
}

impl Answer {
    /// An answer of a content type.
    pub fn new(status: StatusCode, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![(CONTENT_TYPE, content_type.to_owned())];
        Self { status, headers, payload: Payload::Plain(body.into()), write: false }
    }

    /// A JSON answer as Graph and Entra label it.
    pub fn json(status: StatusCode, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json; charset=utf-8", body)
    }

    /// Graph's error.
    pub fn error(call: &Call, status: StatusCode, code: &str, message: &str) -> Self {
        Self::spelled_error(call, status, code, message, "innerError")
    }

    /// Graph's error with the other spelling of `innerError`, which also occurs.
    pub fn lower_case_error(call: &Call, status: StatusCode, code: &str, message: &str) -> Self {
        Self::spelled_error(call, status, code, message, "innererror")
    }

    fn spelled_error(call: &Call, status: StatusCode, code: &str, message: &str, inner: &str) -> Self {
        let inner_error = json!({
            "date": call.now.format("%Y-%m-%dT%H:%M:%S").to_string(),
            "request-id": call.request_id,
            "client-request-id": call.client_request_id(),
        });
        let body = json!({"error": {"code": code, "message": message, inner: inner_error}});
        Self::json(status, body.to_string())
    }

    /// The same with a header more.
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The answer as Graph sends it to the client.
    pub fn dress(self, call: &Call) -> Response<Script> {
        self.response(call, &[(REQUEST_ID, &call.request_id), (CLIENT_REQUEST_ID, call.client_request_id())])
    }

    /// The answer as blob storage sends it, which does not compress what it sends.
    pub fn dress_as_blob(mut self, call: &Call) -> Response<Script> {
        if let Payload::Plain(bytes) = self.payload {
            self.payload = Payload::Scripted(bytes.into());
        }
        self.response(call, &[(MS_REQUEST_ID, &call.request_id), (MS_VERSION, VERSION)])
    }

    fn response(self, call: &Call, labels: &[(HeaderName, &str)]) -> Response<Script> {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        set(DATE, &httpdate::fmt_http_date(SystemTime::from(call.now)));
        for (name, value) in labels {
            set(name.clone(), value);
        }
        for (name, value) in self.headers {
            set(name, &value);
        }
        let body = match self.payload {
            Payload::Scripted(script) => script,
            Payload::Plain(bytes) if bytes.is_empty() => bytes.into(),
            Payload::Plain(bytes) => {
                set(VARY, "Accept-Encoding");
                match call.accepts_gzip().then(|| gzip(&bytes)) {
                    Some(Ok(compressed)) => {
                        set(CONTENT_ENCODING, "gzip");
                        compressed.into()
                    }
                    _ => bytes.into(),
                }
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
pub(super) fn call(method: Method, path: &str, headers: &[(&'static str, &str)]) -> Call {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let headers =
        headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    Call {
        method,
        path: path.into(),
        query: query.into(),
        headers: headers.collect(),
        body: Bytes::new(),
        now: DateTime::UNIX_EPOCH,
        request_id: "11111111-2222-4333-8444-555555555555".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_those_who_accept_it() {
        for (accept, encoded) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("deflate, gzip; q=1", true),
            ("gzip;q=0", false),
            ("x-gzip", false),
            ("identity", false),
        ] {
            let call = call(Method::GET, "/", &[("accept-encoding", accept)]);
            let response = Answer::json(StatusCode::OK, "{}").dress(&call);
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), encoded, "{accept}");
        }
    }

    #[test]
    fn every_answer_names_its_time_and_request() {
        let call = call(Method::GET, "/", &[("client-request-id", "mine")]);
        let response = Answer::error(&call, StatusCode::NOT_FOUND, "x", "y").dress(&call);
        assert_eq!(response.headers()[DATE], "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(response.headers()[REQUEST_ID], "11111111-2222-4333-8444-555555555555");
        assert_eq!(response.headers()[CLIENT_REQUEST_ID], "mine");
    }
}
