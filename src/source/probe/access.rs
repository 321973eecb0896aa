//! The credential, its token, and what the token may do.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::{Configuration, Detail, Ear, Finding, Outcome, Permission, Token};
use crate::config::{self, Credential, Secret};
use crate::source::graph::{Claims, Client};

/// One of these is enough for the sessions report, as Graph documents it.
const OF_SESSIONS_REPORT: &[&str] =
    &["DeviceManagementServiceConfig.Read.All", "DeviceManagementConfiguration.Read.All"];
/// One of these is enough for an export job: the service accepts them all, and Microsoft documents the
/// writing ones. The least is first.
const OF_EXPORT_JOB: &[&str] = &[
    "DeviceManagementConfiguration.Read.All",
    "DeviceManagementApps.Read.All",
    "DeviceManagementManagedDevices.Read.All",
    "DeviceManagementConfiguration.ReadWrite.All",
    "DeviceManagementApps.ReadWrite.All",
    "DeviceManagementManagedDevices.ReadWrite.All",
];
/// All of these are needed to look up enrolment states, one for each list of devices.
const OF_ENROLLMENT_LOOKUP: &[&str] =
    &["DeviceManagementServiceConfig.Read.All", "DeviceManagementManagedDevices.Read.All"];

/// What is configured, without secrets.
pub(super) fn configuration(tenant: &config::Tenant) -> Configuration {
    let origin = |url: &url::Url| url.origin().ascii_serialization();
    Configuration {
        source: tenant.source.kind(),
        credential: tenant.credential.kind(),
        graph_url: origin(&tenant.graph_url),
        authority_url: asks_authority(&tenant.credential).then(|| origin(&tenant.authority_url)),
        files: tenant.ca_file.iter().chain(files(&tenant.credential)).cloned().collect(),
    }
}

/// The files that the credential is read from.
fn files(credential: &Credential) -> Vec<&PathBuf> {
    let secret = match credential {
        Credential::ClientSecret { secret, .. } => Some(secret),
        Credential::ClientCertificate { password, .. } => password.as_ref(),
        _ => None,
    };
    let file = match credential {
        Credential::ClientCertificate { certificate_file, .. } => Some(certificate_file),
        Credential::WorkloadIdentity { token_file, .. } | Credential::BearerTokenFile { token_file } => {
            Some(token_file)
        }
        _ => None,
    };
    let of_secret = secret.and_then(|secret| match secret {
        Secret::File(file) => Some(file),
        Secret::Inline(_) => None,
    });
    file.into_iter().chain(of_secret).collect()
}

/// Whether the credential asks for its tokens at `authority_url`.
pub(super) fn asks_authority(credential: &Credential) -> bool {
    credential.needs_tenant_id()
}

/// Gets a token, and reads what it says of itself.
pub(super) async fn token(
    tenant: &config::Tenant,
    client: &Client,
    ear: &Ear,
    now: fn() -> DateTime<Utc>,
) -> Finding<Option<Claims>> {
    if matches!(tenant.credential, Credential::None) {
        let outcome = Outcome::NotApplicable("the credential's kind is none".to_owned());
        return Finding { outcome, detail: None, passed_on: None };
    }
    match client.token_claims(&mut client.budget()).await {
        Err(error) => Finding { outcome: Outcome::Failed(error), detail: None, passed_on: None },
        Ok(claims) => {
            let (said, heard) = (claims.as_ref().and_then(|claims| claims.exp), ear.token_expires());
            let token = Token {
                // One that was issued just now lives by this machine's clock, one in a file by its own word.
                expires: match tenant.credential {
                    Credential::BearerTokenFile { .. } => said.or(heard),
                    _ => heard.or(said),
                },
                roles: claims.as_ref().map(|claims| claims.roles.clone()),
                scopes: claims.as_ref().map(|claims| claims.scopes.clone()),
            };
            let doubt = claims.as_ref().and_then(|claims| doubt(tenant, claims, &token, now()));
            let outcome = doubt.map_or(Outcome::Fine, Outcome::Warning);
            Finding { outcome, detail: Some(Detail::Token(token)), passed_on: claims }
        }
    }
}

/// What the token's claims make worth a look. The service decides, so nothing fails by them.
fn doubt(tenant: &config::Tenant, claims: &Claims, token: &Token, now: DateTime<Utc>) -> Option<String> {
    if let Some(expires) = token.expires.filter(|expires| *expires <= now) {
        let at = expires.format("%Y-%m-%d %H:%M:%S UTC");
        return Some(format!("the token expired at {at}; whatever writes it has to renew it in time"));
    }
    let (own, said) = (tenant.tenant_id.as_deref()?, claims.tid.as_deref()?);
    // A domain stands for a GUID that is not known here.
    let other = uuid::Uuid::parse_str(own).is_ok_and(|own| uuid::Uuid::parse_str(said).is_ok_and(|said| said != own));
    other.then(|| format!("the token is for the tenant {said}, and tenant_id is another; check the credential"))
}

/// Compares what the token may do with what the source and the look-up of enrolment states need.
pub(super) fn permission(tenant: &config::Tenant, claims: &Option<Claims>) -> Finding<()> {
    let not_applicable =
        |why: &str| Finding { outcome: Outcome::NotApplicable(why.to_owned()), detail: None, passed_on: () };
    let all_of: &[_] = if tenant.enrollment_lookup.is_some() { OF_ENROLLMENT_LOOKUP } else { &[] };
    let any_of = match &tenant.source {
        config::Source::SessionsReport { .. } => OF_SESSIONS_REPORT,
        config::Source::ExportJob { .. } => OF_EXPORT_JOB,
        _ if !all_of.is_empty() => &[],
        config::Source::Collection { .. } => {
            return not_applicable("what a collection asks for is up to the service at source.path");
        }
        config::Source::Files { .. } => return not_applicable("files need no permission of Graph"),
    };
    let Some(claims) = claims else {
        return not_applicable(match tenant.credential {
            Credential::None => "the credential's kind is none",
            _ if !all_of.is_empty() => {
                "the token does not say what it may do; the next step shows it of the reports, and \
                 enrollment_lookup_up of the devices"
            }
            _ => "the token does not say what it may do; the next step shows it",
        });
    };
    let names = |wanted: &str| claims.roles.iter().chain(&claims.scopes).any(|name| name == wanted);
    // To write includes to read.
    let lacks = |wanted: &&&str| !names(wanted) && !names(&wanted.replace(".Read.", ".ReadWrite."));
    let mut found: Vec<_> = any_of.iter().copied().filter(|wanted| names(wanted)).collect();
    let doubts = [
        (found.is_empty() && !any_of.is_empty())
            .then(|| ungranted("none of the permissions that the source needs", any_of, " or ")),
        Some(all_of.iter().filter(lacks).copied().collect::<Vec<_>>()).filter(|lacking| !lacking.is_empty()).map(
            |lacking| {
                let lacking = ungranted("not every permission that enrollment_lookup needs", &lacking, " and ");
                format!("{lacking}, or set enrollment_lookup to false")
            },
        ),
    ];
    let doubts: Vec<_> = doubts.into_iter().flatten().collect();
    let of_lookup = all_of.iter().copied().filter(|wanted| names(wanted));
    let of_lookup: Vec<_> = of_lookup.filter(|wanted| !found.contains(wanted)).collect();
    found.extend(of_lookup);
    let outcome = if doubts.is_empty() { Outcome::Fine } else { Outcome::Warning(doubts.join("; ")) };
    Finding { outcome, detail: Some(Detail::Permission(Permission { any_of, all_of, found })), passed_on: () }
}

fn ungranted(what: &str, permissions: &[&str], joined_by: &str) -> String {
    format!(
        "the token names {what}; grant the application {} as an application permission of Microsoft Graph and give \
         admin consent (a new permission takes effect with the next token)",
        permissions.join(joined_by)
    )
}
