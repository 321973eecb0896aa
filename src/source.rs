//! Where session reports come from. Each source turns its wire format into [`SessionReport`]s, a
//! page at a time.

use std::time::Duration;

use crate::session::{Label, Reject, SessionReport, label};
use crate::status::FailureReason;

/// What a page of an answer held.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows that could be read.
    pub reports: Vec<SessionReport>,
    /// The rows that could not.
    pub rejects: Vec<Reject>,
}

/// Why a reading ended early: one line that names the cause and the remedy, without secrets.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// The label of `poll_failures_total`.
    pub reason: FailureReason,
    /// The line.
    pub message: String,
}

label! {
    /// What a request was for: the label of `graph_requests_total`.
    Endpoint("endpoint") {
        /// The OAuth 2.0 token endpoint.
        Token = "token",
        /// `getRemoteAssistanceSessionsReport`.
        SessionsReport = "sessions_report",
        /// A page of an OData collection.
        Collection = "collection",
    }
}

/// Told about every request, so that this room needs no metrics.
pub trait Observer: Send + Sync + 'static {
    /// A request ended: with an HTTP status, or `None` where no answer came.
    fn request(&self, endpoint: Endpoint, status: Option<u16>, duration: Duration);
    /// A request is about to be sent again.
    fn retry(&self);
    /// The service answered 429.
    fn throttled(&self);
    /// A token was issued that expires then.
    fn token_expires(&self, at: chrono::DateTime<chrono::Utc>);
}
