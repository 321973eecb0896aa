//! One tenant from the variables that the Azure SDKs share, for running without a file.

use std::sync::Arc;

use super::block::Place;
use super::cloud::Cloud;
use super::validate::Keys;
use super::{Config, Credential, Error, Metrics, Secret, rules};

const TENANT_ID: &str = "AZURE_TENANT_ID";
const CLIENT_ID: &str = "AZURE_CLIENT_ID";
const CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
/// Other ways to prove an identity, which would be taken for the SDK's word otherwise.
const UNSUPPORTED: &[&str] = &["AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"];

/// Reads the variables through `lookup`. An empty one counts as not set.
pub(super) fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Config, Error> {
    let variable = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
    let missing = |name: &str| {
        let problem = "not set; set it, or name a configuration with --config.file, or try the command demo";
        Error::new(name, 0, problem)
    };
    let required = |name: &str| variable(name).ok_or_else(|| missing(name));

    let tenant_id = place(TENANT_ID).check(rules::tenant_id(&required(TENANT_ID)?))?;
    let client_id = place(CLIENT_ID).check(rules::client_id(&required(CLIENT_ID)?))?;
    let secret =
        variable(CLIENT_SECRET).ok_or_else(|| match UNSUPPORTED.iter().find(|name| variable(name).is_some()) {
            Some(name) => place(name).error(format!("not supported yet; set {CLIENT_SECRET} instead")),
            None => missing(CLIENT_SECRET),
        })?;
    let mut keys = Keys {
        credential: Some(Credential::ClientSecret { client_id, secret: Secret::Inline(Arc::from(secret)) }),
        ..Keys::default()
    };
    if let Some(host) = variable(AUTHORITY_HOST) {
        // The SDKs take both a URL and a bare host.
        let url = if host.contains("://") { host } else { format!("https://{host}") };
        let authority = place(AUTHORITY_HOST).check(rules::authority_url(&url))?;
        keys.cloud = Cloud::of_authority(&authority);
        keys.authority_url = Some(authority);
    }
    let tenant = keys.complete(&tenant_id, Some(tenant_id.clone()), &place(TENANT_ID))?;
    let metrics = Metrics::default();
    Ok(Config::new(metrics, vec![tenant]))
}

fn place(variable: &str) -> Place {
    Place { key: variable.to_owned(), line: 0 }
}
