//! The configuration: a bad file for each rule with its message, good files, the environment, and
//! that no error ever shows a secret.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use remote_assistance_exporter::config::{Config, Credential, FirstRun, HelperLabel, LogLevel, Proxy, Secret, Source};
use remote_assistance_exporter::session::Property;

const FIXTURES: &str = "tests/fixtures/config";

fn good(name: &str) -> Config {
    Config::load(&Path::new(FIXTURES).join("good").join(name)).unwrap()
}

fn refusal(yaml: &str) -> String {
    match Config::from_yaml(yaml, Path::new("test.yaml")) {
        Ok(_) => panic!("accepted: {yaml}"),
        Err(error) => error.to_string(),
    }
}

/// The first line of each bad file is the error that it has to give.
#[test]
fn each_bad_file_gives_its_error() {
    let folder = PathBuf::from(FIXTURES).join("bad");
    let mut wrong = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let expected = text.lines().next().unwrap().strip_prefix("# ").unwrap();
        let actual = match Config::load(&file) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        if actual.strip_prefix(&format!("{}/", folder.display())) != Some(expected) {
            wrong.push(format!("{}\n  expected {expected}\n  actual   {actual}", file.display()));
        }
        assert!(!actual.contains("s3cr3t") && !actual.contains('\n'), "{actual}");
        files += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files > 90, "only {files} files were found");
}

#[test]
fn the_documented_configuration_is_read() {
    let config = good("design.yaml");
    assert_eq!(config.metrics.duration_buckets, [60.0, 300.0, 1800.0]);
    assert_eq!((config.log_level, config.metrics.helper_label), (Some(LogLevel::Debug), HelperLabel::Off));
    let [tenant] = &config.tenants[..] else { panic!("{config:?}") };
    assert_eq!(&*tenant.name, "contoso");
    assert_eq!(tenant.tenant_id.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
    assert_eq!(tenant.graph_url.as_str(), "https://graph.microsoft.com/");
    assert_eq!(tenant.authority_url.as_str(), "https://login.microsoftonline.com/");
    assert_eq!(tenant.ca_file.as_deref(), Some(&*Path::new(FIXTURES).join("good/ca.pem")));
    assert_eq!(tenant.poll_interval, Duration::from_secs(300));
    assert_eq!(tenant.lookback, Duration::from_secs(30 * 86_400));
    let Credential::ClientSecret { client_id, secret: Secret::File(file) } = &tenant.credential else {
        panic!("{tenant:?}")
    };
    assert_eq!(client_id, "66666666-7777-8888-9999-000000000000");
    assert_eq!(file, &Path::new(FIXTURES).join("good/secret.txt"));
}

#[test]
fn what_is_not_configured_has_its_default() {
    let config = good("smallest.yaml");
    assert_eq!((config.log_level, config.metrics.duration_buckets.len()), (None, 11));
    let [tenant] = &config.tenants[..] else { panic!("{config:?}") };
    assert_eq!((tenant.tenant_id.as_deref(), tenant.ca_file.as_deref()), (None, None));
    assert_eq!(tenant.graph_url.as_str(), "https://graph.example:8443/");
    assert_eq!((tenant.first_run, &tenant.proxy), (FirstRun::Count, &Proxy::Environment));
    assert_eq!((tenant.poll_interval.as_secs(), tenant.lookback.as_secs()), (300, 2_592_000));
    assert_eq!(tenant.enrollment_lookup, None);
    let Source::SessionsReport { page_size, path, columns } = &tenant.source else { panic!("{tenant:?}") };
    assert_eq!((*page_size, columns.len()), (50, 0));
    assert_eq!(path, "/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport");
}

#[test]
fn a_tenant_overrides_global_key_by_key() {
    let config = good("provider.yaml");
    let [first, second] = &config.tenants[..] else { panic!("{config:?}") };
    assert_eq!(first.graph_url.as_str(), "https://dod-graph.microsoft.us/");
    assert_eq!(first.authority_url.as_str(), "https://login.microsoftonline.us/");
    assert_eq!((first.poll_interval.as_secs(), first.lookback.as_secs()), (5400, 2_592_000));
    assert_eq!(first.first_run, FirstRun::Baseline);
    assert_eq!((first.enrollment_lookup, second.enrollment_lookup), (Some(Duration::from_secs(1800)), None));
    assert!(
        matches!(&first.credential, Credential::ClientSecret { secret: Secret::Inline(text), .. } if &**text == "s3cr3t")
    );
    let Source::SessionsReport { columns, .. } = &first.source else { panic!("{first:?}") };
    let mapped = |property, column: &str| columns.contains(&(property, column.to_owned()));
    assert!(mapped(Property::StartDateTime, "Start") && mapped(Property::EndDateTime, "End") && columns.len() == 2);

    let Proxy::Via { url, no_proxy } = &first.proxy else { panic!("{first:?}") };
    assert_eq!((url.to_string().as_str(), url.expose().password()), ("http://proxy.example:3128", Some("s3cr3t")));
    let without = |url: &str| no_proxy.matches(&url.parse().unwrap());
    assert!(without("https://a.intranet.example") && without("https://10.1.2.3") && !without("https://a.example"));
    assert_eq!((&second.proxy, first.requests_per_minute, second.requests_per_minute), (&Proxy::Direct, 300, 60));

    assert_eq!(&*second.name, "Contoso, Ltd. (größte)");
    assert_eq!(second.graph_url.as_str(), "http://127.0.0.1:8080/");
    assert_eq!(second.authority_url.as_str(), "https://login.chinacloudapi.cn/");
    assert_eq!((second.poll_interval.as_secs(), second.lookback.as_secs()), (10, 604_800));
    assert_eq!(second.first_run, FirstRun::Count);
    assert!(matches!(second.credential, Credential::BearerTokenFile { .. }));
    let Source::Collection { path, page_size } = &second.source else { panic!("{second:?}") };
    assert_eq!((path.as_str(), *page_size), ("/archive/sessions('all')", Some(500)));
}

#[test]
fn files_need_no_credential_and_use_none() {
    let yaml = "global: {credential: {kind: client_secret, client_id: x, client_secret: HUNTER}}\n\
                tenants: [{name: a, source: {kind: files, directory: drop, columns: {endDateTime: Finished}}}]";
    let config = Config::from_yaml(yaml, Path::new("/etc/exporter/test.yaml")).unwrap();
    let [tenant] = &config.tenants[..] else { panic!("{config:?}") };
    assert!(tenant.tenant_id.is_none() && matches!(tenant.credential, Credential::None), "{tenant:?}");
    let Source::Files { directory, columns } = &tenant.source else { panic!("{tenant:?}") };
    assert_eq!(directory, Path::new("/etc/exporter/drop"));
    assert_eq!(columns[..], [(Property::EndDateTime, "Finished".to_owned())]);
    // Devices are looked up in Graph, wherever the reports come from.
    let yaml = "tenants: [{name: a, enrollment_lookup: true, source: {kind: files, directory: drop}}]";
    let error = Config::from_yaml(yaml, Path::new("test.yaml")).unwrap_err().to_string();
    assert!(error.contains("tenants[0].credential: missing"), "{error}");
}

#[test]
fn an_export_asks_for_the_documented_columns_unless_told_otherwise() {
    let config = good("export.yaml");
    let [plain, own] = &config.tenants[..] else { panic!("{config:?}") };
    let Source::ExportJob { columns, select, job_timeout } = &plain.source else { panic!("{plain:?}") };
    assert_eq!((columns.len(), job_timeout.as_secs()), (0, 900));
    assert_eq!((select.len(), &*select[0], &*select[17]), (18, "Attribute", "SharerLastName"));
    let Source::ExportJob { columns, select, job_timeout } = &own.source else { panic!("{own:?}") };
    assert_eq!(columns, &[(Property::SharerOs, "SharerOs".to_owned())]);
    assert_eq!(
        (select.join(" ").as_str(), job_timeout.as_secs()),
        ("SessionId Sessionstart Sessionend SharerOs", 3600)
    );
}

#[test]
fn each_cloud_has_its_hosts() {
    for (cloud, login, graph) in [
        ("global", "login.microsoftonline.com", "graph.microsoft.com"),
        ("usgov", "login.microsoftonline.us", "graph.microsoft.us"),
        ("usgov_dod", "login.microsoftonline.us", "dod-graph.microsoft.us"),
        ("china", "login.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn"),
    ] {
        let yaml = format!("tenants: [{{name: contoso, cloud: {cloud}, credential: {{kind: none}}}}]");
        let config = Config::from_yaml(&yaml, Path::new("test.yaml")).unwrap();
        assert_eq!(config.tenants[0].authority_url.host_str(), Some(login));
        assert_eq!(config.tenants[0].graph_url.host_str(), Some(graph));
    }
}

#[test]
fn loopback_may_be_plain_http() {
    for host in ["127.0.0.1:1", "127.9.9.9", "[::1]:8080", "localhost"] {
        let yaml = format!("tenants: [{{name: contoso, graph_url: 'http://{host}', credential: {{kind: none}}}}]");
        assert!(Config::from_yaml(&yaml, Path::new("test.yaml")).is_ok(), "{host}");
    }
    for host in ["localhost.example", "127.0.0.1.example", "0.0.0.0", "[::2]"] {
        let yaml = format!("tenants: [{{name: contoso, graph_url: 'http://{host}', credential: {{kind: none}}}}]");
        assert!(refusal(&yaml).contains("use https"), "{host}");
    }
}

/// Credentials with a secret wherever a mistake may put it: as a key, as another value, in broken YAML.
const MISTAKEN_CREDENTIALS: &[&str] = &[
    "HUNTER",
    "{HUNTER}",
    "{kind: HUNTER}",
    "{kind: client_secret, HUNTER}",
    "{kind: client_secret, HUNTER: client_secret}",
    "{kind: client_secret, client_id: app, client_secret: {HUNTER: 1}}",
    "{kind: client_secret, client_id: app, client_secret: [HUNTER]}",
    "{kind: client_secret, client_id: app, client_secret: HUNTER, client_secret: HUNTER}",
    "{kind: client_secret, client_id: app, client_secret: HUNTER, HUNTER: 1, HUNTER: 2}",
    "{kind: client_secret, client_id: app, client_secret: \"HUNTER}",
    "{kind: client_secret, client_id: app, client_secret: 'a'HUNTER}",
    "{kind: client_secret, client_id: app, client_secret: \"\\HUNTER\"}",
    "{kind: client_secret, client_id: app, client_secret: @HUNTER}",
    "{kind: client_secret, client_id: app, client_secret: %HUNTER}",
    "{kind: client_secret, client_id: app, client_secret: *HUNTER}",
    "{kind: client_secret, client_id: app, client_secret: !HUNTER x}",
    "{kind: client_secret, client_id: app, client_secret: !!int HUNTER}",
    "{kind: client_secret, client_id: app, client_secret: !!binary HUNTER}",
    "{kind: client_secret, client_id: app, client_secret: HUNTER, token_file: x}",
    "{kind: client_secret, client_id: app, client_secret: HUNTER, client_secret_file: x}",
    "{kind: client_secret, client_id: app x, client_secret: HUNTER}",
    "{kind: client_secret, client_id: app, client_secret_file: HUNTER}",
    "{kind: client_secret, client_id: HUNTER x, client_secret: x}",
    "{kind: bearer_token_file, token_file: HUNTER}",
    "{kind: client_certificate, client_id: app, certificate_file: HUNTER}",
    "\n      kind: client_secret\n      HUNTER\n",
    "\n      kind: client_secret\n      HUNTER: 1\n      HUNTER: 2\n",
    "\n      kind: client_secret\n\t  client_secret: HUNTER\n",
    "\n      kind: client_secret\n      client_secret: |\n     HUNTER\n",
    "\n      kind: client_secret\n      client_secret: HUNTER: x\n",
    "\n      kind: client_secret\n      client_secret: >\n        HUNTER\n      x\n",
];

/// The same for the other keys of a tenant.
const MISTAKEN_KEYS: &[&str] = &[
    "HUNTER: 1",
    "HUNTER",
    "cloud: HUNTER",
    "graph_url: HUNTER",
    "graph_url: https://HUNTER@graph.example",
    "graph_url: https://graph.example/?HUNTER",
    "authority_url: http://HUNTER.example",
    "ca_file: HUNTER",
    "poll_interval: HUNTER",
    "proxy_url: HUNTER",
    "proxy_url: socks5://HUNTER@proxy.example",
    "proxy_url: http://HUNTER@proxy.example/x",
    "no_proxy: HUNTER/",
    "proxy_url: http://a.example\n    no_proxy: HUNTER/",
    "proxy_from_environment: HUNTER",
    "proxy_url: http://HUNTER@a.example\n    proxy_from_environment: true",
    "requests_per_minute: HUNTER",
    "lookback: HUNTER",
    "first_run: HUNTER",
    "tenant_id: HUNTER/",
    "source: HUNTER",
    "source: {kind: HUNTER}",
    "source: {kind: collection, path: HUNTER}",
    "source: {kind: sessions_report, page_size: HUNTER}",
    "source: {kind: sessions_report, columns: {HUNTER: x}}",
];

#[test]
fn no_error_shows_a_misplaced_secret() {
    let odd = "hunter~8Q.x-Y";
    let shown = |tenant: &str| {
        let error = refusal(&format!("tenants:\n  - name: contoso\n    {tenant}\n"));
        assert!(!error.contains("hunter"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    };
    for block in MISTAKEN_CREDENTIALS {
        // Among credentials, not even a word that could be a key is shown.
        for secret in ["hunter", odd] {
            shown(&format!("credential: {}", block.replace("HUNTER", secret)));
        }
    }
    for line in MISTAKEN_KEYS {
        shown(&format!("credential: {{kind: none}}\n    {}", line.replace("HUNTER", odd)));
    }
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", good("provider.yaml"));
    assert!(!shown.contains("s3cr3t") && shown.contains("<secret>"), "{shown}");
}

#[test]
fn the_hash_tells_configurations_apart_and_has_no_more_bits_than_a_float() {
    let yaml = "tenants: [{name: contoso, credential: {kind: none}, poll_interval: 60s}]";
    let hash = |yaml: &str| Config::from_yaml(yaml, Path::new("test.yaml")).unwrap().hash;
    assert_eq!(hash(yaml), hash(&yaml.replace("60s", "1m, lookback: 30d")));
    assert_ne!(hash(yaml), hash(&yaml.replace("60s", "61s")));
    assert_eq!(hash(yaml) as f64 as u64, hash(yaml));
}

#[test]
fn sizes_are_bounded() {
    let tenants = |count: usize| {
        let items = (0..count).map(|n| format!("  - {{name: t{n}}}\n")).collect::<String>();
        Config::from_yaml(&format!("global: {{credential: {{kind: none}}}}\ntenants:\n{items}"), Path::new("test.yaml"))
    };
    assert_eq!(tenants(1000).unwrap().tenants.len(), 1000);
    let error = tenants(1001).unwrap_err().to_string();
    assert_eq!(error, "test.yaml:3: tenants: 1001 tenants; one exporter takes 1000, run several");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, "#".repeat(4 * 1024 * 1024 + 1)).unwrap();
    let error = Config::load(&file).unwrap_err().to_string();
    assert_eq!(error, format!("{}: larger than 4 MiB; check --config.file", file.display()));

    std::fs::write(folder.path().join("secret"), "x".repeat(64 * 1024 + 1)).unwrap();
    std::fs::write(&file, "tenants: [{name: a, credential: {kind: bearer_token_file, token_file: secret}}]").unwrap();
    let error = Config::load(&file).unwrap_err().to_string();
    assert!(error.ends_with("the file is larger than 64 KiB; it is likely the wrong one"), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("no/such.yaml")).unwrap_err().to_string();
    assert_eq!(
        error,
        "no/such.yaml: cannot be read (No such file or directory (os error 2)); check --config.file and the permissions"
    );
    let file = Path::new(FIXTURES).join("not-text.bin");
    let error = Config::load(&file).unwrap_err().to_string();
    assert_eq!(error, format!("{}: not UTF-8 text; save it as UTF-8", file.display()));
}

fn environment(variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    Config::from_environment(|name| variables.get(name).map(|value| (*value).to_owned())).map_err(|e| e.to_string())
}

const BASE: [(&str, &str); 3] =
    [("AZURE_TENANT_ID", "contoso.example"), ("AZURE_CLIENT_ID", "app"), ("AZURE_CLIENT_SECRET", "s3cr3t")];

#[test]
fn the_environment_gives_one_tenant() {
    let config = environment(&BASE).unwrap();
    let [tenant] = &config.tenants[..] else { panic!("{config:?}") };
    assert_eq!((&*tenant.name, tenant.tenant_id.as_deref()), ("contoso.example", Some("contoso.example")));
    assert_eq!(tenant.graph_url.as_str(), "https://graph.microsoft.com/");
    assert!(matches!(&tenant.credential, Credential::ClientSecret { client_id, secret: Secret::Inline(secret) }
        if client_id == "app" && &**secret == "s3cr3t"));
    assert_eq!(tenant.source.kind(), "sessions_report");
}

#[test]
fn the_authority_host_selects_the_cloud() {
    for (host, authority, graph) in [
        ("https://login.microsoftonline.us/", "https://login.microsoftonline.us/", "https://graph.microsoft.us/"),
        ("login.chinacloudapi.cn", "https://login.chinacloudapi.cn/", "https://microsoftgraph.chinacloudapi.cn/"),
        ("https://login.example", "https://login.example/", "https://graph.microsoft.com/"),
    ] {
        let config = environment(&[&BASE[..], &[("AZURE_AUTHORITY_HOST", host)]].concat()).unwrap();
        assert_eq!(config.tenants[0].authority_url.as_str(), authority);
        assert_eq!(config.tenants[0].graph_url.as_str(), graph);
    }
    let error = environment(&[&BASE[..], &[("AZURE_AUTHORITY_HOST", "http://login.example")]].concat()).unwrap_err();
    assert_eq!(error, "environment: AZURE_AUTHORITY_HOST: secrets are sent there; use https");
}

#[test]
fn a_missing_variable_is_named() {
    for (index, (name, _)) in BASE.iter().enumerate() {
        let remedy = "not set; set it, or name a configuration with --config.file, or try the command demo";
        let remedy = match *name {
            "AZURE_CLIENT_SECRET" => {
                "not set; set it, or AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE, or name a \
                 configuration with --config.file, or try the command demo"
            }
            _ => remedy,
        };
        let mut without = BASE;
        without[index].1 = " ";
        assert_eq!(environment(&without).unwrap_err(), format!("environment: {name}: {remedy}"));
    }
}

#[test]
fn a_secret_comes_before_a_certificate_and_that_before_a_federated_token() {
    let certificate = format!("{FIXTURES}/good/ca.pem");
    let token = format!("{FIXTURES}/good/secret.txt");
    let (secret, certificate, password, token) = (
        BASE[2],
        ("AZURE_CLIENT_CERTIFICATE_PATH", &*certificate),
        ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "s3cr3t"),
        ("AZURE_FEDERATED_TOKEN_FILE", &*token),
    );
    for (variables, kind) in [
        (vec![secret, certificate, password, token], "client_secret"),
        (vec![certificate, password, token], "client_certificate"),
        (vec![certificate], "client_certificate"),
        (vec![password, token], "workload_identity"),
    ] {
        let config = environment(&[&BASE[..2], &variables].concat()).unwrap();
        let credential = &config.tenants[0].credential;
        assert_eq!((credential.kind(), credential.client_id()), (kind, Some("app")));
        assert!(!format!("{credential:?}").contains("s3cr3t"));
        if let Credential::ClientCertificate { password: given, .. } = credential {
            assert_eq!(given.is_some(), variables.contains(&password));
        }
    }
    let error = environment(&[BASE[0], BASE[1], ("AZURE_FEDERATED_TOKEN_FILE", "/no/such")]).unwrap_err();
    assert!(error.starts_with("environment: AZURE_FEDERATED_TOKEN_FILE: the file cannot be read (No such"), "{error}");
}

#[test]
fn workload_identity_takes_what_is_left_out_from_the_variables() {
    let read = |yaml: &str, variables: &[(&str, &str)]| {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        let lookup = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        Config::from_yaml_in(yaml, &Path::new(FIXTURES).join("good/x.yaml"), &lookup).map_err(|error| error.to_string())
    };
    let token_file = std::fs::canonicalize(Path::new(FIXTURES).join("good/secret.txt")).unwrap();
    let set = [
        ("AZURE_TENANT_ID", "set.example"),
        ("AZURE_CLIENT_ID", "set-app"),
        ("AZURE_FEDERATED_TOKEN_FILE", token_file.to_str().unwrap()),
    ];
    let least = "tenants: [{name: a, credential: {kind: workload_identity}}]";
    let tenant = |config: Config| (config.tenants[0].tenant_id.clone(), config.tenants[0].credential.clone());
    let (tenant_id, credential) = tenant(read(least, &set).unwrap());
    assert_eq!((tenant_id.as_deref(), credential.client_id()), (Some("set.example"), Some("set-app")));
    assert!(matches!(credential, Credential::WorkloadIdentity { token_file: file, .. } if file == token_file));

    let whole = "tenants: [{name: a, tenant_id: own.example, credential: {kind: workload_identity, client_id: own, \
                 token_file: secret.txt}}]";
    let (tenant_id, credential) = tenant(read(whole, &set).unwrap());
    assert_eq!((tenant_id.as_deref(), credential.client_id()), (Some("own.example"), Some("own")));

    for (missing, told) in [
        ("AZURE_TENANT_ID", "tenants[0].tenant_id: missing; the credential's kind workload_identity needs it, add it"),
        ("AZURE_CLIENT_ID", "tenants[0].credential.client_id: missing; add it, or set the variable AZURE_CLIENT_ID"),
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            "tenants[0].credential.token_file: missing; add it, or set the variable AZURE_FEDERATED_TOKEN_FILE",
        ),
    ] {
        let others: Vec<_> = set.iter().copied().filter(|(name, _)| *name != missing).collect();
        let error = read(least, &others).unwrap_err();
        assert!(error.ends_with(told), "{error}");
    }
}
