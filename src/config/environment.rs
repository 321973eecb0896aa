//! The variables that the Azure SDKs share: one tenant from them, for running without a file, and what
//! a file may leave to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::Place;
use super::cloud::Cloud;
use super::validate::Keys;
use super::{Around, Config, Credential, Error, Metrics, Secret, files, rules};

const TENANT_ID: &str = "AZURE_TENANT_ID";
pub(super) const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE_PATH: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const CERTIFICATE_PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";
pub(super) const FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";

/// One tenant, from the variables that `lookup` tells. An empty one counts as not set.
pub(super) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Config, Error> {
    let around = Around { base: Path::new(""), lookup: &lookup };
    let required = |name: &str| around.variable(name).ok_or_else(|| missing(name));
    let tenant_id = place(TENANT_ID).check(rules::tenant_id(&required(TENANT_ID)?))?;
    let client_id = place(CLIENT_ID).check(rules::client_id(&required(CLIENT_ID)?))?;
    let mut keys = Keys { credential: Some(credential(client_id, &around)?), ..Keys::default() };
    if let Some(host) = around.variable(AUTHORITY_HOST) {
        // The SDKs take both a URL and a bare host.
        let url = if host.contains("://") { host } else { format!("https://{host}") };
        let authority = place(AUTHORITY_HOST).check(rules::authority_url(&url))?;
        keys.cloud = Cloud::of_authority(&authority);
        keys.authority_url = Some(authority);
    }
    let tenant = keys.complete(&tenant_id, Some(tenant_id.clone()), &place(TENANT_ID))?;
    Ok(Config::new(None, Metrics::default(), vec![tenant]))
}

/// The first one of secret, certificate and federated token, as the SDKs take them.
fn credential(client_id: String, around: &Around<'_>) -> Result<Credential, Error> {
    let named = |name: &str, rule: fn(&str, &Path) -> rules::Checked<PathBuf>| {
        let value = around.variable(name);
        value.map(|file| place(name).check(rule(&file, around.base))).transpose()
    };
    if let Some(secret) = around.variable(CLIENT_SECRET) {
        return Ok(Credential::ClientSecret { client_id, secret: Secret::Inline(Arc::from(secret)) });
    }
    if let Some(certificate_file) = named(CERTIFICATE_PATH, files::key_pair)? {
        let password = around.variable(CERTIFICATE_PASSWORD).map(|text| Secret::Inline(Arc::from(text)));
        return Ok(Credential::ClientCertificate { client_id, certificate_file, password });
    }
    match named(FEDERATED_TOKEN_FILE, files::secret)? {
        Some(token_file) => Ok(Credential::WorkloadIdentity { client_id, token_file }),
        None => {
            let problem = format!(
                "not set; set it, or {CERTIFICATE_PATH} or {FEDERATED_TOKEN_FILE}, or name a configuration with --config.file, or try the command demo"
            );
            Err(Error::new(CLIENT_SECRET, 0, problem))
        }
    }
}

/// The tenant's id where a file leaves it to the variables.
pub(super) fn tenant_id(around: &Around<'_>) -> Result<Option<String>, Error> {
    let value = around.variable(TENANT_ID);
    value.map(|id| place(TENANT_ID).check(rules::tenant_id(&id))).transpose()
}

fn missing(name: &str) -> Error {
    let problem = "not set; set it, or name a configuration with --config.file, or try the command demo";
    Error::new(name, 0, problem)
}

/// The place of a variable.
pub(super) fn place(variable: &str) -> Place {
    Place { key: variable.to_owned(), line: 0 }
}
