//! Answers in the making.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tracing::error;

use super::body::Body;
use super::connection::{Answering, Place};
use crate::exposition::{InFlight, Rendered};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// When a client that was refused may try again, in seconds. A scrape takes milliseconds.
pub(super) const RETRY_AFTER_SECONDS: &str = "1";

/// An answer in the making.
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Vec<Bytes>,
    place: Option<Place>,
}

impl Answer {
    fn new(status: StatusCode, content_type: HeaderValue, body: Vec<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type);
        // Every page is the state of this moment, and none is to be guessed to be another type.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self { status, headers, body, place: None }
    }

    /// Plain text; errors are told so too.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::new(status, TEXT, vec![body.into()])
    }

    /// A page that may load and do what `policy` says.
    pub fn html(body: impl Into<Bytes>, policy: &HeaderValue) -> Self {
        Self::new(StatusCode::OK, HTML, vec![body.into()])
            .with_value(CONTENT_SECURITY_POLICY, policy.clone())
            // Where the exporter is concerns nobody that a link leads to.
            .with(REFERRER_POLICY, "no-referrer")
    }

    /// A JSON document, laid out for people: browsers show it as it is.
    pub fn json(body: &impl serde::Serialize) -> Self {
        match serde_json::to_vec_pretty(body) {
            Ok(body) => Self::new(StatusCode::OK, JSON, vec![body.into()]),
            Err(error) => Self::internal(&error),
        }
    }

    /// The same with a place that is given back when the client has the answer.
    pub fn holding(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Metrics.
    pub fn metrics(rendered: Rendered) -> Self {
        let content_type = match rendered.content_type {
            Cow::Borrowed(content_type) => HeaderValue::from_static(content_type),
            Cow::Owned(content_type) => match HeaderValue::try_from(content_type) {
                Ok(content_type) => content_type,
                Err(error) => return Self::internal(&error),
            },
        };
        let answer = Self::new(StatusCode::OK, content_type, rendered.body);
        match rendered.content_encoding {
            Some(encoding) => answer.with(CONTENT_ENCODING, encoding),
            None => answer,
        }
    }

    /// What could not be made, by a defect of ours.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        error!(error, "A page could not be made");
        Self::text(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made; the log says why.\n")
    }

    /// The same with another header.
    pub fn with(self, name: HeaderName, value: &'static str) -> Self {
        self.with_value(name, HeaderValue::from_static(value))
    }

    /// The same with another header, whose value is not known beforehand.
    pub fn with_value(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same without its body, as HEAD is answered. Over HTTP/1.1 hyper leaves the body out; over HTTP/2
    /// it would send it, and clients take that for a broken stream.
    pub fn without_body(mut self) -> Self {
        let length = self.body.drain(..).map(|piece| piece.len()).sum::<usize>();
        self.with_value(CONTENT_LENGTH, HeaderValue::from(length))
    }

    /// The request is in flight, the connection answering, and the place taken, until the body is gone.
    pub fn into_response(self, held: (InFlight, Option<Answering>)) -> Response<Body> {
        let mut response = Response::new(Body::new(self.body, (held, self.place)));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}
