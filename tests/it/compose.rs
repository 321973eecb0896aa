//! The compose file: it follows the specification, what it mounts is there, and Prometheus and Grafana find
//! what they look for. Their images cannot be had everywhere, so they do not run here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const DIRECTORY: &str = "deploy/compose";
const README: &str = include_str!("../../deploy/compose/README.md");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a tool of `target/python` prints; it must succeed.
#[track_caller]
fn python_tool(name: &str, arguments: &[&str]) -> String {
    let output = Command::new(root().join("target/python/bin").join(name)).args(arguments).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}; tests/run installs it"));
    let said = String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The services with merges and defaults resolved, as podman-compose understands the files.
fn services(files: &[&str]) -> BTreeMap<String, Value> {
    let mut arguments: Vec<_> = files.iter().flat_map(|file| ["--file", file]).collect();
    arguments.push("config");
    let resolved: Value = serde_saphyr::from_str(&python_tool("podman-compose", &arguments)).unwrap();
    serde_json::from_value(resolved["services"].clone()).unwrap()
}

fn own() -> BTreeMap<String, Value> {
    services(&["deploy/compose/compose.yaml"])
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().map(|values| values.iter().map(|value| value.as_str().unwrap()).collect()).unwrap_or_default()
}

/// What a service mounts from the repository, by where it is seen in the container.
fn mounts(service: &Value) -> BTreeMap<String, PathBuf> {
    let mount = |volume: &str| {
        let (from, rest) = volume.split_once(':').unwrap();
        let path = root().join(DIRECTORY).join(from);
        // Others are named volumes.
        from.starts_with(['.', '/']).then(|| {
            let to = rest.strip_suffix(":ro").unwrap_or_else(|| panic!("{volume}: only to be read"));
            (to.to_owned(), path.canonicalize().unwrap_or_else(|error| panic!("{volume}: {error}")))
        })
    };
    strings(&service["volumes"]).into_iter().filter_map(mount).collect()
}

#[test]
fn it_follows_the_specification() {
    python_tool("check-jsonschema", &["--builtin-schema=vendor.compose-spec", "deploy/compose/compose.yaml"]);
}

#[test]
fn every_service_is_pinned_and_has_few_rights() {
    let services = own();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["grafana", "prometheus", "remote-assistance-exporter"]);
    for (name, service) in &services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service.get("privileged").is_none() && service.get("cap_add").is_none(), "{name}");
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is for everybody");
        }
        let image = service["image"].as_str().unwrap();
        match service.get("build") {
            // Its own image is made here, and brings its health check.
            Some(build) => {
                let context = root().join(DIRECTORY).join(build["context"].as_str().unwrap());
                assert_eq!(context.canonicalize().unwrap(), root().canonicalize().unwrap());
                assert!(context.join(build["dockerfile"].as_str().unwrap()).exists());
            }
            None => {
                let version = image.rsplit_once(':').unwrap().1.trim_start_matches('v');
                let numbers = version.split('.').filter(|number| number.parse::<u32>().is_ok()).count();
                assert_eq!(numbers, 3, "{name}: {image}");
                assert!(!strings(&service["healthcheck"]["test"]).is_empty(), "{name}");
            }
        }
    }
}

/// The configuration at its place among what it refers to, read by Prometheus' own tool.
#[test]
fn prometheus_finds_its_configuration_rules_and_target() {
    let services = own();
    let prometheus = &services["prometheus"];
    let container = tempfile::tempdir().unwrap();
    for (to, from) in mounts(prometheus) {
        let to = container.path().join(to.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(from, to).unwrap();
    }
    let flags = strings(&prometheus["command"]);
    let file = flags.iter().find_map(|flag| flag.strip_prefix("--config.file=/")).unwrap();
    let output = Command::new("promtool").args(["check", "config"]).arg(container.path().join(file)).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    let rules = fs::read_dir(root().join("deploy/prometheus/rules")).unwrap().count();
    assert_eq!(said.matches(" rules found").count(), rules, "{said}");
    let configuration = yaml("deploy/prometheus/prometheus.yml");
    let target = configuration["scrape_configs"][0]["static_configs"][0]["targets"][0].as_str().unwrap();
    let (host, port) = target.split_once(':').unwrap();
    let command = strings(&services[host]["command"]);
    assert!(command.contains(&format!("--web.listen-address=:{port}").as_str()), "{command:?}");
}

#[test]
fn grafana_finds_every_dashboard_and_prometheus() {
    let services = own();
    let grafana = &services["grafana"];
    let mounts = mounts(grafana);
    let provider = yaml("deploy/compose/grafana/provisioning/dashboards/remote-help.yaml");
    let known = |value: &Value, keys: &[&str]| {
        let own: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(own.is_subset(&keys.iter().copied().collect()), "{own:?}");
    };
    // The keys that Grafana documents; it takes others without a word.
    let provider_keys = ["name", "orgId", "type", "folder", "folderUid", "disableDeletion", "updateIntervalSeconds"];
    known(&provider, &["apiVersion", "providers"]);
    known(&provider["providers"][0], &[&provider_keys[..], &["allowUiUpdates", "options"]].concat());
    known(&provider["providers"][0]["options"], &["path", "foldersFromFilesStructure"]);
    let directory = provider["providers"][0]["options"]["path"].as_str().unwrap();
    let seen: BTreeSet<_> = mounts
        .iter()
        .filter(|(to, _)| to.starts_with(&format!("{directory}/")))
        .map(|(_, from)| from.clone())
        .collect();
    let all = fs::read_dir(root().join("grafana")).unwrap().map(|entry| entry.unwrap().path());
    let all: BTreeSet<_> = all.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    assert_eq!(seen, all.iter().map(|path| path.canonicalize().unwrap()).collect());
    let home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].as_str().unwrap();
    assert!(mounts.contains_key(home), "{home}");

    let source = yaml("deploy/compose/grafana/provisioning/datasources/prometheus.yaml");
    let source_keys = ["name", "uid", "type", "access", "url", "isDefault", "editable", "jsonData"];
    known(&source, &["apiVersion", "datasources"]);
    known(&source["datasources"][0], &source_keys);
    known(&source["datasources"][0]["jsonData"], &["httpMethod", "timeInterval"]);
    let url = url::Url::parse(source["datasources"][0]["url"].as_str().unwrap()).unwrap();
    let port = url.port().unwrap();
    let published = strings(&services[url.host_str().unwrap()]["ports"]);
    assert!(published.iter().any(|of_service| of_service.ends_with(&format!(":{port}"))), "{published:?}");
    let scraped = yaml("deploy/prometheus/prometheus.yml")["global"]["scrape_interval"].clone();
    assert_eq!(source["datasources"][0]["jsonData"]["timeInterval"], scraped);
    assert!(mounts.contains_key("/etc/grafana/provisioning"));
}

/// The README's way to real tenants.
#[test]
fn the_documented_override_serves_instead_of_showing() {
    let block = README.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tenants.yaml");
    fs::write(&file, block).unwrap();
    let file = file.display().to_string();
    python_tool("check-jsonschema", &["--builtin-schema=vendor.compose-spec", &file]);
    let services = services(&["deploy/compose/compose.yaml", &file]);
    let exporter = &services["remote-assistance-exporter"];
    let command = strings(&exporter["command"]);
    assert!(!command.contains(&"demo") && command.iter().any(|flag| flag.starts_with("--config.file=")), "{command:?}");
    assert_eq!((&exporter["read_only"], &exporter["cap_drop"]), (&Value::Bool(true), &serde_json::json!(["ALL"])));
}
