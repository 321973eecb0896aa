//! What was asked of the simulator, for tests to look at.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

/// How many requests are kept for a tenant; older ones are forgotten.
const KEPT: usize = 4096;

/// How much of a body is kept: no request of ours is longer.
pub(super) const KEPT_BODY_BYTES: usize = 1024;

/// A request and its answer's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// When it came, by the simulator's clock.
    pub at: DateTime<Utc>,
    /// Which connection it came on, from 0.
    pub connection: u64,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Whether it had an `Authorization` header.
    pub authorization: bool,
    /// `client-request-id`.
    pub client_request_id: Option<String>,
    /// `Prefer`.
    pub prefer: Option<String>,
    /// `Accept-Encoding`.
    pub accept_encoding: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// The body, cut at `KEPT_BODY_BYTES`. Empty for the token endpoint, where it holds a secret.
    pub body: String,
    /// Whether it would have changed something. Such a request is always refused.
    pub write: bool,
}

/// The latest requests.
#[derive(Debug, Default)]
pub(super) struct Journal {
    requests: VecDeque<Recorded>,
}

impl Journal {
    /// Adds a request.
    pub fn record(&mut self, request: Recorded) {
        if self.requests.len() == KEPT {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    /// The requests, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.requests.iter().cloned().collect()
    }
}
