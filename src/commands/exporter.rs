//! Puts an exporter together: ledger, metrics, sources. `serve`, `demo` and `once` run it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::error;

use super::Failure;
use super::progress::Display;
use crate::clock;
use crate::config::{self, Config};
use crate::exposition::{Exposition, HttpMetrics};
use crate::ledger::writer::{self, Writer};
use crate::ledger::{Ledger, Settings, Snapshot};
use crate::metrics::{Build, Business, Own, Process, Versioned};
use crate::poll::TenantPoll;
use crate::source::Network;
use crate::status::{Sharding, Status};

/// The ledger's name where health names it.
const LOOP: &str = "ledger";
/// After how long without a word the ledger's writer is taken for dead. A commit to a slow disk
/// takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long closing the ledger may take at the end.
const CLOSE: Duration = Duration::from_secs(5);

/// Everything that runs, before it runs.
pub(super) struct Exporter {
    pub(super) exposition: Exposition,
    pub(super) http: HttpMetrics,
    pub(super) parts: Parts,
    pub(super) tenants: Vec<TenantPoll>,
    pub(super) writer: Writer,
    pub(super) ledger: Closing,
}

/// What all tenants share.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) own: Own,
    pub(super) status: Arc<Status>,
    network: Arc<Network>,
    display: Display,
}

/// The ledger's task; it closes the file when the last writer is dropped.
pub(super) struct Closing(JoinHandle<()>);

struct LedgerObserver {
    own: Own,
    status: Arc<Status>,
}

impl writer::Observer for LedgerObserver {
    fn commit(&self, duration: Duration, durable: bool) {
        if durable {
            self.own.committed(duration);
        } else {
            self.own.commit_failed();
        }
    }

    fn alive(&self) {
        self.status.beat(LOOP, PATIENCE);
    }
}

impl Exporter {
    /// Opens the ledger and prepares every tenant. Sends nothing yet.
    pub(super) fn open(config: &Config, storage: &Path, display: &Display) -> Result<Self, Failure> {
        let now = clock::now();
        let ledger = Ledger::open(storage, Settings::new(config), now)?;
        let restored = ledger.snapshot();
        let own = Own::new(&BUILD, clock::now).map_err(Failure::other)?;
        let http = HttpMetrics::new(clock::now).map_err(Failure::other)?;
        let started = Instant::now();
        let process = Process::new(move || started.elapsed()).map_err(Failure::other)?;
        let status = Arc::new(Status::default());
        configured(&own, &status, config, config.to_yaml());
        let observer = LedgerObserver { own: own.clone(), status: status.clone() };
        let (writer, published, task) = Writer::start(ledger, Arc::new(observer));
        let business = Business::new(published).map_err(Failure::other)?;
        let network = Arc::new(Network::new(|name| std::env::var(name).ok()));
        let cached: Vec<Box<dyn Versioned>> = vec![Box::new(business), Box::new(own.part()), Box::new(process)];
        let parts = Parts { own, status, network, display: display.clone() };
        let tenants: Vec<_> = config.tenants.iter().map(|tenant| parts.poll(tenant)).collect::<Result<_, _>>()?;
        enter(&tenants, &restored);
        let exposition = Exposition::new(cached, http.clone());
        Ok(Self { exposition, http, parts, tenants, writer, ledger: Closing(task) })
    }
}

impl Parts {
    /// Prepares a tenant's polls; shows nothing of them yet.
    pub(super) fn poll(&self, tenant: &config::Tenant) -> Result<TenantPoll, Failure> {
        let metrics = self.own.tenant(&tenant.name);
        let poll = TenantPoll::new(tenant, &self.network, metrics, self.status.clone())
            .map_err(|error| Failure::Usage(format!("tenant {}: {error}", tenant.name)))?;
        Ok(poll.told_to(self.display.tenant(&tenant.name)))
    }
}

/// Tells of the configuration that is in force from now on.
pub(super) fn configured(own: &Own, status: &Status, config: &Config, shown: String) {
    let now = clock::now();
    let (ordinal, total, tenants_configured) = (config.shard.ordinal(), config.shard.total(), config.configured);
    own.config_loaded(config.hash, now);
    own.sharded(ordinal, total, tenants_configured);
    status.sharded(Sharding { ordinal, total, tenants_configured });
    status.configured(shown, now);
}

/// Enters tenants in metrics and status, with what the ledger restored of them.
pub(super) fn enter(tenants: &[TenantPoll], restored: &Snapshot) {
    let restored: HashMap<_, _> = restored.tenants.iter().map(|tenant| (&*tenant.name, tenant)).collect();
    tenants.iter().for_each(|tenant| tenant.enter(restored.get(tenant.name()).copied()));
}

impl Closing {
    /// Waits until the ledger is closed. All writers must have been dropped.
    pub(super) async fn closed(self) {
        if tokio::time::timeout(CLOSE, self.0).await.is_err() {
            error!("The ledger did not close in time; what was shown is on disk all the same");
        }
    }
}

/// What made this program.
pub(super) const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    revision: env!("EXPORTER_REVISION"),
    rust_version: env!("EXPORTER_RUST_VERSION"),
};
