//! The configuration, valid and complete: every default filled in, every rule checked.
//!
//! Two layers: `raw` is what was typed, `validate` makes of it what stands here. Each rule and its
//! message is in one place: `rules` for single values, `files` for files, `block` for what goes
//! together in `credential` and `source`, `validate` for the rest.

mod block;
mod cloud;
mod duration;
mod environment;
mod error;
mod files;
mod http_client;
mod log;
pub mod proxy;
mod raw;
mod rules;
mod shard;
mod shown;
mod validate;
mod web;
mod yaml;

use std::fs::File;
use std::hash::Hasher;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher13;
use url::Url;

use crate::session::DURATION_BOUNDS;
pub use error::Error;
pub use files::{MAX_CERTIFICATES_BYTES, MAX_SECRET_BYTES};
pub use http_client::{ClientIdentity, ClientTls, HttpClientConfig};
pub use log::LogLevel;
pub use proxy::{Proxy, ProxyUrl};
pub use rules::duration_within;
pub use shard::{MAX_SHARDS, Shard, owner};
pub use web::{
    CipherSuite, ClientAuth, Curve, MAX_COST, MIN_COST, PasswordHash, PemSource, RateLimit, TlsConfig, TlsVersion,
    User, WebConfig,
};

/// `poll_interval` where it is not configured.
pub const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// `lookback` where it is not configured: what Intune keeps.
pub const DEFAULT_LOOKBACK: Duration = Duration::from_secs(30 * 86_400);
/// `enrollment_refresh_interval` where it is not configured: devices are enrolled once and stay so for
/// months.
pub const DEFAULT_ENROLLMENT_REFRESH_INTERVAL: Duration = Duration::from_secs(3600);
/// `page_size` of the sessions report where it is not configured: the service's own.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// `requests_per_minute` where it is not configured: what the service allows an application for export
/// jobs. Its limit for the sessions report is not published.
pub const DEFAULT_REQUESTS_PER_MINUTE: u32 = 48;
/// `path` of the sessions report where it is not configured.
pub const SESSIONS_REPORT_PATH: &str = "/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport";
/// `job_timeout` where it is not configured. Exports of this size take seconds to minutes, and one that
/// takes longer than this is most likely stranded.
pub const DEFAULT_JOB_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// `select` where it is not configured: the documented columns of the export.
pub const EXPORT_COLUMNS: &[&str] = &[
    "Attribute",
    "Date",
    "DateDifference",
    "HelperDeviceAadId",
    "HelperDeviceName",
    "HelperEmail",
    "HelperFirstName",
    "HelperLastName",
    "Sessionend",
    "SessionId",
    "Sessionstart",
    "SharerDeviceAadId",
    "SharerDeviceName",
    "SharerDeviceOS",
    "SharerDeviceSerialNumber",
    "SharerEmail",
    "SharerFirstName",
    "SharerLastName",
];
/// How many export jobs one poll submits: the first, and one for each that came to nothing.
pub const MAX_EXPORT_JOBS: u32 = 3;
/// The most tenants of one exporter. Each has some hundred series, its ids in the ledger and its
/// polls in the interval; beyond this, one scrape takes megabytes.
pub const MAX_TENANTS: usize = 1000;
/// The longest tenant name. It stands in each of the tenant's series.
pub const MAX_NAME_BYTES: usize = 128;
/// The largest configuration file: a thousand tenants with every key take a fraction of it.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// The keys that a tenant has and `global` has not.
const TENANT_ONLY_KEYS: &[&str] = &["name", "tenant_id"];

/// What the exporter runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// `log.level`: the least severe level that is logged; `None` where the command line says it.
    pub log_level: Option<LogLevel>,
    /// `metrics`.
    pub metrics: Metrics,
    /// `tenants`: each name once; those of [`Config::shard`].
    pub tenants: Vec<Tenant>,
    /// How many tenants are configured, for all shards: at least one.
    pub configured: usize,
    /// Whose tenants these are.
    pub shard: Shard,
    /// A hash of the effective configuration of all shards, for `exporter_config_hash`. It leaves out secrets, and
    /// has 48 bits, which a sample's float holds exactly.
    pub hash: u64,
}

/// `metrics`: what is exposed.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `duration_buckets`: upper bounds of `session_duration_seconds`, ascending, without `+Inf`.
    pub duration_buckets: Vec<f64>,
    /// `native_histograms`: whether durations are shown as native histograms as well.
    pub native_histograms: bool,
    /// `helper_label`.
    pub helper_label: HelperLabel,
}

/// `metrics.helper_label`: whether `helper_sessions_total` names helpers, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HelperLabel {
    /// No such metric.
    #[default]
    Off,
    /// By a keyed hash.
    Hashed,
    /// By e-mail address.
    Plain,
}

/// One tenant: its own keys, those of `global`, then defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// `name`: the value of the label `tenant`, and the key in the ledger.
    pub name: Arc<str>,
    /// `tenant_id`: GUID or verified domain; absent where the credential needs none.
    pub tenant_id: Option<String>,
    /// `graph_url`: an origin, https or on loopback. No path, query or user.
    pub graph_url: Url,
    /// `authority_url`: an https origin.
    pub authority_url: Url,
    /// `ca_file`: PEM certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// `proxy_url`, `no_proxy`, `proxy_from_environment`.
    pub proxy: Proxy,
    /// `requests_per_minute`: how many requests for Intune's reports an application sends at most.
    pub requests_per_minute: u32,
    /// `credential`.
    pub credential: Credential,
    /// `source`.
    pub source: Source,
    /// `enrollment_lookup`: how often devices are listed for the enrolment states that reports lack,
    /// by `enrollment_refresh_interval`. `None` where it is off.
    pub enrollment_lookup: Option<Duration>,
    /// `poll_interval`.
    pub poll_interval: Duration,
    /// `lookback`: how far before now a session may have ended and still be counted.
    pub lookback: Duration,
    /// `first_run`.
    pub first_run: FirstRun,
}

/// `credential`: how a token is had.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// OAuth 2.0 client credentials with a shared secret.
    ClientSecret {
        /// `client_id`.
        client_id: String,
        /// `client_secret` or `client_secret_file`.
        secret: Secret,
    },
    /// OAuth 2.0 client credentials with an assertion that a certificate's key signs.
    ClientCertificate {
        /// `client_id`.
        client_id: String,
        /// `certificate_file`: PEM with certificate and private key, or PKCS #12.
        certificate_file: PathBuf,
        /// `certificate_password_file`: the password of the private key.
        password: Option<Secret>,
    },
    /// OAuth 2.0 client credentials with a token of another issuer, such as a Kubernetes cluster.
    WorkloadIdentity {
        /// `client_id`.
        client_id: String,
        /// `token_file`: the other issuer's token, which somebody else keeps fresh.
        token_file: PathBuf,
    },
    /// The identity of the Azure resource that the exporter runs on.
    ManagedIdentity {
        /// `client_id` of a user-assigned identity; the system-assigned one where absent.
        client_id: Option<String>,
    },
    /// Whoever is logged in to the Azure CLI.
    AzureCli,
    /// A token that somebody else keeps fresh in a file.
    BearerTokenFile {
        /// `token_file`.
        token_file: PathBuf,
    },
    /// No token at all, for gateways that need none.
    None,
}

/// A secret, or the file that holds it. `Debug` shows the file's name and never the secret.
#[derive(Clone, PartialEq)]
pub enum Secret {
    /// Written in the configuration or an environment variable.
    Inline(Arc<str>),
    /// In a file, read anew whenever a token is asked for.
    File(PathBuf),
}

/// `source`: where session reports are read.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The Intune sessions report (beta): `POST …/getRemoteAssistanceSessionsReport`.
    SessionsReport {
        /// `page_size`: rows asked for at a time.
        page_size: u32,
        /// `path`: the action's path below `graph_url`.
        path: String,
        /// `columns`: column name by property name, over the defaults.
        columns: Vec<(crate::session::Property, String)>,
    },
    /// The Intune export: `POST …/exportJobs`, and the file that comes of it.
    ExportJob {
        /// `columns`: column name by property name, over the defaults.
        columns: Vec<(crate::session::Property, String)>,
        /// `select`: the columns that the export is asked for.
        select: Vec<String>,
        /// `job_timeout`: after how long a job that is not completed is left for another.
        job_timeout: Duration,
    },
    /// An OData collection of `remoteAssistanceReporting`.
    Collection {
        /// `path`: the collection's path below `graph_url`.
        path: String,
        /// `page_size`: sent as `$top`; absent where not configured.
        page_size: Option<u32>,
    },
    /// Files that somebody drops into a directory.
    Files {
        /// `directory`.
        directory: PathBuf,
        /// `columns`: as of the sessions report, for files that have columns.
        columns: Vec<(crate::session::Property, String)>,
    },
}

/// `first_run`: what becomes of sessions that ended before the exporter ever ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstRun {
    /// They are counted.
    #[default]
    Count,
    /// They are marked as known and never counted.
    Baseline,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            duration_buckets: DURATION_BOUNDS.to_vec(),
            native_histograms: true,
            helper_label: HelperLabel::default(),
        }
    }
}

impl Config {
    /// Reads and checks a file. Files that it names are relative to its directory.
    ///
    /// # Errors
    /// The first problem, on one line, without any secret.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::from_yaml(&read_text(path, "--config.file")?, path)
    }

    /// Checks the text of the file `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_yaml(text: &str, path: &Path) -> Result<Self, Error> {
        Self::from_yaml_in(text, path, &|name| std::env::var(name).ok())
    }

    /// The same where `lookup` tells the environment's variables: kind `workload_identity` takes from
    /// there what the configuration leaves out, as Azure's webhook in Kubernetes sets it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_yaml_in(text: &str, path: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let around = Around { base: path.parent().unwrap_or(Path::new("")), lookup };
        yaml::parse(text)
            .and_then(|document| validate::document(&document, &around))
            .map_err(|error| error.of(path.display().to_string()))
    }

    /// One tenant from the Azure SDKs' variables, read through `lookup`: `AZURE_TENANT_ID` and
    /// `AZURE_CLIENT_ID` with `AZURE_CLIENT_SECRET`, or `AZURE_CLIENT_CERTIFICATE_PATH` and perhaps
    /// `AZURE_CLIENT_CERTIFICATE_PASSWORD`, or `AZURE_FEDERATED_TOKEN_FILE`, in this order; and
    /// `AZURE_AUTHORITY_HOST`.
    ///
    /// # Errors
    /// The first variable that is missing or wrong, on one line, without any secret.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        environment::read(lookup).map_err(|error| error.of("environment"))
    }

    /// The configuration as YAML, every default filled in and everything of `global` in its tenants, without
    /// secrets: `<secret>` stands where one is. Read again, it means the same but for these.
    pub fn to_yaml(&self) -> String {
        shown::yaml(self)
    }

    fn new(log_level: Option<LogLevel>, metrics: Metrics, tenants: Vec<Tenant>) -> Self {
        /// Truncated as Alertmanager truncates its own hash.
        const BITS: u32 = 48;
        let mut hasher = SipHasher13::new();
        // `Debug` shows every setting and no secret.
        hasher.write(format!("{log_level:?}{metrics:?}{tenants:?}").as_bytes());
        let hash = hasher.finish() >> (u64::BITS - BITS);
        Self { log_level, metrics, configured: tenants.len(), tenants, shard: Shard::ONLY, hash }
    }
}

/// The text of a configuration file, which `flag` names.
fn read_text(path: &Path, flag: &str) -> Result<String, Error> {
    let problem = |text: String| Error::new("", 0, text).of(path.display().to_string());
    let unreadable = |error| problem(format!("cannot be read ({error}); check {flag} and the permissions"));
    let mut bytes = Vec::new();
    File::open(path).map_err(unreadable)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(problem(format!("larger than {} MiB; check {flag}", MAX_FILE_BYTES / 1024 / 1024)));
    }
    String::from_utf8(bytes).map_err(|_| problem("not UTF-8 text; save it as UTF-8".to_owned()))
}

/// What surrounds a configuration file.
#[derive(Clone, Copy)]
struct Around<'a> {
    /// The directory that the files it names are relative to.
    base: &'a Path,
    /// The environment's variables.
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Around<'_> {
    /// A variable; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }
}

impl Credential {
    /// The kind's name in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClientSecret { .. } => "client_secret",
            Self::ClientCertificate { .. } => "client_certificate",
            Self::WorkloadIdentity { .. } => "workload_identity",
            Self::ManagedIdentity { .. } => "managed_identity",
            Self::AzureCli => "azure_cli",
            Self::BearerTokenFile { .. } => "bearer_token_file",
            Self::None => "none",
        }
    }

    /// Whether tokens are asked for at a tenant's own token endpoint.
    pub fn needs_tenant_id(&self) -> bool {
        matches!(self, Self::ClientSecret { .. } | Self::ClientCertificate { .. } | Self::WorkloadIdentity { .. })
    }

    /// The application that a token is for, where the configuration names it.
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::ClientSecret { client_id, .. }
            | Self::ClientCertificate { client_id, .. }
            | Self::WorkloadIdentity { client_id, .. } => Some(client_id),
            Self::ManagedIdentity { client_id } => client_id.as_deref(),
            Self::AzureCli | Self::BearerTokenFile { .. } | Self::None => None,
        }
    }
}

impl Source {
    /// The kind's name in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionsReport { .. } => "sessions_report",
            Self::ExportJob { .. } => "export_job",
            Self::Collection { .. } => "collection",
            Self::Files { .. } => "files",
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(<secret>)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}
