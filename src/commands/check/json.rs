//! The report for machines: one JSON document. Its schema is `docs/check.schema.json`; a test holds it.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::web::Web;
use super::{Failure, Report, Verdict, message, word};
use crate::session::Label as _;
use crate::source::probe::{Columns, Connection, Detail, Host, Outcome, PropertyFound, Step, Trust};

/// Rises when a key is removed or changes its meaning; new keys may come without.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    exporter_version: &'a str,
    offline: bool,
    status: &'static str,
    error: Option<&'a str>,
    web_configuration: Option<Value>,
    tenants: Vec<Tenant<'a>>,
}

#[derive(Serialize)]
struct Tenant<'a> {
    tenant: &'a str,
    shard: u32,
    status: &'static str,
    steps: Vec<StepFound>,
}

#[derive(Serialize)]
struct StepFound {
    step: &'static str,
    status: &'static str,
    message: Option<String>,
    reason: Option<&'static str>,
    aadsts: Option<u32>,
    skipped_because: Option<&'static str>,
    details: Option<Value>,
}

/// The whole document, with a line feed.
pub(super) fn document(web: Option<&Web>, reports: &[Report], offline: bool, version: &str) -> Result<String, Failure> {
    let tenants = reports.iter().map(|report| Tenant {
        tenant: &report.tenant,
        shard: report.shard.0,
        status: report.verdict().as_str(),
        steps: report.steps.iter().map(step).collect(),
    });
    let verdicts = reports.iter().map(Report::verdict).chain(web.map(Web::verdict));
    let status = verdicts.max().unwrap_or(Verdict::Fine);
    text(&Document {
        schema_version: SCHEMA_VERSION,
        exporter_version: version,
        offline,
        status: status.as_str(),
        error: None,
        web_configuration: web.map(Web::json),
        tenants: tenants.collect(),
    })
}

/// The document where a configuration is refused, so that there is nothing to look at.
pub(super) fn refused(error: &str, offline: bool, version: &str) -> Result<String, Failure> {
    text(&Document {
        schema_version: SCHEMA_VERSION,
        exporter_version: version,
        offline,
        status: Verdict::Failed.as_str(),
        error: Some(error),
        web_configuration: None,
        tenants: Vec::new(),
    })
}

fn text(document: &Document<'_>) -> Result<String, Failure> {
    serde_json::to_string_pretty(document).map(|text| text + "\n").map_err(Failure::other)
}

fn step(step: &Step) -> StepFound {
    let reason = match &step.outcome {
        Outcome::Failed(error) => Some(error.reason.as_str()),
        _ => None,
    };
    let because = match step.outcome {
        Outcome::Skipped(because) => Some(because.as_str()),
        _ => None,
    };
    let message = message(&step.outcome);
    StepFound {
        step: step.name.as_str(),
        status: word(&step.outcome),
        aadsts: message.as_deref().and_then(aadsts),
        message,
        reason,
        skipped_because: because,
        details: step.detail.as_ref().map(details),
    }
}

/// The number by which Entra's documentation knows an error.
fn aadsts(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("AADSTS")?;
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

fn details(detail: &Detail) -> Value {
    match detail {
        Detail::Configuration(found) => json!({
            "source": found.source,
            "credential": found.credential,
            "graph_url": found.graph_url,
            "authority_url": found.authority_url,
            // As text: a path is bytes, which JSON has not.
            "files": found.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        }),
        Detail::Hosts(hosts) => {
            let host = |host: &Host| json!({ "key": host.key, "host": host.name, "proxy": host.proxy, "addresses": host.addresses });
            json!({ "hosts": hosts.iter().map(host).collect::<Vec<_>>() })
        }
        Detail::Connections(found) => json!({ "connections": found.iter().map(connection).collect::<Vec<_>>() }),
        Detail::Token(found) => json!({
            "expires": found.expires.map(time),
            "roles": found.roles,
            "scopes": found.scopes,
        }),
        Detail::Permission(found) => {
            json!({ "any_of": found.any_of, "all_of": found.all_of, "found": found.found })
        }
        Detail::Page(found) => json!({ "rows": found.rows, "rejected": found.rejected, "rows_total": found.total }),
        Detail::Columns(found) => columns(found),
        Detail::Clock(found) => json!({
            "service": time(found.service),
            "machine": time(found.machine),
            "ahead_seconds": found.ahead().num_seconds(),
        }),
    }
}

fn connection(found: &Connection) -> Value {
    let certificate = found.certificate.as_ref().map(|certificate| {
        json!({
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "not_before": time(certificate.not_before),
            "not_after": time(certificate.not_after),
        })
    });
    json!({
        "key": found.key,
        "authority": found.authority,
        "proxy": found.proxy,
        "address": found.address,
        "tls_version": found.version,
        "certificate": certificate,
        "trusted_by": found.trusted_by.map(|trust| match trust {
            Trust::System => "system",
            Trust::CaFile => "ca_file",
        }),
    })
}

fn columns(found: &Columns) -> Value {
    let property = |property: &PropertyFound| -> Value {
        // Where the values are no closed set, nothing is said of them.
        let values: Option<&BTreeMap<_, _>> = Some(&property.values).filter(|values| !values.is_empty());
        json!({
            "property": property.property.name(),
            "required": property.required,
            "columns": property.columns,
            "rows_reported": property.reported,
            "values": values,
        })
    };
    json!({
        "mapped": found.mapped,
        "rows": found.rows,
        "properties": found.properties.iter().map(property).collect::<Vec<_>>(),
        "unused_columns": found.unused,
    })
}

/// As RFC 3339.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_path_that_is_not_utf_8_is_shown_as_well_as_can_be() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = std::ffi::OsStr::from_bytes(b"/etc/caf\xe9/ca.pem");
        let found = Detail::Configuration(crate::source::probe::Configuration {
            source: "collection",
            credential: "none",
            graph_url: "https://graph.example".to_owned(),
            authority_url: None,
            files: vec![path.into()],
        });
        assert_eq!(details(&found)["files"], json!(["/etc/caf\u{fffd}/ca.pem"]));
    }
}
