//! Looks at one tenant step by step, as the exporter reads it, and says what each step found. Nothing of
//! what it says is personal or secret: names of columns, of values and of permissions, numbers, dates.
//!
//! `network` looks at names and certificates over what `dial` connects, `access` at the token, `rows` at
//! what a page holds.

mod access;
mod certificate;
mod dial;
mod network;
mod rows;
mod step;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::graph::Client;
use super::{Network, Progress, RetryPolicy, Source, SourceError};
use crate::config;
use crate::status::FailureReason;

pub use certificate::Certificate;
pub use step::{
    Clock, Columns, Configuration, Connection, Detail, Host, Outcome, PageRead, Permission, PropertyFound, Step,
    StepName, Token, Trust,
};
use walk::{Ear, Finding, StepsOnly, Walk};

/// How long a look waits for an export. The service takes seconds to minutes, and somebody waits.
const EXPORT_PATIENCE: Duration = Duration::from_secs(120);

/// What a look at a tenant needs.
pub struct Probe {
    tenant: config::Tenant,
    network: Arc<Network>,
    policy: RetryPolicy,
    now: fn() -> DateTime<Utc>,
    progress: Arc<dyn Progress>,
}

impl Probe {
    /// A look at `tenant` by the clock `now`, which tells how far its reading is.
    pub fn new(
        tenant: &config::Tenant,
        network: Arc<Network>,
        now: fn() -> DateTime<Utc>,
        progress: Arc<dyn Progress>,
    ) -> Self {
        Self { tenant: tenant.clone(), network, policy: patience(), now, progress }
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
        let mut walk = Walk::telling(self.progress.clone());
        let Some((source, ear)) = self.configuration(&mut walk) else {
            walk.leave_rest("");
            return walk.steps;
        };
        // Files need none, unless devices are looked up for them.
        match source.kind.client().or_else(|| Some(source.lookup.as_ref()?.client().clone())) {
            Some(client) => self.access(&mut walk, &client, &ear).await,
            None => {
                for name in [StepName::NameResolution, StepName::Tls, StepName::Token, StepName::Permission] {
                    walk.not_applicable(name, "the reports are files, for which nobody is asked");
                }
            }
        }
        let page = walk.step(StepName::Read, self.read(&source)).await;
        walk.step(StepName::Columns, async { rows::columns(&page) }).await;
        walk.clock(ear.heard());
        walk.steps
    }

    /// The way to the service, and what it lets us do.
    async fn access(&self, walk: &mut Walk, client: &Client, ear: &Ear) {
        let targets = network::targets(&self.tenant, client);
        let hosts = walk.step(StepName::NameResolution, network::resolve(&targets)).await;
        let caller = network::Caller {
            ca_file: self.tenant.ca_file.as_deref(),
            patience: self.policy.timeouts.connect,
            now: (self.now)(),
        };
        walk.step(StepName::Tls, network::connect(&targets, &hosts, &caller)).await;
        let claims = walk.step(StepName::Token, access::token(&self.tenant, client, ear, self.now)).await;
        walk.step(StepName::Permission, async { access::permission(&self.tenant, &claims) }).await;
    }

    async fn read(&self, source: &Source) -> Finding<rows::Read> {
        match self.tenant.source {
            config::Source::ExportJob { .. } => soon(rows::read(source)).await,
            _ => rows::read(source).await,
        }
    }

    fn configuration(&self, walk: &mut Walk) -> Option<(Source, Arc<Ear>)> {
        let ear = Arc::new(Ear::new(self.now));
        let detail = Detail::Configuration(access::configuration(&self.tenant));
        let source = Source::with_policy(&self.tenant, &self.network, ear.clone(), self.policy.clone());
        let (outcome, source) = match source {
            Ok(source) => (Outcome::Fine, Some((source.told_to(Arc::new(StepsOnly(self.progress.clone()))), ear))),
            Err(error) => (Outcome::Failed(error), None),
        };
        walk.push(StepName::Configuration, outcome, Some(detail));
        source
    }
}

/// The export, if it comes soon. A poll waits for as long as the configuration says.
async fn soon<T: Default>(export: impl Future<Output = Finding<T>>) -> Finding<T> {
    tokio::time::timeout(EXPORT_PATIENCE, export).await.unwrap_or_else(|_| {
        let message = format!(
            "the export is not there after {} s; the service takes longer at times and leaves jobs unfinished: run check \
             again, polls wait longer",
            EXPORT_PATIENCE.as_secs()
        );
        let outcome = Outcome::Failed(SourceError::new(FailureReason::Timeout, message));
        Finding { outcome, detail: None, passed_on: T::default() }
    })
}

/// Somebody waits: a passing trouble is waited out for some seconds, not for minutes.
fn patience() -> RetryPolicy {
    RetryPolicy { attempts_per_request: 3, loss_per_poll: Duration::from_secs(30), ..RetryPolicy::default() }
}
