//! A stand-in for Microsoft Graph, for the demo and for tests: https on loopback, with the token
//! endpoint, the sessions report, export jobs with a blob storage beside, and the sessions as an OData
//! collection, as the service documents them. It imports nothing of ours, so that what it serves and
//! what we read are told apart.
//!
//! ```text
//! generator ─► stream ─► snapshot ─► report, export, … ─► faults ─► answer ─► server
//! (chance by     (rows     (what one    (a page, encoded     (by        (headers,  (TLS, HTTP)
//!  digest)      by time)   reading sees) when asked for)      scenario)   gzip)
//! ```
//!
//! - [`Options`] and [`TenantOptions`] say what there is; [`Simulator::start`] serves it.
//! - [`Tenant`] scripts sessions, switches [`Scenario`]s, and tells the [`Truth`] and what was asked.
//! - A simulator in another process is steered by `GET /simulator/truth[?full=1]` and
//!   `PUT /simulator/scenario/{tenant}/{name}[?requests=n]`.

mod answer;
mod application;
mod assertion;
mod authority;
mod body;
mod collection;
mod columns;
mod control;
mod devices;
mod discovery;
mod draw;
mod export;
mod faults;
mod generator;
mod graph;
mod journal;
mod limit;
mod options;
mod pages;
mod population;
mod properties;
mod report;
mod row;
mod scenario;
mod server;
mod session;
mod state;
mod stream;
mod token;
mod tokens;
mod truth;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use application::{Application, FederatedCredential};
pub use authority::Authority;
pub use collection::PATH as COLLECTION_PATH;
pub use devices::Device;
pub use journal::Recorded;
pub use options::{Clock, Options, Protocols, TenantOptions};
pub use pages::odata_pages;
pub use scenario::{Scenario, UnknownScenario};
pub use session::{Participant, Session};
pub use truth::{Truth, TypeTruth};

use server::Role;
use state::{Shared, TenantState};

/// A running simulator. It ends when it is dropped.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    authority: Authority,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// One tenant of a running simulator.
#[derive(Clone)]
pub struct Tenant {
    shared: Arc<Shared>,
    state: Arc<TenantState>,
}

/// There is no tenant of this name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the simulator has no tenant named {0:?}")]
pub struct UnknownTenant(String);

impl Simulator {
    /// Starts serving on the machine itself. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If two tenants share a name or an id, or the port is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        check_tenants(&options.tenants)?;
        let authority = options.authority.clone().map_or_else(Authority::generate, Ok)?;
        let tls = authority.server_config(&options.names, options.protocols)?;
        let host = if options.ipv6 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
        let listener = TcpListener::bind((host, options.port)).await?;
        let address = listener.local_addr()?;
        let started = draw::truncate((options.clock)(), session::NANOSECONDS_PER_TICK);
        let blob = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let ports = [address.port(), blob.local_addr()?.port()];
        let shared = Arc::new(Shared::new(options, ports, started));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        for listener in [(listener, Role::Graph), (blob, Role::Blob)] {
            tasks.spawn(server::run(listener, tls.clone(), shared.clone(), stop.clone(), tasks.clone()));
        }
        Ok(Self { shared, address, authority, stop, tasks })
    }

    /// The origin of both Graph and the login host: `https://localhost:PORT`.
    pub fn url(&self) -> String {
        self.shared.url()
    }

    /// The origin of the blob storage that exports are downloaded from: another port, so another origin.
    pub fn blob_url(&self) -> String {
        self.shared.blob_origin()
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that clients must trust.
    pub fn ca_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The authority, to be kept for the next start.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A tenant.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn tenant(&self, name: &str) -> Result<Tenant, UnknownTenant> {
        let state = self.shared.tenant(name).ok_or_else(|| UnknownTenant(name.into()))?;
        Ok(Tenant { shared: self.shared.clone(), state })
    }

    /// The latest requests that belong to no tenant: unknown paths, refused tokens, unknown tenants.
    pub fn stray_requests(&self) -> Vec<Recorded> {
        self.shared.strays()
    }

    /// The latest requests that would have changed something, of every tenant and of none.
    pub fn write_requests(&self) -> Vec<Recorded> {
        let tenants = self.shared.tenants().iter().flat_map(|tenant| tenant.requests());
        tenants.chain(self.stray_requests()).filter(|request| request.write).collect()
    }

    /// The latest tokens that were issued, for tests that look for them where none may be.
    pub fn tokens(&self) -> Vec<String> {
        self.shared.tokens().texts()
    }

    /// Closes all connections and waits until that is done.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Tenant {
    /// What it was started with: ids and secret.
    pub fn options(&self) -> &TenantOptions {
        &self.state.options
    }

    /// The path of its collection that wants no token.
    pub fn gateway_path(&self) -> String {
        format!("/gateway/{}/{}", self.state.options.name, collection::SEGMENT)
    }

    /// Changes what its application may prove itself by. Tokens that were issued stay valid.
    pub fn change_application(&self, change: impl FnOnce(&mut Application)) {
        change(&mut self.state.application());
    }

    /// A token of its application for this Graph, as a metadata service or the Azure CLI gives one.
    pub fn issue_token(&self) -> String {
        self.shared.issue(&self.state, &self.shared.url(), self.shared.now())
    }

    /// Switches a scenario on until another is.
    pub fn set_scenario(&self, scenario: Scenario) {
        self.shared.switch(&self.state, scenario, None);
    }

    /// Switches a scenario on for the next requests that it applies to.
    pub fn set_scenario_for(&self, scenario: Scenario, requests: u32) {
        self.shared.switch(&self.state, scenario, Some(requests));
    }

    /// The same for the lists of devices, which [`Tenant::set_scenario`] leaves alone.
    pub fn set_device_scenario(&self, scenario: Scenario) {
        self.shared.switch_devices(&self.state, scenario);
    }

    /// Lists a device, in place of what was listed of the same id.
    pub fn set_device(&self, device: Device) {
        self.state.devices().set(device);
    }

    /// The devices that Graph lists.
    pub fn devices(&self) -> Vec<Device> {
        self.state.devices().all().to_vec()
    }

    /// Adds a session to the report at once, in place of an earlier scripted one of the same id.
    pub fn push(&self, session: Session) {
        self.state.stream().push(session);
    }

    /// Replaces all scripted sessions by these, in this order and whatever they hold.
    pub fn set_sessions(&self, sessions: Vec<Session>) {
        self.state.stream().set_scripted(sessions);
    }

    /// The sessions that were shown as ended by then, at any time since the start, each once: of one
    /// that changed later, as it was first shown. Time does not go back.
    pub fn ended(&self, now: DateTime<Utc>) -> Vec<Arc<Session>> {
        self.state.stream().ended(now)
    }

    /// The totals of [`Tenant::ended`].
    pub fn truth(&self, now: DateTime<Utc>) -> Truth {
        self.state.stream().truth(now)
    }

    /// Its latest requests, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests()
    }

    /// The latest requests for the files of its exports, oldest first.
    pub fn downloads(&self) -> Vec<Recorded> {
        self.state.downloads()
    }
}

fn check_tenants(tenants: &[TenantOptions]) -> io::Result<()> {
    let mut seen = HashSet::new();
    for tenant in tenants {
        for key in [&tenant.name, &tenant.tenant_id] {
            if !seen.insert(key.to_lowercase()) {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("two tenants are called {key:?}")));
            }
        }
    }
    Ok(())
}
