//! Where session reports come from. A [`Source`] reads one tenant's reports; each kind turns its wire
//! format into [`SessionReport`]s, a page at a time.
//!
//! Decoding ([`collection::decode`], [`sessions_report::decode`]) is pure: bytes in, values out. The
//! requests, their retries and the credentials are in [`graph`].

pub mod archive;
pub mod collection;
pub mod columns;
pub mod csv;
pub mod enrollment;
mod export_job;
pub mod files;
pub mod graph;
mod odata;
pub mod probe;
mod reading;
pub mod sessions_report;
#[cfg(test)]
mod testing;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::session::{Reject, SessionReport, label};
use crate::status::FailureReason;

pub use graph::{Network, RetryPolicy, Timeouts};
use reading::Paged;
pub use reading::{Far, Progress, Reading, Rest, SetAside};

/// What a page of an answer held.
#[derive(Debug, Default)]
pub struct Page {
    /// The rows that could be read.
    pub reports: Vec<SessionReport>,
    /// The rows that could not.
    pub rejects: Vec<Reject>,
}

impl Page {
    /// How many rows the page had.
    pub fn rows(&self) -> usize {
        self.reports.len() + self.rejects.len()
    }
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

impl SourceError {
    pub(crate) fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
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
        /// An export job: its submission, and each look at it.
        ExportJob = "export_job",
        /// The download of a finished export, from another host.
        ExportDownload = "export_download",
        /// A page of `windowsAutopilotDeviceIdentities`.
        AutopilotDevices = "autopilot_devices",
        /// A page of `managedDevices`.
        ManagedDevices = "managed_devices",
    }
}

impl Endpoint {
    /// Whether it lists devices: for those, no key sets how many a page has.
    fn lists_devices(self) -> bool {
        matches!(self, Self::AutopilotDevices | Self::ManagedDevices)
    }
}

/// Told about every request, so that this room needs no metrics.
pub trait Observer: Send + Sync + 'static {
    /// A request ended: with an HTTP status, or `None` where no whole answer came.
    fn request(&self, endpoint: Endpoint, status: Option<u16>, duration: Duration);
    /// A request is about to be sent again.
    fn retry(&self);
    /// The service answered 429.
    fn throttled(&self);
    /// A request was held back for so long to keep below the service's limits.
    fn held_back(&self, duration: Duration);
    /// A token was issued that expires then.
    fn token_expires(&self, at: chrono::DateTime<chrono::Utc>);
    /// The certificate that proves the identity expires then.
    fn credential_expires(&self, _at: chrono::DateTime<chrono::Utc>) {}
    /// An answer named the time: the service's clock.
    fn date(&self, _service: chrono::DateTime<chrono::Utc>) {}
    /// So many files of the directory are set aside, as they cannot be read.
    fn files_set_aside(&self, _files: u64) {}
}

/// One tenant's source: how its reports are had, paged and decoded.
pub struct Source {
    kind: Kind,
    lookup: Option<enrollment::Lookup>,
    progress: Option<Arc<dyn Progress>>,
    rest: Option<Arc<dyn Rest>>,
}

enum Kind {
    SessionsReport(Arc<graph::Client>, Arc<sessions_report::Report>),
    Collection(Arc<graph::Client>, collection::Collection),
    Files(Arc<files::Directory>),
    ExportJob(Arc<graph::Client>, Arc<export_job::Export>),
}

impl Source {
    /// Prepares the source of a tenant; sends nothing. Fails where `ca_file` cannot be read, a
    /// proxy's variable cannot be understood, or `graph_url` is plain http beyond loopback.
    pub fn new(tenant: &config::Tenant, network: &Network, observer: Arc<dyn Observer>) -> Result<Self, SourceError> {
        Self::with_policy(tenant, network, observer, RetryPolicy::default())
    }

    /// The same with another patience.
    pub fn with_policy(
        tenant: &config::Tenant,
        network: &Network,
        observer: Arc<dyn Observer>,
        policy: RetryPolicy,
    ) -> Result<Self, SourceError> {
        let client = || graph::Client::new(tenant, network, observer.clone(), policy.clone()).map(Arc::new);
        let kind = match &tenant.source {
            config::Source::SessionsReport { page_size, path, columns } => {
                let columns = columns::Columns::new(columns.clone());
                let report = sessions_report::Report::new(&tenant.graph_url, path, *page_size, columns);
                Kind::SessionsReport(client()?, Arc::new(report))
            }
            config::Source::ExportJob { columns, select, job_timeout } => {
                let columns = columns::Columns::new(columns.clone());
                let export = export_job::Export::new(&tenant.graph_url, select, columns, *job_timeout, &policy)?;
                Kind::ExportJob(client()?, Arc::new(export))
            }
            config::Source::Collection { path, page_size } => {
                let collection = collection::Collection::new(&tenant.graph_url, path, *page_size);
                Kind::Collection(client()?, collection)
            }
            config::Source::Files { directory, columns } => {
                let columns = columns::Columns::new(columns.clone());
                Kind::Files(Arc::new(files::Directory::new(directory.clone(), columns, observer.clone())))
            }
        };
        let lookup = match (tenant.enrollment_lookup, kind.client()) {
            (None, _) => None,
            (Some(refresh), Some(shared)) => Some(enrollment::Lookup::new(shared, tenant, refresh)),
            (Some(refresh), None) => Some(enrollment::Lookup::new(client()?, tenant, refresh)),
        };
        Ok(Self { kind, lookup, progress: None, rest: None })
    }

    /// The look-up of enrolment states that reports lack, where it is configured.
    pub fn enrollment_lookup(&self) -> Option<&enrollment::Lookup> {
        self.lookup.as_ref()
    }

    /// The same, whose readings tell how far they are.
    pub fn told_to(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// The same, whose readings rest by this while they only wait.
    pub fn resting_by(self, rest: Arc<dyn Rest>) -> Self {
        Self { rest: Some(rest), ..self }
    }

    /// Starts a reading of everything that the source offers now. Each reading has its own retry budget.
    pub fn read(&self) -> Reading {
        let reading = match &self.kind {
            Kind::SessionsReport(client, report) => Reading::new(Paged::new(client.clone(), report.read())),
            Kind::Collection(client, collection) => Reading::new(Paged::new(client.clone(), collection.read())),
            Kind::Files(directory) => Reading::new(files::Files::new(directory.clone())),
            Kind::ExportJob(client, export) => {
                Reading::new(export.read(client.clone(), self.progress.clone(), self.rest.clone()))
            }
        };
        reading.told_to(self.progress.clone())
    }
}

impl Kind {
    /// The client, where there is one: files need none.
    fn client(&self) -> Option<Arc<graph::Client>> {
        match self {
            Self::SessionsReport(client, _) | Self::Collection(client, _) | Self::ExportJob(client, _) => {
                Some(client.clone())
            }
            Self::Files(_) => None,
        }
    }
}
