//! The configuration as it was typed: every key optional, unknown and doubled keys refused. Values
//! carry their line, so that later rules can name it. Nothing here implements `Debug`: secrets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A key's value and its place, if the key was given.
pub(super) type Key<T> = Option<Spanned<T>>;

/// `source.columns`: column name by property name.
pub(super) type Columns = BTreeMap<String, Spanned<String>>;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    pub global: Key<Tenant>,
    pub log: Key<Log>,
    pub metrics: Key<Metrics>,
    pub tenants: Key<Vec<Spanned<Tenant>>>,
}

/// One of `tenants`, and `global`, which has the same keys except the first two.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tenant {
    pub name: Key<String>,
    pub tenant_id: Key<String>,
    pub cloud: Key<String>,
    pub graph_url: Key<String>,
    pub authority_url: Key<String>,
    pub ca_file: Key<String>,
    pub proxy_url: Key<String>,
    pub no_proxy: Key<String>,
    pub proxy_from_environment: Key<bool>,
    pub requests_per_minute: Key<u32>,
    pub credential: Key<Credential>,
    pub source: Key<Source>,
    pub enrollment_lookup: Key<bool>,
    pub enrollment_refresh_interval: Key<String>,
    pub poll_interval: Key<String>,
    pub lookback: Key<String>,
    pub first_run: Key<String>,
}

/// `credential`: the keys of every kind. Which of them go together is a rule of `block`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Credential {
    pub kind: Key<String>,
    pub client_id: Key<String>,
    pub client_secret: Key<String>,
    pub client_secret_file: Key<String>,
    pub certificate_file: Key<String>,
    pub certificate_password_file: Key<String>,
    pub token_file: Key<String>,
}

/// `source`: the keys of every kind.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Source {
    pub kind: Key<String>,
    pub page_size: Key<u32>,
    pub columns: Key<Columns>,
    pub path: Key<String>,
    pub select: Key<Vec<Spanned<String>>>,
    pub job_timeout: Key<String>,
    pub directory: Key<String>,
}

/// `log`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub level: Key<String>,
}

/// `metrics`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub duration_buckets: Key<Vec<Spanned<f64>>>,
    pub native_histograms: Key<bool>,
    pub helper_label: Key<String>,
}
