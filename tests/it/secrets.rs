//! No page shows a secret: every key of the configuration, and every variable, with a secret in each
//! place that could hold one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use remote_assistance_exporter::config::Config;
use remote_assistance_exporter::simulator::TenantOptions;

use super::support::{Exporter, Lab, get, wait_for};
use crate::docs::known_keys;

/// What every secret here begins with, in whatever case.
const CANARY: &str = "hunter";

/// Keys that hold a secret by value or name a file that holds one, with the value that they get below.
const SECRET_KEYS: &[(&str, &str)] = &[
    ("credential.client_secret", "Hunter-by-value"),
    ("credential.client_secret_file", "secret"),
    ("credential.certificate_file", "pair.pem"),
    ("credential.certificate_password_file", "secret"),
    ("credential.token_file", "secret"),
    ("tenants[].ca_file", "ca.pem"),
    ("tenants[].proxy_url", "http://Hunter-user:Hunter-password@127.0.0.1:9"),
];

/// Keys whose value is no secret, whatever it is: they take any text, and are shown.
const SHOWN_KEYS: &[&str] =
    &["tenants[].name", "tenants[].tenant_id", "tenants[].no_proxy", "credential.client_id", "source.directory"];

/// Everything that the program shows to whoever asks.
fn pages(exporter: &mut Exporter) -> Vec<(&'static str, String)> {
    let address = exporter.address();
    let page = |path| (path, get(address, path).unwrap().text());
    ["/", "/config", "/status", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/nowhere"].map(page).into()
}

#[track_caller]
fn shows_no_canary(exporter: &mut Exporter, what: &str) {
    for (path, text) in pages(exporter) {
        assert!(!text.to_lowercase().contains(CANARY), "{what}: {path}: {text}");
    }
    let log = exporter.log().join("\n");
    assert!(!log.to_lowercase().contains(CANARY), "{what}: the log: {log}");
}

/// Waits until every tenant's first poll has failed: errors are on the pages then.
#[track_caller]
fn wait_for_failures(exporter: &mut Exporter, tenants: usize) {
    wait_for("every tenant's failure", || {
        let status = exporter.status();
        let failed = status["tenants"].as_array().unwrap().iter().filter(|row| row["condition"] == "failing").count();
        (failed == tenants).then_some(())
    });
}

fn lab() -> Lab {
    let lab = Lab::new(vec![TenantOptions::manual("contoso")], |_| {});
    let write = |name: &str, text: &str| fs::write(lab.directory.path().join(name), text).unwrap();
    write("secret", "Hunter-in-a-file\n");
    write("pair.pem", "-----BEGIN PRIVATE KEY-----\nHunterAAAA\n-----END PRIVATE KEY-----\n");
    let ca = lab.simulator.ca_pem();
    write("ca.pem", &format!("Hunter stands before it\n{ca}"));
    lab
}

/// A configuration with every secret in its place; each tenant is refused in its own way.
fn configuration(lab: &Lab) -> String {
    let url = lab.simulator.url();
    let id = "tenant_id: 66666666-7777-8888-9999-000000000000";
    let credentials = [
        "{kind: client_secret, client_id: app, client_secret: Hunter-by-value}",
        "{kind: client_secret, client_id: app, client_secret_file: secret}",
        "{kind: client_certificate, client_id: app, certificate_file: pair.pem, certificate_password_file: secret}",
        "{kind: workload_identity, client_id: app, token_file: secret}",
        "{kind: bearer_token_file, token_file: secret}",
        "{kind: none}, proxy_url: 'http://Hunter-user:Hunter-password@127.0.0.1:9', graph_url: 'https://graph.example'",
    ];
    let tenants = credentials.iter().enumerate().map(|(number, credential)| {
        let url = if credential.contains("graph_url") { String::new() } else { format!(", graph_url: '{url}'") };
        format!("  - {{name: tenant-{number}, {id}, ca_file: ca.pem{url}, authority_url: '{url_of}', credential: {credential}}}\n", url_of = lab.simulator.url())
    });
    format!("global: {{poll_interval: 1h}}\nlog: {{level: trace}}\ntenants:\n{}", tenants.collect::<String>())
}

fn start(lab: &Lab) -> Exporter {
    let path = lab.directory.path().join("exporter.yaml");
    fs::write(&path, configuration(lab)).unwrap();
    Exporter::start(lab.arguments(&path).into_iter().chain(["--web.enable-lifecycle".to_owned()]))
}

#[test]
fn secrets_in_their_places_are_on_no_page() {
    let lab = lab();
    let yaml = configuration(&lab);
    for (key, value) in SECRET_KEYS {
        let key = key.rsplit('.').next().unwrap();
        assert!(yaml.contains(&format!("{key}: {value}")) || yaml.contains(&format!("{key}: '{value}'")), "{key}");
    }
    let mut exporter = start(&lab);
    wait_for_failures(&mut exporter, 6);
    shows_no_canary(&mut exporter, "in place");

    // What is shown in their place, and that everything else is there.
    let shown = get(exporter.address(), "/config").unwrap().text();
    for line in [
        "    client_secret: <secret>",
        "  proxy_url: http://<secret>@127.0.0.1:9",
        "    kind: workload_identity",
        "log:\n  level: trace",
    ] {
        assert!(shown.contains(&format!("{line}\n")), "{line} in {shown}");
    }
    for file in ["secret", "pair.pem", "ca.pem"] {
        let path = lab.directory.path().join(file).display().to_string();
        assert!(shown.contains(&path), "{path} in {shown}");
    }
    let read = |yaml: &str| Config::from_yaml(yaml, &lab.directory.path().join("exporter.yaml")).unwrap();
    let (mut again, before) = (read(&shown), read(&yaml));
    assert_eq!(again.tenants.len(), before.tenants.len());
    // But for the two secrets by value it is the same.
    for index in [0, 5] {
        again.tenants[index] = before.tenants[index].clone();
    }
    assert_eq!(again.tenants, before.tenants);
    exporter.stop();
}

/// A configuration in which this key has the canary for its value, and all else is well.
fn misplaced(lab: &Lab, key: &str) -> String {
    let (block, name) = key.rsplit_once('.').unwrap_or(("", key));
    let pair = format!("{name}: Hunter-misplaced");
    let url = lab.simulator.url();
    let well = [
        ("name", "contoso".to_owned()),
        ("tenant_id", "a.example".to_owned()),
        ("graph_url", format!("'{url}'")),
        ("authority_url", format!("'{url}'")),
        ("credential", "{kind: none}".to_owned()),
    ];
    // The tenant with these keys of its own, in place of those that are well.
    let tenant = |name: &str, own: &str| {
        let others = well.iter().filter(|(other, _)| *other != name);
        let others: String = others.map(|(other, value)| format!("{other}: {value}, ")).collect();
        format!("tenants:\n  - {{{others}{own}}}\n")
    };
    let needed = match name {
        "client_id" => "kind: client_secret, client_secret: x, ",
        "client_secret" | "client_secret_file" => "kind: client_secret, client_id: x, ",
        "certificate_file" => "kind: client_certificate, client_id: x, ",
        "certificate_password_file" => "kind: client_certificate, client_id: x, certificate_file: pair.pem, ",
        "token_file" => "kind: bearer_token_file, ",
        "page_size" | "path" | "columns" => "kind: sessions_report, ",
        "select" | "job_timeout" => "kind: export_job, ",
        "directory" => "kind: files, ",
        _ => "",
    };
    match block {
        "" if name == "tenants" => format!("{pair}\n"),
        "" => format!("{pair}\n{}", tenant("", "")),
        "tenants[]" => tenant(name, &pair),
        "credential" | "source" => tenant(block, &format!("{block}: {{{needed}{pair}}}")),
        block => format!("{block}: {{{pair}}}\n{}", tenant("", "")),
    }
}

/// Where no key takes it, the refusal is on the pages and does not quote it; where one does, the page of the
/// configuration does not show it.
#[test]
fn a_secret_as_the_value_of_any_key_is_on_no_page() {
    let lab = lab();
    let mut exporter = start(&lab);
    exporter.wait_for_log(&["msg=Listening"]);
    let path = lab.directory.path().join("exporter.yaml");
    let [mut taken, mut refused] = [BTreeSet::new(), BTreeSet::new()];
    let keys = known_keys();
    for key in keys.iter().filter(|key| !SHOWN_KEYS.contains(&key.as_str())) {
        let yaml = misplaced(&lab, key);
        assert!(yaml.contains("Hunter-misplaced"), "{key}: {yaml}");
        fs::write(&path, &yaml).unwrap();
        match exporter.reload().status {
            200 => _ = taken.insert(key.as_str()),
            500 => {
                refused.insert(key.as_str());
                let told = &exporter.status()["configuration"]["refused"]["message"];
                let name = key.rsplit('.').next().unwrap();
                assert!(told.as_str().unwrap().contains(name), "refused for something else: {told}: {yaml}");
                assert!(get(exporter.address(), "/").unwrap().text().contains("could not be reloaded"), "{key}");
            }
            status => panic!("{key}: {status}"),
        }
        shows_no_canary(&mut exporter, key);
    }
    // What takes any text is a secret, or stands in one of the two lists with its reason.
    assert_eq!(taken, ["credential.client_secret"].into());
    assert!(refused.len() > 25, "{refused:?}");
    for key in SECRET_KEYS.iter().map(|(key, _)| *key).chain(SHOWN_KEYS.iter().copied()) {
        assert!(keys.contains(key), "there is no key {key}");
    }
    exporter.stop();
}

/// Without a file: a secret, a certificate's password, a proxy's user.
#[test]
fn secrets_in_variables_are_on_no_page() {
    let lab = lab();
    for (variable, value) in [("AZURE_CLIENT_SECRET", "Hunter-1"), ("AZURE_CLIENT_CERTIFICATE_PASSWORD", "Hunter-2")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
        command
            .env_clear()
            .envs([("AZURE_TENANT_ID", "contoso.example"), ("AZURE_CLIENT_ID", "app"), (variable, value)])
            .env("HTTPS_PROXY", "http://Hunter-3:Hunter-4@127.0.0.1:9")
            .args(["--web.listen-address=127.0.0.1:0", "--log.level=trace"])
            .arg(format!("--storage.path={}", lab.directory.path().join(variable).display()));
        if variable.ends_with("PASSWORD") {
            command.env("AZURE_CLIENT_CERTIFICATE_PATH", lab.directory.path().join("pair.pem"));
        }
        let mut exporter = Exporter::spawn(command);
        wait_for_failures(&mut exporter, 1);
        shows_no_canary(&mut exporter, variable);
        assert!(get(exporter.address(), "/config").unwrap().text().contains("<secret>"), "{variable}");
        exporter.stop();
    }
}

/// The test above would see one.
#[test]
#[should_panic(expected = "/config")]
fn a_canary_would_be_seen() {
    let lab = lab();
    let path = lab.directory.path().join("exporter.yaml");
    fs::write(&path, configuration(&lab).replace("name: tenant-0", "name: Hunter")).unwrap();
    let mut exporter = Exporter::start(lab.arguments(Path::new(&path)));
    exporter.wait_for_log(&["msg=Listening"]);
    shows_no_canary(&mut exporter, "a name");
}
