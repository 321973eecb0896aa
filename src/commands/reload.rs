//! Another configuration while the program runs: all of it, or nothing.
//!
//! The configuration is read and checked, the sources of new and changed tenants are built, and the
//! ledger takes the new settings over in one transaction: until then nothing has changed, and any failure
//! leaves everything as it was. After that nothing fails: polls of tenants that went or changed are
//! abandoned, and those of tenants that came or changed begin. Tenants that stay as they are notice
//! nothing of it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Failure;
use super::exporter::{Parts, configured, enter};
use super::log::Log;
use super::signals::Hangups;
use super::web_file::WebFile;
use crate::clock;
use crate::config::{self, Config, FirstRun};
use crate::ledger::writer::{WriteError, Writer};
use crate::ledger::{ReconfigureError, Settings};
use crate::poll::{Changes, Supervisor, TenantPoll, reconcile};
use crate::web::ReloadRequest;

/// Requests that wait while a reload is under way; the next one serves all of them. More are refused.
const QUEUE: usize = 16;
/// How long reading and checking may take. A thousand tenants take seconds; a file system that does not
/// answer must not keep whoever asks.
const LOADING: Duration = Duration::from_secs(60);

/// Gives the configuration anew.
pub(super) type Load = Arc<dyn Fn() -> Result<Config, Failure> + Send + Sync>;

/// How tenants are read, by name.
type Readings = BTreeMap<Arc<str>, Reading>;

/// All that a tenant's polls depend on. What differs beyond it, the ledger takes over without them.
#[derive(Clone, PartialEq)]
struct Reading {
    tenant: config::Tenant,
    /// A hash of the contents of `ca_file`.
    authority: Option<u64>,
}

/// Reloads the configuration when asked, one time after the other.
pub(super) struct Reloader {
    load: Load,
    log: Log,
    readings: Readings,
    parts: Parts,
    writer: Writer,
    supervisor: Supervisor,
    /// The web configuration, which is read again as well.
    web_file: Option<Arc<WebFile>>,
    /// A loading that took too long and has not ended yet.
    overdue: Option<JoinHandle<Result<Loaded, Failure>>>,
}

/// A configuration with all that can be made of it without changing anything.
struct Loaded {
    config: Config,
    /// It as YAML, for those who look.
    shown: String,
    readings: Readings,
    changes: Changes,
    /// The tenants that are new or changed.
    polls: Vec<TenantPoll>,
}

/// Why the configuration in force stays. One line.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// It cannot be read, breaks a rule, or a source cannot be built.
    #[error(transparent)]
    Refused(Failure),
    /// The ledger could not take it over.
    #[error("{}: cannot take the configuration over ({detail}); check free space and permissions, and the log", path.display())]
    Ledger { path: std::path::PathBuf, detail: String },
    /// The web configuration.
    #[error("{0}")]
    Web(String),
    /// Neither of the two can be put in force.
    #[error("{0}; and {1}")]
    Both(Box<Self>, String),
    /// The ledger refuses it, or its task has ended.
    #[error("{0}")]
    Writer(WriteError),
    #[error("reading the configuration takes over {} seconds; check the file system that it is on", LOADING.as_secs())]
    Slow,
    #[error(
        "reading the configuration failed by a defect of the exporter; please report it with what standard error says"
    )]
    Defect,
}

/// Where requests for reloads are sent, and where they arrive.
pub(super) fn requests() -> (mpsc::Sender<ReloadRequest>, mpsc::Receiver<ReloadRequest>) {
    mpsc::channel(QUEUE)
}

impl Reloader {
    /// Over what runs by `config`.
    pub(super) fn new(
        (load, log): (Load, Log),
        config: &Config,
        parts: Parts,
        writer: Writer,
        supervisor: Supervisor,
        web_file: Option<Arc<WebFile>>,
    ) -> Self {
        Self { load, log, readings: readings(config), parts, writer, supervisor, web_file, overdue: None }
    }

    /// Serves requests and signals until the stop; then waits until all polls have ended.
    pub(super) async fn run(
        mut self,
        mut requests: mpsc::Receiver<ReloadRequest>,
        mut hangups: Option<Hangups>,
        stop: CancellationToken,
    ) {
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                () = stop.cancelled() => break,
                () = next(&mut hangups) => {}
                Some(request) = requests.recv() => waiting.push(request),
            }
            // Whoever asked before it begins is served by it. There are never more than the queue holds.
            while let Ok(request) = requests.try_recv() {
                waiting.push(request);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                outcome = self.reload_both() => answer(outcome, waiting),
            }
        }
        let Self { writer, supervisor, .. } = self;
        drop(writer);
        supervisor.ended().await;
    }

    /// Each of the two configurations by itself: neither has to wait for the other to be mended.
    async fn reload_both(&mut self) -> Result<(), ReloadError> {
        let outcome = self.reload().await;
        let Some(file) = &self.web_file else { return outcome };
        match (outcome, file.look(true).await) {
            (outcome, Ok(())) => outcome,
            (Ok(()), Err(web)) => Err(ReloadError::Web(web)),
            (Err(refused), Err(web)) => Err(ReloadError::Both(Box::new(refused), web)),
        }
    }

    async fn reload(&mut self) -> Result<(), ReloadError> {
        let started = Instant::now();
        let result = self.try_reload().await;
        match &result {
            Ok(changes) => info!(
                added = changes.added.len(),
                removed = changes.removed.len(),
                changed = changes.changed.len(),
                unchanged = changes.unchanged,
                duration = ?started.elapsed(),
                "Reloaded the configuration"
            ),
            Err(refused) => {
                self.parts.own.config_refused();
                self.parts.status.configuration_refused(refused.to_string(), clock::now());
                error!(error = %refused, "Cannot reload the configuration; the one before stays in force");
            }
        }
        result.map(drop)
    }

    async fn try_reload(&mut self) -> Result<Changes, ReloadError> {
        let Loaded { config, shown, readings, changes, polls } = self.loaded().await?;
        let now = clock::now();
        let restored = self.writer.reconfigure(Settings::new(&config), now).await?;

        // The ledger has it: from here on nothing fails.
        self.supervisor.end(&changes.stopped()).await;
        self.parts.own.forget(&changes.removed);
        self.parts.own.forget_sources(&changes.changed);
        changes.removed.iter().for_each(|tenant| self.parts.status.remove(tenant));
        enter(&polls, &restored);
        self.supervisor.begin(polls);
        self.readings = readings;
        configured(&self.parts.own, &self.parts.status, &config, shown);
        self.log.obey(&config);
        Ok(changes)
    }

    /// Reads and checks on a thread that may block.
    async fn loaded(&mut self) -> Result<Loaded, ReloadError> {
        if self.overdue.take_if(|overdue| overdue.is_finished()).is_none() && self.overdue.is_some() {
            return Err(ReloadError::Slow);
        }
        let (load, before, parts) = (self.load.clone(), self.readings.clone(), self.parts.clone());
        let mut loading = tokio::task::spawn_blocking(move || {
            let config = load()?;
            let readings = readings(&config);
            let changes = reconcile(&before, &readings);
            let starting = config.tenants.iter().filter(|tenant| changes.starts(&tenant.name));
            let polls = starting.map(|tenant| parts.poll(tenant)).collect::<Result<_, _>>()?;
            Ok(Loaded { shown: config.to_yaml(), config, readings, changes, polls })
        });
        match tokio::time::timeout(LOADING, &mut loading).await {
            Ok(Ok(loaded)) => loaded.map_err(ReloadError::Refused),
            Ok(Err(_)) => Err(ReloadError::Defect),
            Err(_) => {
                self.overdue = Some(loading);
                Err(ReloadError::Slow)
            }
        }
    }
}

impl From<WriteError> for ReloadError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Reconfigure(ReconfigureError::Commit(error)) => {
                Self::Ledger { path: error.path, detail: error.detail }
            }
            other => Self::Writer(other),
        }
    }
}

async fn next(hangups: &mut Option<Hangups>) {
    match hangups {
        Some(hangups) => hangups.next().await,
        None => std::future::pending().await,
    }
}

fn answer(outcome: Result<(), ReloadError>, waiting: Vec<ReloadRequest>) {
    let outcome = outcome.map_err(|error| error.to_string());
    // Whoever asked may have hung up.
    waiting.into_iter().for_each(|request| drop(request.send(outcome.clone())));
}

fn readings(config: &Config) -> Readings {
    let mut authorities = HashMap::new();
    let readings = config.tenants.iter().map(|tenant| {
        let authority =
            tenant.ca_file.as_deref().map(|path| *authorities.entry(path).or_insert_with(|| contents(path)));
        // How sessions are counted is the ledger's part.
        let tenant = config::Tenant { lookback: Duration::ZERO, first_run: FirstRun::default(), ..tenant.clone() };
        (tenant.name.clone(), Reading { tenant, authority })
    });
    readings.collect()
}

/// A hash of what the file holds. Whether it can be read, and what it is good for, is seen elsewhere.
fn contents(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::fs::read(path).ok().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::ledger::CommitError;

    /// What the configuration itself may lack has its messages there.
    #[test]
    fn every_reason_is_one_line_with_the_remedy() {
        let detail = "No space left on device".to_owned();
        let commit = CommitError { path: "data/ledger.redb".into(), detail };
        let path = "data/ledger.redb".into();
        let moved = ReconfigureError::Moved { path, detail: "tenant contoso was taken out; import it".to_owned() };
        let source = Failure::Usage("tenant contoso: ca_file ca.pem: not found".to_owned());
        let reasons = [
            ReloadError::Refused(source),
            WriteError::from(ReconfigureError::from(commit)).into(),
            WriteError::from(moved).into(),
            WriteError::Ended.into(),
            ReloadError::Slow,
            ReloadError::Defect,
        ];
        assert_snapshot!(reasons.map(|reason| reason.to_string()).join("\n"), @"
        tenant contoso: ca_file ca.pem: not found
        data/ledger.redb: cannot take the configuration over (No space left on device); check free space and permissions, and the log
        data/ledger.redb: tenant contoso was taken out; import it
        the ledger's writer has ended; see the log
        reading the configuration takes over 60 seconds; check the file system that it is on
        reading the configuration failed by a defect of the exporter; please report it with what standard error says
        ");
    }

    #[test]
    fn polls_depend_on_everything_but_the_ledgers_part() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("secret"), "s").unwrap();
        let readings = |keys: &str| {
            let yaml = format!("tenants: [{{name: a, tenant_id: a.example, {keys}}}]");
            readings(&Config::from_yaml(&yaml, &directory.path().join("x.yaml")).unwrap())
        };
        let credential = "credential: {kind: client_secret, client_id: i, client_secret: secret-1}";
        let before = readings(credential);
        for same in ["lookback: 7d", "first_run: baseline", "poll_interval: 5m"] {
            let changes = reconcile(&before, &readings(&format!("{credential}, {same}")));
            assert_eq!((changes.unchanged, changes.changed.len()), (1, 0), "{same}");
        }
        for other in [
            "credential: {kind: none}",
            // Its text is in no `Debug`, so no comparison of those would see it.
            "credential: {kind: client_secret, client_id: i, client_secret: secret-2}",
            "credential: {kind: client_secret, client_id: i, client_secret_file: secret}",
            &format!("{credential}, poll_interval: 6m"),
            &format!("{credential}, graph_url: http://127.0.0.1:1"),
            &format!("{credential}, source: {{kind: sessions_report, page_size: 7}}"),
            &format!("{credential}, source: {{kind: sessions_report, columns: {{endDateTime: Ende}}}}"),
        ] {
            assert_eq!(reconcile(&before, &readings(other)).changed.len(), 1, "{other}");
        }
    }

    #[test]
    fn a_file_is_its_contents() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let absent = contents(&path);
        std::fs::write(&path, "").unwrap();
        let empty = contents(&path);
        std::fs::write(&path, "a").unwrap();
        assert_eq!(contents(&path), contents(&path));
        assert!(absent != empty && empty != contents(&path));
    }
}
