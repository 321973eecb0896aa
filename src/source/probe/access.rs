//! The credential, its token, and what the token may do.

use chrono::{DateTime, Utc};

use super::{Configuration, Detail, Ear, Finding, Outcome, Permission, Token};
use crate::config::{self, Credential};
use crate::source::graph::{Claims, Client, shown};

/// One of these is enough for the sessions report, as Graph documents it.
const OF_SESSIONS_REPORT: &[&str] =
    &["DeviceManagementServiceConfig.Read.All", "DeviceManagementConfiguration.Read.All"];

/// What is configured, without secrets.
pub(super) fn configuration(tenant: &config::Tenant) -> Configuration {
    let origin = |url: &url::Url| url.origin().ascii_serialization();
    let files = match &tenant.credential {
        Credential::ClientSecret { secret: config::Secret::File(file), .. } => Some(file),
        Credential::BearerTokenFile { token_file } => Some(token_file),
        Credential::ClientSecret { .. } | Credential::None => None,
    };
    Configuration {
        source: tenant.source.kind(),
        credential: kind(&tenant.credential),
        graph_url: origin(&tenant.graph_url),
        authority_url: asks_authority(&tenant.credential).then(|| origin(&tenant.authority_url)),
        files: tenant.ca_file.iter().chain(files).cloned().collect(),
    }
}
