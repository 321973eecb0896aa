//! The web configuration as it was typed. Nothing here implements `Debug`: secrets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::config::raw::Key;

/// A list of texts.
pub(super) type List = Key<Vec<Spanned<String>>>;

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    pub tls_server_config: Key<Tls>,
    pub http_server_config: Key<Http>,
    pub basic_auth_users: Key<BTreeMap<String, Spanned<String>>>,
    pub rate_limit: Key<RateLimit>,
}

/// `tls_server_config`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub cert_file: Key<String>,
    pub key_file: Key<String>,
    pub cert: Key<String>,
    pub key: Key<String>,
    pub client_auth_type: Key<String>,
    pub client_ca_file: Key<String>,
    pub client_ca: Key<String>,
    pub client_allowed_sans: List,
    pub min_version: Key<String>,
    pub max_version: Key<String>,
    pub cipher_suites: List,
    pub prefer_server_cipher_suites: Key<bool>,
    pub curve_preferences: List,
}

/// `http_server_config`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    pub http2: Key<bool>,
    pub headers: Key<Headers>,
}

/// `http_server_config.headers`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Headers {
    #[serde(rename = "Content-Security-Policy")]
    pub content_security_policy: Key<String>,
    #[serde(rename = "X-Frame-Options")]
    pub x_frame_options: Key<String>,
    #[serde(rename = "X-Content-Type-Options")]
    pub x_content_type_options: Key<String>,
    #[serde(rename = "X-XSS-Protection")]
    pub x_xss_protection: Key<String>,
    #[serde(rename = "Strict-Transport-Security")]
    pub strict_transport_security: Key<String>,
}

/// `rate_limit`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateLimit {
    pub interval: Key<String>,
    pub burst: Key<u32>,
}
