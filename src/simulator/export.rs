//! Export jobs: submitted, asked about, and in the end an address at which blob storage has the file.
//!
//! A job shows the sessions as of its submission. How far it is follows from how often it was asked
//! about, so that a test needs to wait for nothing.

mod archive;
pub(super) mod blob;

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::columns;
use super::draw::{digest, guid};
use super::scenario::Scenario;
use super::stream::Snapshot;

/// The end of the path where jobs are submitted, below the version.
pub(super) const PATH: &str = "/deviceManagement/reports/exportJobs";
/// The only report that the simulator exports.
const REPORT: &str = "RemoteAssistanceSessions";
/// How many jobs of a tenant are remembered; older ones are gone, and their files with them.
const JOBS: usize = 64;
/// How long the address of a file is good. The service's are for some hours.
const VALIDITY: TimeDelta = TimeDelta::hours(6);
/// What stands for a date that is not known.
const NO_DATE: &str = "0001-01-01T00:00:00Z";
/// The statuses of `job-strange` before the job completes. The third stands for none at all.
const STRANGE: [&str; 3] = ["unknown", "waitingForSnapshot", ""];

/// The body of a submission. Members of the resource that a client may send along are accepted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct JobRequest {
    report_name: String,
    #[serde(default)]
    format: Option<String>,
    #[serde(default)]
    select: Option<Vec<String>>,
    #[serde(default)]
    localization_type: Option<String>,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    search: Option<String>,
    #[serde(default)]
    snapshot_id: Option<String>,
    #[serde(default, rename = "@odata.type")]
    odata_type: Option<String>,
}

/// The jobs of one tenant.
#[derive(Default)]
pub(super) struct Jobs {
    submitted: u64,
    jobs: VecDeque<Job>,
}

/// One job.
#[derive(Clone)]
pub(super) struct Job {
    id: String,
    request: Arc<JobRequest>,
    scenario: Scenario,
    snapshot: Arc<Snapshot>,
    extended: bool,
    requested: DateTime<Utc>,
    /// How often it was asked about.
    looks: u32,
    /// How often it is then in progress before it is completed.
    looks_in_progress: u32,
    signature: String,
    /// Until when its address is good, once it is completed.
    expires: Option<DateTime<Utc>>,
}

/// Where a job is told of and where its file is.
pub(super) struct Place<'a> {
    /// The origin that the request came to.
    pub origin: &'a str,
    /// `v1.0` or `beta`.
    pub version: &'a str,
    /// The origin of blob storage.
    pub blob_origin: &'a str,
}

impl JobRequest {
    /// Reads the body; `Err` with a message for what the service or the simulator does not do.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let request: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let given = |member: &Option<String>| member.as_ref().is_some_and(|text| !text.is_empty());
        let odd = |member: &Option<String>, known: &[&str]| {
            member.as_ref().is_some_and(|text| !known.iter().any(|known| text.eq_ignore_ascii_case(known)))
        };
        if request.report_name != REPORT {
            return Err(format!("Invalid report name: {}.", request.report_name));
        }
        // The other formats exist, but what they look like is not known.
        if odd(&request.format, &["csv"]) {
            return Err("The simulator exports csv only.".into());
        }
        if odd(&request.localization_type, &["localizedValuesAsAdditionalColumn", "replaceLocalizableValues"]) {
            return Err("The localizationType is not valid.".into());
        }
        if odd(&request.odata_type, &["#microsoft.graph.deviceManagementExportJob"]) {
            return Err("The type is not that of an export job.".into());
        }
        // What these do for this report is not known, so nothing may come to rely on them.
        if given(&request.filter) || given(&request.search) || given(&request.snapshot_id) {
            return Err("The simulator supports neither filter, search nor snapshotId.".into());
        }
        Ok(request)
    }
}

impl Jobs {
    /// Submits a job.
    pub fn submit(&mut self, new: NewJob<'_>) -> &mut Job {
        let key = |what: &str| {
            let number = self.submitted.to_le_bytes();
            let time = new.now.timestamp_nanos_opt().unwrap_or_default().to_le_bytes();
            digest(&[b"export", what.as_bytes(), new.tenant_id.as_bytes(), &number, &time])
        };
        let job = Job {
            id: format!("{REPORT}_{}", guid(&key("id"))),
            request: Arc::new(new.request),
            scenario: new.scenario,
            snapshot: new.snapshot,
            extended: new.extended,
            requested: new.now,
            looks: 0,
            looks_in_progress: new.looks_in_progress,
            signature: STANDARD.encode(key("signature")),
            expires: None,
        };
        self.submitted += 1;
        if self.jobs.len() == JOBS {
            self.jobs.pop_front();
        }
        self.jobs.push_back(job);
        let last = self.jobs.len() - 1;
        &mut self.jobs[last]
    }

    /// The job of this id.
    pub fn find(&mut self, id: &str) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id == id)
    }
}

/// A job before it has an id.
pub(super) struct NewJob<'a> {
    /// What is asked for.
    pub request: JobRequest,
    /// What becomes of it.
    pub scenario: Scenario,
    /// The sessions that it shows.
    pub snapshot: Arc<Snapshot>,
    /// Whether the resource's property names are columns too.
    pub extended: bool,
    /// How often it is in progress when asked about.
    pub looks_in_progress: u32,
    /// Whose it is.
    pub tenant_id: &'a str,
    /// When it is submitted.
    pub now: DateTime<Utc>,
}

impl Job {
    /// The job as it is after its submission.
    pub fn submitted(&self, place: &Place<'_>) -> Value {
        self.shown(Some("notStarted"), None, place)
    }

    /// The job as it is now that it is asked about.
    pub fn look(&mut self, now: DateTime<Utc>, place: &Place<'_>) -> Value {
        self.looks = self.looks.saturating_add(1);
        if self.scenario == Scenario::JobStranded || self.looks <= self.looks_in_progress {
            return self.shown(Some("inProgress"), None, place);
        }
        let strange = (self.looks - self.looks_in_progress - 1) as usize;
        if self.scenario == Scenario::JobStrange && strange <= STRANGE.len() {
            let status = STRANGE.get(strange).copied().unwrap_or("completed");
            return self.shown(Some(status).filter(|status| !status.is_empty()), None, place);
        }
        if self.scenario == Scenario::JobFailed || self.columns().is_err() {
            return self.shown(Some("failed"), None, place);
        }
        self.expires = self.expires.or(Some(now + VALIDITY));
        self.shown(Some("completed"), self.expires, place)
    }

    /// The columns of the file; `Err` where it asks for one that does not exist.
    fn columns(&self) -> Result<Vec<columns::Shape>, String> {
        let select = self.request.select.as_deref().unwrap_or_default();
        columns::columns(select, self.extended, self.scenario, &self.id)
    }

    fn shown(&self, status: Option<&str>, expires: Option<DateTime<Utc>>, place: &Place<'_>) -> Value {
        let date = |date: DateTime<Utc>| date.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let Place { origin, version, .. } = place;
        let mut job = json!({
            "@odata.context": format!("{origin}/{version}/$metadata#deviceManagement/reports/exportJobs/$entity"),
            "id": self.id,
            "reportName": REPORT,
            "filter": null,
            "select": self.request.select.clone().unwrap_or_default(),
            "format": "csv",
            "snapshotId": null,
            "localizationType": self.request.localization_type,
            "requestDateTime": date(self.requested),
            "status": status,
            "url": expires.map(|_| self.url(place)),
            "expirationDateTime": expires.map_or_else(|| NO_DATE.to_owned(), date),
        });
        if let (None, Some(members)) = (status, job.as_object_mut()) {
            members.remove("status");
        }
        job
    }

    /// The address of the file. Whoever has it may read the file: that is what the signature is for.
    fn url(&self, place: &Place<'_>) -> String {
        let origin = match self.scenario {
            Scenario::JobPlainUrl => "http://exports.foreign.example",
            _ => place.blob_origin,
        };
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("sv", blob::VERSION)
            .append_pair("sr", "b")
            .append_pair("sp", "r")
            .append_pair("sig", &self.signature)
            .finish();
        format!("{origin}{}{}.zip?{query}", blob::CONTAINER, self.id)
    }

    /// The file, as the archive that blob storage has.
    fn archive(&self) -> std::io::Result<Vec<u8>> {
        let columns = self.columns().map_err(std::io::Error::other)?;
        let csv = archive::csv(&self.snapshot, &columns, self.scenario);
        archive::zip(&[(&format!("{}.csv", self.id), &csv)])
    }
}
