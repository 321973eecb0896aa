//! The Intune export of the sessions: a job is submitted, looked at until its file is there, and the file
//! is downloaded from another host and read a page at a time.
//!
//! ```text
//!              ┌──────────── gone, or not completed in time (two more jobs) ────────────┐
//!              ▼                                                                        │
//!  submit ─► wait ─► look ─► completed ─► download (no token) ─► ZIP ─► CSV ─► pages    │
//!              ▲       └─► underway ─┬───────────────┴──────────────────────────────────┘
//!              └────────────────────-┘
//! ```
//!
//! - Each job has `source.job_timeout` from its submission. The service strands jobs at times, in
//!   `inProgress` for ever; one that is not completed by then is left, and another is submitted, at most
//!   three in one reading. A reading thus takes up to three such time-outs. Polls of one tenant never
//!   overlap: what falls due meanwhile is skipped. Between two looks a reading [rests](Rest): it holds
//!   neither an answer nor a connection, and its place among the polls is another's.
//! - A reading submits a job of its own, and no job outlives the process. A file shows the sessions as of
//!   its job: one that was submitted before a restart would be older than a new one and save a single
//!   request, and its id would have to be kept on disk beside the ledger.
//! - A failed job is not repeated within the reading: it fails for what it asks.

mod file;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Method};
use tokio::time::Instant;
use url::Url;

use super::columns::{Columns, LOCALIZED, Survey, Told};
use super::graph::{Attempt, Budget, Client, DownloadError, Request, RetryPolicy, below, download, one_line, shown};
use super::reading::{Pages, Rest, Unreadable};
use super::{Endpoint, Page, Progress, SourceError};
use crate::config::{EXPORT_COLUMNS, MAX_EXPORT_JOBS};
use crate::status::FailureReason;
use file::File;
use wire::{Job, Status};

/// Where jobs are submitted.
const PATH: &str = "/v1.0/deviceManagement/reports/exportJobs";
/// After so long an administrator who watches the log wants to know what is waited for.
const TOLD_AFTER: Duration = Duration::from_secs(30);

/// The export of a tenant.
pub struct Export {
    jobs: Url,
    select: Vec<String>,
    columns: Arc<Columns>,
    told: Told,
    job_timeout: Duration,
    first_look: Duration,
    longest_look: Duration,
}

/// A reading of it.
pub struct Exporting {
    export: Arc<Export>,
    client: Arc<Client>,
    budget: Budget,
    /// How many jobs were submitted.
    submitted: u32,
    /// Why the last one came to nothing.
    given_up: Option<SourceError>,
    state: State,
    date: Option<DateTime<Utc>>,
    /// The columns of the last file.
    schema: Vec<String>,
    progress: Option<Arc<dyn Progress>>,
    rest: Option<Arc<dyn Rest>>,
}

enum State {
    /// A job is to be submitted.
    Submitting,
    /// A job is underway.
    Waiting(Waiting),
    /// Its file is there.
    Downloading(Url),
    /// The file is here.
    Reading(File),
    /// The file was read to its end.
    Finished,
}

/// A job that is waited for.
struct Waiting {
    id: String,
    since: Instant,
    looked: u32,
    next_look: Instant,
    told: bool,
}

impl Export {
    /// The export below an origin, with these columns. Fails where none is selected for a property that
    /// sessions cannot be counted without, or that a column is configured for: every job would be in vain.
    pub fn new(
        origin: &Url,
        select: &[String],
        columns: Columns,
        job_timeout: Duration,
        policy: &RetryPolicy,
    ) -> Result<Self, SourceError> {
        // The service puts the text of a column that it has localized beside it, unasked.
        let names: Vec<_> = select.iter().flat_map(|name| [name.clone(), format!("{name}{LOCALIZED}")]).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let lacking = match columns.resolve(&names) {
            Ok(mapping) => mapping.unmatched,
            Err(missing) => missing.missing().to_vec(),
        };
        if !lacking.is_empty() {
            let message = format!(
                "source.select lacks a column for {}; add the column there, or name one that is there under \
                 source.columns",
                lacking.join(", ")
            );
            return Err(SourceError::new(FailureReason::BadRequest, message));
        }
        Ok(Self {
            jobs: below(origin, PATH),
            select: select.to_vec(),
            columns: Arc::new(columns),
            told: Told::default(),
            job_timeout,
            first_look: policy.first_look,
            longest_look: policy.longest_look,
        })
    }

    /// Starts a reading, which submits a job of its own.
    pub fn read(
        self: &Arc<Self>,
        client: Arc<Client>,
        progress: Option<Arc<dyn Progress>>,
        rest: Option<Arc<dyn Rest>>,
    ) -> Exporting {
        Exporting {
            export: self.clone(),
            budget: client.budget(),
            client,
            submitted: 0,
            given_up: None,
            state: State::Submitting,
            date: None,
            schema: Vec::new(),
            progress,
            rest,
        }
    }

    /// How long to wait before the look after so many.
    fn pace(&self, looked: u32) -> Duration {
        /// Half as long again each time.
        const GROWTH: f64 = 1.5;
        let exponent = i32::try_from(looked).unwrap_or(i32::MAX);
        let bound = self.longest_look.as_secs_f64();
        Duration::from_secs_f64((self.first_look.as_secs_f64() * GROWTH.powi(exponent)).min(bound))
    }

    fn submission(&self) -> Request {
        Request {
            endpoint: Endpoint::ExportJob,
            method: Method::POST,
            url: self.jobs.clone(),
            headers: HeaderMap::new(),
            body: Some(wire::submission(&self.select).to_string().into()),
        }
    }

    fn look(&self, id: &str) -> Request {
        let mut url = self.jobs.clone();
        url.set_path(&format!("{}('{id}')", self.jobs.path()));
        Request { endpoint: Endpoint::ExportJob, method: Method::GET, url, headers: HeaderMap::new(), body: None }
    }
}

#[async_trait]
impl Pages for Exporting {
    // Each step changes the state only when it is done, so a future that is dropped loses none.
    async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        loop {
            match &mut self.state {
                State::Submitting => self.submit().await?,
                State::Waiting(_) => self.look().await?,
                State::Downloading(_) => self.download().await?,
                State::Reading(file) => {
                    let read = file.next_page().await;
                    if self.schema.is_empty() {
                        self.schema.clone_from(&file.header().schema);
                        self.export.told.unmatched(file.header().unmatched.clone());
                    }
                    if let Ok(None) = read {
                        self.state = State::Finished;
                    }
                    return read.map_err(|error| self.abandon(error));
                }
                State::Finished => return Ok(None),
            }
        }
    }

    /// Of Graph's answers, not of the host of the file: one service's clock judges all of a tenant.
    fn date(&self) -> Option<DateTime<Utc>> {
        self.date
    }

    /// The service promises no number of rows.
    fn rows_missing(&self) -> u64 {
        0
    }

    fn survey(&self) -> Option<Survey> {
        (!self.schema.is_empty()).then(|| self.export.columns.survey(&self.schema))
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }
}

impl Exporting {
    fn tell(&self, what: &'static str) {
        if let Some(progress) = &self.progress {
            progress.step(what);
        }
    }

    async fn submit(&mut self) -> Result<(), SourceError> {
        if self.submitted >= MAX_EXPORT_JOBS
            && let Some(error) = &self.given_up
        {
            return Err(error.clone());
        }
        self.tell("submitting an export job");
        let request = self.export.submission();
        let (job, _) = self.ask(&request).await?;
        self.submitted += 1;
        tracing::debug!(job = job.id, "Export job submitted");
        let since = Instant::now();
        let next_look = since + self.export.pace(0);
        self.state = State::Waiting(Waiting { id: job.id, since, looked: 0, next_look, told: false });
        Ok(())
    }

    async fn look(&mut self) -> Result<(), SourceError> {
        let State::Waiting(waiting) = &self.state else { return Ok(()) };
        self.tell("waiting for the export job");
        let deadline = waiting.since + self.export.job_timeout;
        self.rest_until(waiting.next_look.min(deadline)).await;
        let request = self.export.look(&waiting.id);
        let asked = self.ask(&request).await;
        let State::Waiting(waiting) = &mut self.state else { return Ok(()) };
        let (job, retry_after) = match asked {
            Ok(answer) => answer,
            Err(error) if error.reason == FailureReason::NotFound => return self.give_up(error.message),
            Err(error) => return Err(error),
        };
        let (now, waited) = (Instant::now(), waiting.since.elapsed());
        let status = match (job.status, job.url) {
            (Status::Completed, Some(url)) => {
                tracing::debug!(job = waiting.id, waited_seconds = waited.as_secs_f64(), "Export job completed");
                self.state = State::Downloading(download(&url).map_err(|error| self.abandon(error))?);
                return Ok(());
            }
            (Status::Completed, None) => "completed without an address".to_owned(),
            (Status::Failed, _) => {
                let error = failed(&waiting.id, &self.export.select);
                return Err(self.abandon(error));
            }
            (Status::Underway(status), _) => status,
        };
        if now >= deadline {
            let why = format!(
                "export job {} is still {status} after {} s (the service leaves jobs unfinished at times; a longer \
                 source.job_timeout gives them more time)",
                waiting.id,
                self.export.job_timeout.as_secs_f64()
            );
            return self.give_up(why);
        }
        waiting.looked += 1;
        let wait =
            retry_after.map_or_else(|| self.export.pace(waiting.looked), |asked| asked.max(self.export.first_look));
        waiting.next_look = now + wait.min(self.export.job_timeout);
        if waited >= TOLD_AFTER && !waiting.told {
            waiting.told = true;
            tracing::info!(job = waiting.id, status, waited_seconds = waited.as_secs(), "Waiting for the export job");
        }
        Ok(())
    }

    async fn rest_until(&self, until: Instant) {
        if let Some(rest) = &self.rest {
            rest.begin();
        }
        tokio::time::sleep_until(until).await;
        if let Some(rest) = &self.rest {
            rest.end().await;
        }
    }

    async fn download(&mut self) -> Result<(), SourceError> {
        let State::Downloading(url) = &self.state else { return Ok(()) };
        self.tell("downloading the export");
        match self.client.download(url, &mut self.budget).await {
            Ok(archive) => {
                tracing::debug!(bytes = archive.len(), "Export downloaded");
                self.schema.clear();
                self.state = State::Reading(File::new(archive, shown(url), self.export.columns.clone()));
                Ok(())
            }
            Err(DownloadError::Gone(error)) => self.give_up(error.message),
            // Another call tries the same address again.
            Err(DownloadError::Failed(error)) => Err(error),
        }
    }

    /// Sends a request about a job; with the job, how long the service asks to wait.
    async fn ask(&mut self, request: &Request) -> Result<(Job, Option<Duration>), SourceError> {
        let mut attempt = Attempt::first();
        loop {
            let answer = self.client.send(request, &mut self.budget).await?;
            let (why, cut) = match Job::read(&answer.body) {
                Err(Unreadable::Columns(missing)) => (missing.to_string(), false),
                Ok(job) => {
                    self.date = self.date.max(answer.date());
                    return Ok((job, answer.retry_after()));
                }
                Err(Unreadable::Cut(why)) => (why, true),
                Err(Unreadable::Wrong(why)) => (why, false),
            };
            let message = format!("{} {}: {why}", request.method, shown(&request.url));
            let error = SourceError::new(FailureReason::InvalidResponse, message);
            if !cut {
                return Err(error);
            }
            self.client.pause_after_cut(error, attempt, &mut self.budget).await?;
            attempt = attempt.next();
        }
    }

    /// Leaves a job that comes to nothing for another one, if there may be another.
    fn give_up(&mut self, why: String) -> Result<(), SourceError> {
        if self.submitted < MAX_EXPORT_JOBS {
            tracing::warn!(
                reason = why,
                jobs = self.submitted,
                at_most = MAX_EXPORT_JOBS,
                "Submitting another export job"
            );
            self.state = State::Submitting;
            return Ok(());
        }
        let message =
            format!("{why}; it was the last of {MAX_EXPORT_JOBS} export jobs, and the next poll submits another");
        Err(self.abandon(SourceError::new(FailureReason::ExportJob, message)))
    }

    /// Leaves a job for good. Another call submits another, if there may be another.
    fn abandon(&mut self, error: SourceError) -> SourceError {
        self.state = State::Submitting;
        self.given_up = Some(error.clone());
        error
    }
}

/// The service does not say why a job failed. An unknown column is a known reason.
fn failed(id: &str, select: &[String]) -> SourceError {
    let known = |name: &&String| EXPORT_COLUMNS.contains(&name.as_str());
    let undocumented: Vec<_> = select.iter().filter(|name| !known(name)).map(|name| one_line(name)).collect();
    let remedy = if undocumented.is_empty() {
        "all of source.select are documented columns: try fewer of them, or read the sessions_report".to_owned()
    } else {
        format!("remove from source.select what is not a documented column: {}", one_line(&undocumented.join(", ")))
    };
    let message = format!(
        "export job {id} failed at the service, as it does for a column that the report does not have; {remedy}; the \
         next poll submits another"
    );
    SourceError::new(FailureReason::ExportJob, message)
}
