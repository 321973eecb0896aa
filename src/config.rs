//! The configuration, valid and complete: every default filled in, every rule checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

/// What the exporter runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// `metrics`.
    pub metrics: Metrics,
    /// `tenants`: at least one, each name once.
    pub tenants: Vec<Tenant>,
    /// A hash of the configuration, for `exporter_config_hash`.
    pub hash: u64,
}

/// `metrics`: what is exposed.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `duration_buckets`: upper bounds of `session_duration_seconds`, ascending, without `+Inf`.
    pub duration_buckets: Vec<f64>,
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
#[derive(Clone, Debug)]
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
    /// `credential`.
    pub credential: Credential,
    /// `source`.
    pub source: Source,
    /// `poll_interval`.
    pub poll_interval: Duration,
    /// `lookback`: how far before now a session may have ended and still be counted.
    pub lookback: Duration,
    /// `first_run`.
    pub first_run: FirstRun,
}

/// `credential`: how a token is had.
#[derive(Clone, Debug)]
pub enum Credential {
    /// OAuth 2.0 client credentials with a shared secret.
    ClientSecret {
        /// `client_id`.
        client_id: String,
        /// `client_secret` or `client_secret_file`.
        secret: Secret,
    },
    /// A token that somebody else keeps fresh in a file.
    BearerTokenFile {
        /// `token_file`.
        token_file: PathBuf,
    },
    /// No token at all, for gateways that need none.
    None,
}

/// A secret, or the file that holds it. `Debug` shows the file's name and never the secret.
#[derive(Clone)]
pub enum Secret {
    /// Written in the configuration or an environment variable.
    Inline(Arc<str>),
    /// In a file, read anew whenever a token is asked for.
    File(PathBuf),
}

/// `source`: where session reports are read.
#[derive(Clone, Debug)]
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
    /// An OData collection of `remoteAssistanceReporting`.
    Collection {
        /// `path`: the collection's path below `graph_url`.
        path: String,
        /// `page_size`: sent as `$top`; absent where not configured.
        page_size: Option<u32>,
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

impl Source {
    /// The kind's name in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionsReport { .. } => "sessions_report",
            Self::Collection { .. } => "collection",
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
