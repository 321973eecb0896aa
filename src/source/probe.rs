//! Looks at one tenant step by step, as the exporter reads it, and says what each step found. Nothing of
//! what it says is personal or secret: names of columns, of values and of permissions, numbers, dates.
//!
//! `network` looks at names and certificates, `access` at the token, `rows` at what a page holds.

mod access;
mod certificate;
mod network;
mod rows;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Endpoint, Far, Observer, Progress, RetryPolicy, Source, SourceError};
use crate::config;
use crate::session::{Label as _, Property, label};

pub use certificate::Certificate;

/// A clock that differs by more is worth a look: tokens are valid from the minute in which they are made.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// A clock that differs by more is not believed by the ledger either.
const CLOCK_LIMIT: TimeDelta = TimeDelta::days(1);

label! {
    /// What is looked at, in this order.
    StepName("step") {
        /// The tenant's configuration, and the files that it names.
        Configuration = "configuration",
        /// The addresses of the hosts.
        NameResolution = "name_resolution",
        /// Connections to the hosts, and their certificates.
        Tls = "tls",
        /// A token by the configured credential.
        Token = "token",
        /// What the token says that it may do.
        Permission = "permission",
        /// The first page of reports.
        Read = "read",
        /// Where the properties of a session are found in it.
        Columns = "columns",
        /// The difference between the service's clock and this machine's.
        Clock = "clock",
    }
}

/// One step, and what came of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which one.
    pub name: StepName,
    /// How it went.
    pub outcome: Outcome,
    /// What was found, as far as it came.
    pub detail: Option<Detail>,
}

/// How a step went.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Well.
    Fine,
    /// Well, but something is worth a look: what, on one line, with the remedy.
    Warning(String),
    /// Not well.
    Failed(SourceError),
    /// Not done, because this step failed.
    Skipped(StepName),
    /// Not done, because this tenant has no use for it or it was not asked for: why, on one line.
    NotApplicable(String),
}

/// What a step found.
#[derive(Clone, Debug)]
pub enum Detail {
    /// Of [`StepName::Configuration`].
    Configuration(Configuration),
    /// Of [`StepName::NameResolution`].
    Hosts(Vec<Host>),
    /// Of [`StepName::Tls`].
    Connections(Vec<Connection>),
    /// Of [`StepName::Token`].
    Token(Token),
    /// Of [`StepName::Permission`].
    Permission(Permission),
    /// Of [`StepName::Read`].
    Page(PageRead),
    /// Of [`StepName::Columns`].
    Columns(Columns),
    /// Of [`StepName::Clock`].
    Clock(Clock),
}

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The source's kind.
    pub source: &'static str,
    /// The credential's kind.
    pub credential: &'static str,
    /// The origin of Graph.
    pub graph_url: String,
    /// The origin that tokens are asked from, where the credential asks there.
    pub authority_url: Option<String>,
    /// Files that the configuration names; all of them could be read.
    pub files: Vec<PathBuf>,
}

/// A host's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The key that names it.
    pub key: &'static str,
    /// Its name.
    pub name: String,
    /// Its addresses; at most sixteen.
    pub addresses: Vec<IpAddr>,
}

/// A connection to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The key that names the host.
    pub key: &'static str,
    /// The host and the port.
    pub authority: String,
    /// The address that answered.
    pub address: Option<IpAddr>,
    /// The version of TLS; `None` where there was no handshake, as with plain http to this machine.
    pub version: Option<&'static str>,
    /// The certificate that the host showed, also where it was refused.
    pub certificate: Option<Certificate>,
    /// Who vouches for the certificate.
    pub trusted_by: Option<Trust>,
}

/// A set of trusted certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The system's.
    System,
    /// `ca_file`.
    CaFile,
}

/// A token, as it describes itself. Nobody has checked its signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// When it expires.
    pub expires: Option<DateTime<Utc>>,
    /// The application's permissions; `None` where the token is opaque.
    pub roles: Option<Vec<String>>,
    /// A person's permissions; `None` where the token is opaque.
    pub scopes: Option<Vec<String>>,
}

/// The permissions that the source needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Any one of these is enough.
    pub any_of: &'static [&'static str],
    /// Those of them that the token has.
    pub found: Vec<&'static str>,
}

/// The first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRead {
    /// Its rows; `None` where they could not be read.
    pub rows: Option<u64>,
    /// Those of them that could not be read.
    pub rejected: u64,
    /// Rows that there are in all, where the service says so.
    pub total: Option<u64>,
}

/// The columns of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Whether the source has columns that are mapped; a collection has the properties themselves.
    pub mapped: bool,
    /// How many readable rows the page has.
    pub rows: u64,
    /// Every property.
    pub properties: Vec<PropertyFound>,
    /// Names of columns that hold no property.
    pub unused: Vec<String>,
}

/// A property, and what the page holds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyFound {
    /// Which one.
    pub property: Property,
    /// Whether no session can be counted without it.
    pub required: bool,
    /// The columns that it is read from, best first.
    pub columns: Vec<String>,
    /// In how many of the readable rows it is reported.
    pub reported: u64,
    /// Of a property with a closed set of values: how often each came; `other` is all that are not known.
    pub values: BTreeMap<&'static str, u64>,
}

/// Two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The service's, in whole seconds.
    pub service: DateTime<Utc>,
    /// This machine's when the answer came.
    pub machine: DateTime<Utc>,
}

impl Clock {
    /// How far this machine's clock is ahead; negative where it is behind.
    pub fn ahead(self) -> TimeDelta {
        self.machine - self.service
    }
}

/// What a look at a tenant needs.
pub struct Probe {
    tenant: config::Tenant,
    policy: RetryPolicy,
    now: fn() -> DateTime<Utc>,
    progress: Arc<dyn Progress>,
}

impl Probe {
    /// A look at `tenant` by the clock `now`, which tells how far its reading is.
    pub fn new(tenant: &config::Tenant, now: fn() -> DateTime<Utc>, progress: Arc<dyn Progress>) -> Self {
        Self { tenant: tenant.clone(), policy: patience(), now, progress }
    }

    /// Looks at what this machine holds, and sends nothing.
    pub fn offline(&self) -> Vec<Step> {
        let mut walk = Walk::default();
        let _ = self.configuration(&mut walk);
        walk.leave_rest("--check.offline sends nothing");
        walk.steps
    }

    /// Looks at everything, up to the first page of reports.
    pub async fn online(&self) -> Vec<Step> {
        let steps = self.walk().await;
        self.progress.ended(true);
        steps
    }

    async fn walk(&self) -> Vec<Step> {
        let mut walk = Walk { progress: Some(self.progress.clone()), ..Walk::default() };
        let Some((source, ear)) = self.configuration(&mut walk) else {
            walk.leave_rest("");
            return walk.steps;
        };
        let targets = network::targets(&self.tenant);
        let hosts = walk.step(StepName::NameResolution, network::resolve(&targets)).await;
        let caller = network::Caller {
            ca_file: self.tenant.ca_file.as_deref(),
            patience: self.policy.timeouts.connect,
            now: (self.now)(),
        };
        walk.step(StepName::Tls, network::connect(&targets, &hosts, &caller)).await;
        let claims = walk.step(StepName::Token, access::token(&self.tenant, &source.client, &ear, self.now)).await;
        walk.step(StepName::Permission, async { access::permission(&self.tenant, &claims) }).await;
        let page = walk.step(StepName::Read, rows::read(&source)).await;
        walk.step(StepName::Columns, async { rows::columns(&page) }).await;
        walk.clock(ear.heard());
        walk.steps
    }

    fn configuration(&self, walk: &mut Walk) -> Option<(Source, Arc<Ear>)> {
        let ear = Arc::new(Ear { now: self.now, date: Mutex::default(), token_expires: Mutex::default() });
        let detail = Detail::Configuration(access::configuration(&self.tenant));
        let source = Source::with_policy(&self.tenant, ear.clone(), self.policy.clone());
        let (outcome, source) = match source {
            Ok(source) => (Outcome::Fine, Some((source.told_to(Arc::new(StepsOnly(self.progress.clone()))), ear))),
            Err(error) => (Outcome::Failed(error), None),
        };
        walk.push(StepName::Configuration, outcome, Some(detail));
        source
    }
}

/// Somebody waits: a passing trouble is waited out for some seconds, not for minutes.
fn patience() -> RetryPolicy {
    RetryPolicy { attempts_per_request: 3, loss_per_poll: Duration::from_secs(30), ..RetryPolicy::default() }
}

/// The outcome of a step, its detail, and what later steps need of it.
struct Finding<T> {
    outcome: Outcome,
    detail: Option<Detail>,
    passed_on: T,
}

/// The steps so far.
#[derive(Default)]
struct Walk {
    steps: Vec<Step>,
    failed: Option<StepName>,
    progress: Option<Arc<dyn Progress>>,
}

/// Tells of the steps within a reading, and not how little of the whole one page is.
struct StepsOnly(Arc<dyn Progress>);

impl Progress for StepsOnly {
    fn page(&self, _: Far) {}

    fn step(&self, what: &'static str) {
        self.0.step(what);
    }

    fn ended(&self, _: bool) {}
}

impl Walk {
    fn push(&mut self, name: StepName, outcome: Outcome, detail: Option<Detail>) {
        if matches!(outcome, Outcome::Failed(_)) {
            self.failed.get_or_insert(name);
        }
        self.steps.push(Step { name, outcome, detail });
    }

    /// Makes a step, unless an earlier one has failed.
    async fn step<T: Default>(&mut self, name: StepName, finding: impl Future<Output = Finding<T>>) -> T {
        if let Some(because) = self.failed {
            self.push(name, Outcome::Skipped(because), None);
            return T::default();
        }
        if let Some(progress) = &self.progress {
            progress.step(name.as_str());
        }
        let Finding { outcome, detail, passed_on } = finding.await;
        self.push(name, outcome, detail);
        passed_on
    }

    fn not_applicable(&mut self, name: StepName, why: &str) {
        match self.failed {
            Some(because) => self.push(name, Outcome::Skipped(because), None),
            None => self.push(name, Outcome::NotApplicable(why.to_owned()), None),
        }
    }

    fn leave_rest(&mut self, why: &str) {
        let done = self.steps.len();
        for name in StepName::ALL.iter().skip(done) {
            self.not_applicable(*name, why);
        }
    }

    /// Every answer tells the time, also one that refuses: then it may be the reason.
    fn clock(&mut self, heard: Option<Clock>) {
        let Some(clock) = heard else {
            return self.not_applicable(StepName::Clock, "no answer told the time");
        };
        let (ahead, detail) = (clock.ahead(), Some(Detail::Clock(clock)));
        let outcome = if ahead.abs() <= CLOCK_TOLERANCE {
            Outcome::Fine
        } else {
            let direction = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
            let apart = network::rough(ahead.abs());
            let message =
                format!("this machine's clock is {apart} {direction} the service's; set it, for instance by NTP");
            if ahead.abs() <= CLOCK_LIMIT {
                Outcome::Warning(message)
            } else {
                Outcome::Failed(SourceError::new(crate::status::FailureReason::InvalidResponse, message))
            }
        };
        self.push(StepName::Clock, outcome, detail);
    }
}

/// Hears what the client tells while it asks.
struct Ear {
    now: fn() -> DateTime<Utc>,
    date: Mutex<Option<Clock>>,
    token_expires: Mutex<Option<DateTime<Utc>>>,
}

impl Ear {
    fn heard(&self) -> Option<Clock> {
        *self.date.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn token_expires(&self) -> Option<DateTime<Utc>> {
        *self.token_expires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Ear {
    fn request(&self, _: Endpoint, _: Option<u16>, _: Duration) {}

    fn retry(&self) {}

    fn throttled(&self) {}

    fn token_expires(&self, at: DateTime<Utc>) {
        *self.token_expires.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn date(&self, service: DateTime<Utc>) {
        let clock = Clock { service, machine: (self.now)() };
        *self.date.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
    }
}
