//! A simulated Graph with one tenant and sixty sessions, a second one where no request may arrive, and
//! what a reading of it gives.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use remote_assistance_exporter::clock;
use remote_assistance_exporter::config::Config;
use remote_assistance_exporter::session::{Label as _, Reject, SessionReport};
use remote_assistance_exporter::simulator::{
    COLLECTION_PATH, Options, Recorded, Scenario, Session, Simulator, Tenant, TenantOptions,
};
use remote_assistance_exporter::source::{Endpoint, Network, Observer, Reading, RetryPolicy, Source, SourceError};

/// Where export jobs are submitted, and below which each is found.
const EXPORT_JOBS: &str = "/v1.0/deviceManagement/reports/exportJobs";
/// How many sessions there are.
pub const SESSIONS: usize = 60;
/// Rows of a page: the sessions are three pages, the last one not full.
pub const PAGE: usize = 25;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Report,
    Collection,
}

pub const KINDS: [Kind; 2] = [Kind::Report, Kind::Collection];

/// What both kinds have in common with a real service, and a trap beside it.
pub struct Bench {
    pub simulator: Simulator,
    pub tenant: Tenant,
    /// Another origin, whose certificate the client trusts: nothing but its own refusal keeps it away.
    pub foreign: Simulator,
    pub directory: tempfile::TempDir,
}

impl Bench {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let foreign = Simulator::start(Options::new(clock::now, vec![TenantOptions::manual("other")])).await.unwrap();
        let mut options = Options::new(clock::now, vec![TenantOptions::manual("contoso")]);
        options.authority = Some(foreign.authority().clone());
        options.foreign_origin = foreign.url();
        change(&mut options);
        let simulator = Simulator::start(options).await.unwrap();
        let tenant = simulator.tenant("contoso").unwrap();
        tenant.set_sessions((0..SESSIONS).map(session).collect());
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), simulator.ca_pem()).unwrap();
        Self { simulator, tenant, foreign, directory }
    }

    /// The source of the tenant as a configuration makes it.
    pub fn source(&self, kind: Kind, policy: RetryPolicy) -> (Source, Arc<Witness>) {
        let source = match kind {
            Kind::Report => format!("{{kind: sessions_report, page_size: {PAGE}}}"),
            Kind::Collection => format!("{{kind: collection, page_size: {PAGE}, path: {COLLECTION_PATH}}}"),
        };
        self.source_of(&source, policy)
    }

    /// The same with this text under `source`.
    pub fn source_of(&self, source: &str, policy: RetryPolicy) -> (Source, Arc<Witness>) {
        let (witness, network) = (Arc::new(Witness::default()), Network::new(|_| None));
        let config = configuration(&self.simulator, &self.tenant, source, self.directory.path());
        (Source::with_policy(&config.tenants[0], &network, witness.clone(), policy).unwrap(), witness)
    }

    /// Reads everything under a scenario.
    pub async fn read(&self, kind: Kind, scenario: Scenario) -> Outcome {
        self.tenant.set_scenario(scenario);
        read(self.source(kind, quick())).await
    }

    /// What was asked of the service, one line each, in order.
    pub fn calls(&self) -> Vec<String> {
        self.tenant.requests().iter().map(call).collect()
    }

    /// Fails the test where a request of the client was not as all of them must be.
    #[track_caller]
    pub fn check_requests(&self) {
        let requests = self.tenant.requests();
        let mut ids: Vec<_> = requests.iter().map(|request| request.client_request_id.clone().unwrap()).collect();
        assert!(ids.iter().all(|id| uuid::Uuid::parse_str(id).is_ok()), "{ids:?}");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), requests.len(), "each request has an id of its own");
        for request in &requests {
            let (token, collection) = (is_token(request), request.path.starts_with(COLLECTION_PATH));
            assert_eq!(request.authorization, !token, "{request:?}");
            assert_eq!(request.prefer.as_deref(), collection.then_some("include-unknown-enum-members"), "{request:?}");
            assert_eq!(request.accept_encoding.as_deref(), Some("gzip"), "{request:?}");
            // Tokens are asked for in the name of the library that does it.
            let ours =
                request.user_agent.as_ref().is_some_and(|agent| agent.starts_with("remote-assistance-exporter/"));
            assert!(token || ours, "{request:?}");
        }
        assert_eq!(self.simulator.stray_requests(), []);
        assert_eq!(self.simulator.write_requests(), []);
        self.check_foreign();
    }

    /// Fails the test where anything came to the foreign origin.
    #[track_caller]
    pub fn check_foreign(&self) {
        assert_eq!(self.foreign.stray_requests(), []);
        assert_eq!(self.foreign.tenant("other").unwrap().requests(), []);
    }
}

/// A configuration with one tenant.
pub fn configuration(simulator: &Simulator, tenant: &Tenant, source: &str, directory: &Path) -> Config {
    let (url, options) = (simulator.url(), tenant.options());
    let yaml = format!(
        "tenants:\n- name: contoso\n  tenant_id: {}\n  graph_url: {url}\n  authority_url: {url}\n  ca_file: ca.pem\n  \
         credential: {{kind: client_secret, client_id: {}, client_secret: {}}}\n  source: {source}\n",
        options.tenant_id, options.client_id, options.client_secret
    );
    Config::from_yaml(&yaml, &directory.join("exporter.yaml")).unwrap()
}

/// Patience in which waits that the service does not ask for take no time.
pub fn quick() -> RetryPolicy {
    RetryPolicy {
        attempts_per_request: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(1),
        ..RetryPolicy::default()
    }
}

/// The session of this number, as the simulator has it.
pub fn session(number: usize) -> Session {
    let end = noon() + TimeDelta::minutes(number as i64);
    Session {
        id: format!("s-{number}"),
        start: Some(end - TimeDelta::minutes(9)),
        end: Some(end),
        session_type: Some("viewOnly".into()),
        ..Session::default()
    }
}

pub fn noon() -> DateTime<Utc> {
    "2026-03-19T12:00:00Z".parse().unwrap()
}

/// The ids of these sessions.
pub fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| format!("s-{number}")).collect()
}

/// All that a reading gave.
#[derive(Debug)]
pub struct Outcome {
    pub reports: Vec<SessionReport>,
    pub rejects: Vec<Reject>,
    pub rows_missing: u64,
    pub is_complete: bool,
    pub error: Option<SourceError>,
    pub heard: Vec<String>,
}

impl Outcome {
    pub fn ids(&self) -> Vec<String> {
        self.reports.iter().map(|report| report.id.to_string()).collect()
    }

    /// Why it ended early: the reason's label and the message.
    #[track_caller]
    pub fn failure(&self) -> String {
        let error = self.error.as_ref().expect("it should have failed");
        format!("{}: {}", error.reason.as_str(), error.message)
    }

    /// Fails the test unless every session was read, once.
    #[track_caller]
    pub fn check_whole(&self) {
        assert!(self.error.is_none(), "{:?}", self.error);
        assert_eq!((self.ids(), self.rejects.len()), (ids(0..SESSIONS), 0));
        assert_eq!((self.rows_missing, self.is_complete), (0, true));
    }
}

/// Reads to the end.
pub async fn read((source, witness): (Source, Arc<Witness>)) -> Outcome {
    go_on(source.read(), &witness).await
}

/// Reads on to the end.
pub async fn go_on(mut reading: Reading, witness: &Witness) -> Outcome {
    let (mut reports, mut rejects) = (Vec::new(), Vec::new());
    let error = loop {
        match reading.next_page().await {
            Ok(Some(page)) => {
                reports.extend(page.reports);
                rejects.extend(page.rejects);
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let (rows_missing, is_complete) = (reading.rows_missing(), reading.is_complete());
    Outcome { reports, rejects, rows_missing, is_complete, error, heard: witness.heard() }
}

fn is_token(request: &Recorded) -> bool {
    request.path.ends_with("/oauth2/v2.0/token")
}

/// One of `POST token 200`, `POST 0+25 200` (skip and top of the report), `POST 25+25 pinned 200` (with
/// the first answer's SessionId), `POST job 201`, `GET ?$top=25 200`, `GET ?$top=25&$skiptoken=*0190 200` (with the end
/// of the simulator's token, which tells the place).
fn call(request: &Recorded) -> String {
    let status = request.status;
    if is_token(request) {
        return format!("{} token {status}", request.method);
    }
    if request.path.starts_with(EXPORT_JOBS) {
        return format!("{} job {status}", request.method);
    }
    if request.body.is_empty() {
        let query = request.path.strip_prefix(COLLECTION_PATH).unwrap_or(&request.path);
        let query = match query.split_once("&$skiptoken=") {
            Some((before, token)) => format!("{before}&$skiptoken=*{}", &token[token.len() - 4..]),
            None => query.to_owned(),
        };
        return format!("{} {query} {status}", request.method);
    }
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    let pinned = if body.get("sessionId").is_some() { " pinned" } else { "" };
    format!("{} {}+{}{pinned} {status}", request.method, body["skip"], body["top"])
}

/// An observer that keeps what it is told.
#[derive(Default)]
pub struct Witness(Mutex<Vec<String>>);

impl Witness {
    pub fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn hear(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Observer for Witness {
    fn request(&self, endpoint: Endpoint, status: Option<u16>, _: Duration) {
        let status = status.map_or("error".to_owned(), |status| status.to_string());
        self.hear(format!("{} {status}", endpoint.as_str()));
    }

    fn retry(&self) {
        self.hear("retry".to_owned());
    }

    fn throttled(&self) {
        self.hear("throttled".to_owned());
    }

    fn held_back(&self, _: Duration) {
        self.hear("held back".to_owned());
    }

    fn token_expires(&self, _: DateTime<Utc>) {
        self.hear("token".to_owned());
    }
}
