//! What the exporter knows about its own polls, for pages, readiness and health. `poll` writes it,
//! `web` reads it. Nothing here waits for anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::session::label;

label! {
    /// Why a poll failed: the label of `poll_failures_total`.
    FailureReason("reason") {
        /// A secret, certificate or token file could not be read.
        Credential = "credential",
        /// The token endpoint refused.
        Authentication = "authentication",
        /// 401: the service did not accept the token.
        Unauthorized = "unauthorized",
        /// 403: the application lacks a permission.
        Forbidden = "forbidden",
        /// 404: no such resource, often the wrong cloud or path.
        NotFound = "not_found",
        /// Any other 4xx.
        BadRequest = "bad_request",
        /// 429 until the retry budget was spent.
        Throttled = "throttled",
        /// 5xx until the retry budget was spent.
        ServerError = "server_error",
        /// Name resolution, connecting or TLS.
        Connection = "connection",
        /// A time-out.
        Timeout = "timeout",
        /// The answer is not what the service documents: not JSON, cut off, a redirect.
        InvalidResponse = "invalid_response",
        /// An answer beyond the size limits.
        TooLarge = "too_large",
        /// The paging loops, leads to another origin, or has too many pages.
        Paging = "paging",
        /// A directory of files could not be read.
        Files = "files",
        /// Export jobs failed, were stranded, or left nothing to download.
        ExportJob = "export_job",
        /// The ledger could not commit.
        Ledger = "ledger",
        /// A defect of ours.
        Internal = "internal",
    }
}

/// One tenant's row of the status table.
#[derive(Clone, Debug, Serialize)]
pub struct TenantStatus {
    /// The tenant's configured name.
    pub tenant: Arc<str>,
    /// The kind of its source.
    pub source: &'static str,
    /// Seconds between polls.
    pub poll_interval_seconds: f64,
    /// Whether its totals were restored from the ledger at start.
    pub restored: bool,
    /// Whether the last poll succeeded; `None` before the first.
    pub up: Option<bool>,
    /// When the last successful poll ended.
    pub last_success: Option<DateTime<Utc>>,
    /// When the last poll of any outcome ended.
    pub last_poll: Option<DateTime<Utc>>,
    /// How long it took.
    pub last_poll_duration_seconds: Option<f64>,
    /// Why the last poll failed; `None` when it succeeded.
    pub last_error: Option<PollError>,
    /// Sessions counted, ever.
    pub sessions_counted: u64,
    /// Sessions in progress at the last complete poll.
    pub sessions_in_progress: Option<u64>,
    /// The newest end that was counted.
    pub last_session_end: Option<DateTime<Utc>>,
    /// Rows that the service promised in the last successful poll and did not deliver.
    pub rows_missing: u64,
    /// Files of the directory that cannot be read to their end; 0 for other sources.
    pub files_set_aside: u64,
    /// When the certificate expires that proves the identity; `None` for other credentials, and before
    /// it is used.
    pub credential_expires: Option<DateTime<Utc>>,
    /// The look-up of enrolment states; `None` where it is off.
    pub enrollment_lookup: Option<EnrollmentStatus>,
}

/// How the look-up of enrolment states is doing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EnrollmentStatus {
    /// Whether the last one succeeded; `None` before the first has ended.
    pub up: Option<bool>,
    /// How many devices are known.
    pub devices: u64,
    /// When the last successful one ended.
    pub last_success: Option<DateTime<Utc>>,
    /// Why the last one failed; `None` when it succeeded.
    pub last_error: Option<PollError>,
}

impl TenantStatus {
    /// A tenant that was never polled, of a source of this kind, polled every `poll_interval`.
    pub fn unpolled(tenant: Arc<str>, source: &'static str, poll_interval: Duration) -> Self {
        Self {
            tenant,
            source,
            poll_interval_seconds: poll_interval.as_secs_f64(),
            restored: false,
            up: None,
            last_success: None,
            last_poll: None,
            last_poll_duration_seconds: None,
            last_error: None,
            sessions_counted: 0,
            sessions_in_progress: None,
            last_session_end: None,
            rows_missing: 0,
            files_set_aside: 0,
            credential_expires: None,
            enrollment_lookup: None,
        }
    }
}

label! {
    /// How a tenant is doing, in one word.
    Condition("condition") {
        /// The last poll failed.
        Failing = "failing",
        /// Nothing failed, and yet there was no success for too long.
        Stale = "stale",
        /// Polls succeed, and something wants a look: see the row.
        Warning = "warning",
        /// The first poll has not ended.
        Unpolled = "unpolled",
        /// All is well.
        Fine = "ok",
    }
}

/// After how many poll intervals without a success what is shown is old. One poll may be late, and the
/// next one fail.
pub const STALE_AFTER_INTERVALS: u32 = 3;
/// How long before its end a certificate wants a look. Who has to order one needs weeks.
const CERTIFICATE_NOTICE: TimeDelta = TimeDelta::days(30);

/// Whether a certificate that expires then wants a look: within 30 days, or it has expired.
pub fn certificate_ends(expires: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    expires - now < CERTIFICATE_NOTICE
}

impl TenantStatus {
    /// How it is doing.
    pub fn condition(&self, now: DateTime<Utc>) -> Condition {
        let lookup_failed = self.enrollment_lookup.as_ref().is_some_and(|lookup| lookup.last_error.is_some());
        match self.up {
            Some(false) => Condition::Failing,
            None => Condition::Unpolled,
            Some(true) if self.is_stale(now) => Condition::Stale,
            Some(true)
                if self.rows_missing > 0 || self.files_set_aside > 0 || lookup_failed || self.credential_ends(now) =>
            {
                Condition::Warning
            }
            Some(true) => Condition::Fine,
        }
    }

    /// Whether its last success is longer ago than [`STALE_AFTER_INTERVALS`] poll intervals.
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        let patience = self.poll_interval_seconds * f64::from(STALE_AFTER_INTERVALS);
        self.last_success.is_some_and(|then| (now - then).as_seconds_f64() > patience)
    }

    /// Whether its credential's certificate wants a look ([`certificate_ends`]).
    pub fn credential_ends(&self, now: DateTime<Utc>) -> bool {
        self.credential_expires.is_some_and(|end| certificate_ends(end, now))
    }
}

/// A failed poll in one line.
#[derive(Clone, Debug, Serialize)]
pub struct PollError {
    /// The failure's label.
    #[serde(serialize_with = "as_label")]
    pub reason: FailureReason,
    /// What happened and the remedy, on one line, without secrets.
    pub message: String,
}

fn as_label<S: serde::Serializer>(reason: &FailureReason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(crate::session::Label::as_str(*reason))
}

/// The configuration in force, and what became of the last attempt to replace it.
#[derive(Clone, Debug)]
pub struct ConfigurationStatus {
    /// As YAML, without secrets.
    pub yaml: Bytes,
    /// Since when it is in force.
    pub loaded: DateTime<Utc>,
    /// Why the last reload left it in force; `None` when it succeeded, or there was none.
    pub refused: Option<Refused>,
}

/// The web configuration in force, and whether its file holds another one.
#[derive(Clone, Debug, Serialize)]
pub struct WebConfigurationStatus {
    /// Since when it is in force.
    pub loaded: DateTime<Utc>,
    /// Why what the file holds now is not in force, and since when; `None` where it is.
    pub refused: Option<Refused>,
    /// When the first of the certificates expires that the server shows; `None` without TLS.
    pub certificate_expires: Option<DateTime<Utc>>,
}

/// Which part of the configured tenants is this exporter's.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sharding {
    /// Which shard it is, from 0.
    pub ordinal: u32,
    /// Of how many.
    pub total: u32,
    /// How many tenants are configured, for all of them.
    pub tenants_configured: usize,
}

/// A configuration that was not taken over.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// When.
    pub time: DateTime<Utc>,
    /// Why, and the remedy, on one line, without secrets.
    pub message: String,
}

/// The state that pages and probes read.
#[derive(Debug, Default)]
pub struct Status {
    tenants: Mutex<BTreeMap<Arc<str>, TenantStatus>>,
    configuration: Mutex<Option<ConfigurationStatus>>,
    web_configuration: Mutex<Option<WebConfigurationStatus>>,
    sharding: Mutex<Option<Sharding>>,
    loops: Mutex<BTreeMap<&'static str, (Instant, Duration)>>,
}

impl Status {
    /// The table, by tenant name.
    pub fn tenants(&self) -> Vec<TenantStatus> {
        lock(&self.tenants).values().cloned().collect()
    }

    /// Adds or replaces a row.
    pub fn set(&self, row: TenantStatus) {
        lock(&self.tenants).insert(row.tenant.clone(), row);
    }

    /// Changes a tenant's row, if it has one. Whether it has.
    pub fn update(&self, tenant: &str, change: impl FnOnce(&mut TenantStatus)) -> bool {
        lock(&self.tenants).get_mut(tenant).map(change).is_some()
    }

    /// Takes a tenant's row away.
    pub fn remove(&self, tenant: &str) {
        lock(&self.tenants).remove(tenant);
    }

    /// The configuration in force; `None` before the first was loaded.
    pub fn configuration(&self) -> Option<ConfigurationStatus> {
        lock(&self.configuration).clone()
    }

    /// Says that a configuration is in force, and how it looks as YAML without secrets.
    pub fn configured(&self, yaml: String, now: DateTime<Utc>) {
        *lock(&self.configuration) = Some(ConfigurationStatus { yaml: yaml.into(), loaded: now, refused: None });
    }

    /// Which part is this exporter's; `None` before the first configuration was loaded.
    pub fn sharding(&self) -> Option<Sharding> {
        *lock(&self.sharding)
    }

    /// Says which part is this exporter's.
    pub fn sharded(&self, sharding: Sharding) {
        *lock(&self.sharding) = Some(sharding);
    }

    /// Says why another configuration was not taken over.
    pub fn configuration_refused(&self, message: String, now: DateTime<Utc>) {
        if let Some(configuration) = &mut *lock(&self.configuration) {
            configuration.refused = Some(Refused { time: now, message });
        }
    }

    /// The web configuration in force; `None` where there is no file of it.
    pub fn web_configuration(&self) -> Option<WebConfigurationStatus> {
        lock(&self.web_configuration).clone()
    }

    /// Says that the web configuration is in force that its file holds.
    pub fn web_configured(&self, certificate_expires: Option<DateTime<Utc>>, now: DateTime<Utc>) {
        *lock(&self.web_configuration) =
            Some(WebConfigurationStatus { loaded: now, refused: None, certificate_expires });
    }

    /// Says why what the file of the web configuration holds is not in force. It is looked at all the time: as
    /// long as it says the same, that holds since the first time.
    pub fn web_configuration_refused(&self, message: String, now: DateTime<Utc>) {
        if let Some(configuration) = &mut *lock(&self.web_configuration)
            && configuration.refused.as_ref().is_none_or(|refused| refused.message != message)
        {
            configuration.refused = Some(Refused { time: now, message });
        }
    }

    /// Says that a loop is alive and will say so again within `patience`.
    pub fn beat(&self, name: &'static str, patience: Duration) {
        lock(&self.loops).insert(name, (Instant::now(), patience));
    }

    /// The loops that have not been heard of for longer than they promised. Healthy means none.
    pub fn stalled(&self) -> Vec<&'static str> {
        let silent = |(_, (beat, patience)): &(&&'static str, &(Instant, Duration))| beat.elapsed() > *patience;
        lock(&self.loops).iter().filter(silent).map(|(name, _)| *name).collect()
    }

    /// Whether every tenant's first poll has ended or its totals were restored from the ledger.
    /// Never goes back: a row that is once ready stays so. A shard without tenants is ready at once.
    pub fn ready(&self) -> bool {
        let idle = self.sharding().is_some_and(|sharding| sharding.total > 1);
        let tenants = lock(&self.tenants);
        (idle || !tenants.is_empty()) && tenants.values().all(|row| row.up.is_some() || row.restored)
    }
}

/// A panic while holding one of these locks leaves whole rows behind, so the lock stays usable.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
