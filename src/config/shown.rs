//! The configuration as it is shown: what the file said with `global` and the defaults filled in, in
//! the file's own keys, and `<secret>` wherever the value of a secret stands. Nothing that holds a secret
//! can be serialised; what is here is made from it, key by key.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_saphyr::SerializerOptions;

use super::{
    Config, Credential, DEFAULT_ENROLLMENT_REFRESH_INTERVAL, FirstRun, HelperLabel, Proxy, ProxyUrl, Secret, Source,
    Tenant, duration,
};
use crate::session::Property;

/// What stands where a secret is. Prometheus writes the same.
const SECRET: &str = "<secret>";
const HEADING: &str = "# The configuration in force, with defaults filled in. <secret> stands for secrets.\n";

/// The configuration as YAML.
pub(super) fn yaml(config: &Config) -> String {
    let mut options = SerializerOptions::default();
    // One key, one line: long paths are not folded.
    options.prefer_block_scalars = false;
    match serde_saphyr::to_string_with_options(&Document::of(config), options) {
        Ok(yaml) => format!("{HEADING}{yaml}"),
        // Writing plain values into a string does not fail.
        Err(error) => format!("{HEADING}# It cannot be shown: {error}\n"),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Log>,
    metrics: Metrics<'a>,
    tenants: Vec<ShownTenant<'a>>,
}

#[derive(Serialize)]
struct Log {
    level: &'static str,
}

#[derive(Serialize)]
struct Metrics<'a> {
    duration_buckets: &'a [f64],
    native_histograms: bool,
    helper_label: HelperLabel,
}

/// An item of `tenants`. The hosts stand in place of `cloud`, which says nothing beyond them.
#[derive(Serialize)]
struct ShownTenant<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<&'a str>,
    graph_url: String,
    authority_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<String>,
    #[serde(flatten)]
    proxy: ShownProxy,
    requests_per_minute: u32,
    credential: ShownCredential<'a>,
    source: ShownSource<'a>,
    enrollment_lookup: bool,
    enrollment_refresh_interval: String,
    poll_interval: String,
    lookback: String,
    first_run: &'static str,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ShownProxy {
    FromEnvironment { proxy_from_environment: bool },
    Via { proxy_url: String, no_proxy: String },
}

/// The keys of every kind; those that a kind has not are left out.
#[derive(Default, Serialize)]
struct ShownCredential<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_password_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<String>,
}

/// The keys of every kind; those that a kind has not are left out.
#[derive(Default, Serialize)]
struct ShownSource<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_size: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    select: Option<&'a [String]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<&'static str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_timeout: Option<String>,
}

impl<'a> Document<'a> {
    fn of(config: &'a Config) -> Self {
        Self {
            log: config.log_level.map(|level| Log { level: level.as_str() }),
            metrics: Metrics {
                duration_buckets: &config.metrics.duration_buckets,
                native_histograms: config.metrics.native_histograms,
                helper_label: config.metrics.helper_label,
            },
            tenants: config.tenants.iter().map(ShownTenant::of).collect(),
        }
    }
}

impl<'a> ShownTenant<'a> {
    fn of(tenant: &'a Tenant) -> Self {
        let text = |duration: Duration| duration::format(duration);
        Self {
            name: &tenant.name,
            tenant_id: tenant.tenant_id.as_deref(),
            graph_url: tenant.graph_url.origin().ascii_serialization(),
            authority_url: tenant.authority_url.origin().ascii_serialization(),
            ca_file: tenant.ca_file.as_deref().map(name),
            proxy: ShownProxy::of(&tenant.proxy),
            requests_per_minute: tenant.requests_per_minute,
            credential: ShownCredential::of(&tenant.credential),
            source: ShownSource::of(&tenant.source),
            enrollment_lookup: tenant.enrollment_lookup.is_some(),
            enrollment_refresh_interval: text(tenant.enrollment_lookup.unwrap_or(DEFAULT_ENROLLMENT_REFRESH_INTERVAL)),
            poll_interval: text(tenant.poll_interval),
            lookback: text(tenant.lookback),
            first_run: match tenant.first_run {
                FirstRun::Count => "count",
                FirstRun::Baseline => "baseline",
            },
        }
    }
}

impl ShownProxy {
    fn of(proxy: &Proxy) -> Self {
        match proxy {
            Proxy::Environment => Self::FromEnvironment { proxy_from_environment: true },
            Proxy::Direct => Self::FromEnvironment { proxy_from_environment: false },
            Proxy::Via { url, no_proxy } => Self::Via { proxy_url: address(url), no_proxy: no_proxy.to_string() },
        }
    }
}

/// The proxy's address; its user is half of a secret.
fn address(url: &ProxyUrl) -> String {
    let with_user = !url.expose().username().is_empty() || url.expose().password().is_some();
    match url.to_string().split_once("://") {
        Some((scheme, host)) if with_user => format!("{scheme}://{SECRET}@{host}"),
        _ => url.to_string(),
    }
}

impl<'a> ShownCredential<'a> {
    fn of(credential: &'a Credential) -> Self {
        let mut shown = Self { kind: credential.kind(), client_id: credential.client_id(), ..Self::default() };
        match credential {
            Credential::ClientSecret { secret: Secret::Inline(_), .. } => shown.client_secret = Some(SECRET),
            Credential::ClientSecret { secret: Secret::File(file), .. } => shown.client_secret_file = Some(name(file)),
            Credential::ClientCertificate { certificate_file, password, .. } => {
                shown.certificate_file = Some(name(certificate_file));
                shown.certificate_password_file = password.as_ref().and_then(|password| match password {
                    // From the environment's variable; no key has it.
                    Secret::Inline(_) => None,
                    Secret::File(file) => Some(name(file)),
                });
            }
            Credential::WorkloadIdentity { token_file, .. } | Credential::BearerTokenFile { token_file } => {
                shown.token_file = Some(name(token_file));
            }
            Credential::ManagedIdentity { .. } | Credential::AzureCli | Credential::None => {}
        }
        shown
    }
}

impl<'a> ShownSource<'a> {
    fn of(source: &'a Source) -> Self {
        let kind = source.kind();
        match source {
            Source::SessionsReport { page_size, path, columns } => {
                let (path, page_size) = (Some(path.as_str()), Some(*page_size));
                Self { kind, path, page_size, columns: map(columns), ..Self::default() }
            }
            Source::ExportJob { columns, select, job_timeout } => Self {
                kind,
                select: Some(select),
                columns: map(columns),
                job_timeout: Some(duration::format(*job_timeout)),
                ..Self::default()
            },
            Source::Collection { path, page_size } => {
                Self { kind, path: Some(path), page_size: *page_size, ..Self::default() }
            }
            Source::Files { directory, columns } => {
                Self { kind, directory: Some(name(directory)), columns: map(columns), ..Self::default() }
            }
        }
    }
}

fn map(columns: &[(Property, String)]) -> BTreeMap<&'static str, &str> {
    columns.iter().map(|(property, column)| (property.name(), column.as_str())).collect()
}

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn config(yaml: &str) -> Config {
        Config::from_yaml(yaml, Path::new("x.yaml")).unwrap_or_else(|error| panic!("{yaml}: {error}"))
    }

    #[test]
    fn what_is_left_out_is_filled_in_and_secrets_are_not_there() {
        let shown = config(
            "global: {proxy_url: 'http://user:HUNTER@proxy.example:3128', no_proxy: '.a.example,10.0.0.0/8', cloud: china}\n\
             metrics: {duration_buckets: [60, 0.5e3]}\n\
             tenants:\n\
             - {name: '007', tenant_id: a.example, credential: {kind: client_secret, client_id: id, client_secret: HUNTER}}\n\
             - {name: b, proxy_from_environment: false, source: {kind: files, directory: drop}}",
        )
        .to_yaml();
        insta::assert_snapshot!(shown, @r#"
        # The configuration in force, with defaults filled in. <secret> stands for secrets.
        metrics:
          duration_buckets:
          - 60.0
          - 500.0
          native_histograms: true
          helper_label: "off"
        tenants:
        - name: "007"
          tenant_id: a.example
          graph_url: https://microsoftgraph.chinacloudapi.cn
          authority_url: https://login.chinacloudapi.cn
          proxy_url: http://<secret>@proxy.example:3128
          no_proxy: .a.example,10.0.0.0/8
          requests_per_minute: 48
          credential:
            kind: client_secret
            client_id: id
            client_secret: <secret>
          source:
            kind: sessions_report
            path: /beta/deviceManagement/reports/getRemoteAssistanceSessionsReport
            page_size: 50
          enrollment_lookup: false
          enrollment_refresh_interval: 1h
          poll_interval: 5m
          lookback: 30d
          first_run: count
        - name: b
          graph_url: https://microsoftgraph.chinacloudapi.cn
          authority_url: https://login.chinacloudapi.cn
          proxy_from_environment: false
          requests_per_minute: 48
          credential:
            kind: none
          source:
            kind: files
            directory: drop
          enrollment_lookup: false
          enrollment_refresh_interval: 1h
          poll_interval: 5m
          lookback: 30d
          first_run: count
        "#);
        assert!(!shown.contains("HUNTER"), "{shown}");
    }

    #[test]
    fn a_password_of_the_environment_has_no_key() {
        let credential = Credential::ClientCertificate {
            client_id: "id".to_owned(),
            certificate_file: "a.pfx".into(),
            password: Some(Secret::Inline("HUNTER".into())),
        };
        let shown = ShownCredential::of(&credential);
        assert_eq!(shown.certificate_password_file, None);
    }

    proptest! {
        /// Names that YAML might take for something else than text stay text.
        #[test]
        fn what_is_shown_means_the_same_when_it_is_read(
            name in "[^\\pC]{1,20}|true|~|null|0x1F|1:30|-|&a|\\*a|!t|[0-9.e+-]{1,6}|[:#?,@`'\"|>%{}\\[\\] a-]{1,8}",
            column in "[^\\pC]{1,20}|yes|[:# '\"\\\\-]{1,8}",
            page_size in 1..1000_u32,
            minutes in 1..1000_u64,
        ) {
            prop_assume!(name.trim() == name);
            let name = serde_json::to_string(&name).unwrap();
            let column = serde_json::to_string(&column).unwrap();
            let read = config(&format!(
                "{{log: {{level: debug}}, tenants: [{{name: {name}, credential: {{kind: none}}, poll_interval: {minutes}m, \
                 source: {{kind: sessions_report, page_size: {page_size}, columns: {{endDateTime: {column}}}}}}}]}}"
            ));
            let again = config(&read.to_yaml());
            prop_assert_eq!(&again.tenants, &read.tenants);
            prop_assert_eq!(again.hash, read.hash);
        }
    }
}
