//! What the simulator's requests share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::answer::Call;
use super::application::Application;
use super::devices::Directory;
use super::export::Jobs;
use super::journal::{Journal, Recorded};
use super::limit::Limit;
use super::options::{Options, TenantOptions};
use super::scenario::{Scenario, Switch};
use super::stream::Stream;
use super::tokens::Tokens;

/// What the simulator's requests share.
pub(super) struct Shared {
    /// What the simulator was started with.
    pub options: Options,
    tenants: Vec<Arc<TenantState>>,
    port: u16,
    blob_port: u16,
    tokens: Mutex<Tokens>,
    strays: Mutex<Journal>,
}

/// One tenant.
pub(super) struct TenantState {
    /// What it was started with.
    pub options: TenantOptions,
    application: Mutex<Application>,
    stream: Mutex<Stream>,
    devices: Mutex<Directory>,
    switch: Mutex<Switch>,
    device_switch: Mutex<Switch>,
    journal: Mutex<Journal>,
    jobs: Mutex<Jobs>,
    downloads: Mutex<Journal>,
    expired_serials: AtomicU64,
    limit: Mutex<Limit>,
}

impl Shared {
    /// The state at the start.
    pub fn new(options: Options, [port, blob_port]: [u16; 2], started: DateTime<Utc>) -> Self {
        let tenant = |tenant: &TenantOptions| {
            Arc::new(TenantState {
                options: tenant.clone(),
                application: Mutex::new(Application {
                    secrets: vec![tenant.client_secret.clone()],
                    ..Application::default()
                }),
                stream: Mutex::new(Stream::new(&options, tenant, started)),
                devices: Mutex::new(Directory::new(&options, tenant)),
                switch: Mutex::default(),
                device_switch: Mutex::default(),
                journal: Mutex::default(),
                jobs: Mutex::default(),
                downloads: Mutex::default(),
                expired_serials: AtomicU64::new(0),
                limit: Mutex::default(),
            })
        };
        let tenants = options.tenants.iter().map(tenant).collect();
        Self { tenants, options, port, blob_port, tokens: Mutex::default(), strays: Mutex::default() }
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.options.clock)()
    }

    /// The origins by which the simulator is reached, the usual one first. A proxy that knows it by another
    /// name knows its port too.
    pub fn origins(&self) -> impl Iterator<Item = String> {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("https://{host}:{}", self.port));
        own.into_iter().chain(self.options.names.iter().map(|name| format!("https://{name}")))
    }

    /// The usual origin.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The origin of the blob storage that exports are downloaded from.
    pub fn blob_origin(&self) -> String {
        format!("https://localhost:{}", self.blob_port)
    }

    /// The origin that a request came to.
    pub fn origin(&self, call: &Call) -> String {
        let named = call.header(http::header::HOST).map(|host| format!("https://{host}"));
        named.filter(|named| self.origins().any(|origin| origin == *named)).unwrap_or_else(|| self.url())
    }

    /// Every tenant.
    pub fn tenants(&self) -> &[Arc<TenantState>] {
        &self.tenants
    }

    /// The tenant of this name.
    pub fn tenant(&self, name: &str) -> Option<Arc<TenantState>> {
        self.tenants.iter().find(|tenant| tenant.options.name == name).cloned()
    }

    /// The tenant that a path names by its id or its domain.
    pub fn tenant_by_segment(&self, segment: &str) -> Option<Arc<TenantState>> {
        let names = |tenant: &TenantOptions| {
            segment.eq_ignore_ascii_case(&tenant.tenant_id)
                || segment.eq_ignore_ascii_case(&format!("{}.example", tenant.name))
        };
        self.tenants.iter().find(|tenant| names(&tenant.options)).cloned()
    }

    /// The tokens.
    pub fn tokens(&self) -> MutexGuard<'_, Tokens> {
        lock(&self.tokens)
    }

    /// A new token of the tenant's application for a resource.
    pub fn issue(&self, tenant: &Arc<TenantState>, resource: &str, now: DateTime<Utc>) -> String {
        let lifetime = TimeDelta::from_std(self.options.token_lifetime).unwrap_or(TimeDelta::MAX);
        let expires = now.checked_add_signed(lifetime).unwrap_or(DateTime::<Utc>::MAX_UTC);
        self.tokens().issue(tenant, resource, now, expires)
    }

    /// Switches a tenant's scenario.
    pub fn switch(&self, tenant: &TenantState, scenario: Scenario, requests: Option<u32>) {
        if scenario == Scenario::ExpiredToken {
            tenant.expired_serials.store(self.tokens().issued(), Ordering::Relaxed);
        }
        *lock(&tenant.switch) = Switch::new(scenario, requests);
    }

    /// Switches the scenario of a tenant's lists of devices.
    pub fn switch_devices(&self, tenant: &TenantState, scenario: Scenario) {
        *lock(&tenant.device_switch) = Switch::new(scenario, None);
    }

    /// Keeps a request in the journal of its tenant, or among those of none.
    pub fn record(&self, tenant: Option<&TenantState>, request: Recorded) {
        lock(tenant.map_or(&self.strays, |tenant| &tenant.journal)).record(request);
    }

    /// Keeps a request to blob storage in the journal of its tenant, or among those of none.
    pub fn record_download(&self, tenant: Option<&TenantState>, request: Recorded) {
        lock(tenant.map_or(&self.strays, |tenant| &tenant.downloads)).record(request);
    }

    /// The requests that no tenant could be told for.
    pub fn strays(&self) -> Vec<Recorded> {
        lock(&self.strays).requests()
    }
}

impl TenantState {
    /// Its report.
    pub fn stream(&self) -> MutexGuard<'_, Stream> {
        lock(&self.stream)
    }

    /// What its application may prove itself by.
    pub fn application(&self) -> MutexGuard<'_, Application> {
        lock(&self.application)
    }

    /// The devices that it lists.
    pub fn devices(&self) -> MutexGuard<'_, Directory> {
        lock(&self.devices)
    }

    /// The scenario of a request for a list of devices, if it applies to such a one.
    pub fn next_device_scenario(&self, applies: impl Fn(Scenario) -> bool) -> Scenario {
        lock(&self.device_switch).next(applies)
    }

    /// Its export jobs.
    pub fn jobs(&self) -> MutexGuard<'_, Jobs> {
        lock(&self.jobs)
    }

    /// The requests for its exports' files, oldest first.
    pub fn downloads(&self) -> Vec<Recorded> {
        lock(&self.downloads).requests()
    }

    /// The scenario of any other request, if it applies to such a one.
    pub fn next_scenario(&self, applies: impl Fn(Scenario) -> bool) -> Scenario {
        lock(&self.switch).next(applies)
    }

    /// Whether another request for reports is within the application's limit.
    pub fn admits(&self, options: &Options) -> bool {
        lock(&self.limit).admits(Instant::now(), options.limited_requests, options.limited_period)
    }

    /// Whether a token was issued before `expired-token` was switched on.
    pub fn has_expired(&self, serial: u64) -> bool {
        serial < self.expired_serials.load(Ordering::Relaxed)
    }

    /// Its requests, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.journal).requests()
    }
}

/// A panic while one of these locks is held fails the test it happens in; others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
