//! What a source tells of its work: all of it to the metrics, and to the status table what somebody who
//! looks there should know.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::metrics::TenantMetrics;
use crate::source::{self, Endpoint};
use crate::status::Status;

/// Listens to one tenant's source.
pub(super) struct Observer {
    pub name: Arc<str>,
    pub metrics: Arc<TenantMetrics>,
    pub status: Arc<Status>,
}

impl source::Observer for Observer {
    fn request(&self, endpoint: Endpoint, status: Option<u16>, duration: Duration) {
        self.metrics.request(endpoint, status, duration);
    }

    fn retry(&self) {
        self.metrics.retry();
    }

    fn throttled(&self) {
        self.metrics.throttled();
    }

    fn held_back(&self, duration: Duration) {
        self.metrics.held_back(duration);
    }

    fn token_expires(&self, at: DateTime<Utc>) {
        self.metrics.token_expires(at);
    }

    fn credential_expires(&self, at: DateTime<Utc>) {
        self.status.update(&self.name, |row| row.credential_expires = Some(at));
        self.metrics.credential_expires(at);
    }

    fn date(&self, service: DateTime<Utc>) {
        self.metrics.date(service);
    }

    fn files_set_aside(&self, files: u64) {
        self.status.update(&self.name, |row| row.files_set_aside = files);
        self.metrics.files_set_aside(files);
    }
}
