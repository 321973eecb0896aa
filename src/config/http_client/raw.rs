//! The HTTP client configuration as it was typed. Nothing here implements `Debug`: secrets.

use serde::Deserialize;

use crate::config::raw::Key;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    pub tls_config: Key<Tls>,
    pub basic_auth: Key<BasicAuth>,
}

/// `tls_config`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub ca_file: Key<String>,
    pub cert_file: Key<String>,
    pub key_file: Key<String>,
    pub server_name: Key<String>,
    pub insecure_skip_verify: Key<bool>,
}

/// `basic_auth`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BasicAuth {
    pub username: Key<String>,
    pub password: Key<String>,
    pub password_file: Key<String>,
}
