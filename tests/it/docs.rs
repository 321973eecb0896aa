//! What README and CHANGELOG say is what the program has.

pub mod markdown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use remote_assistance_exporter::cli::{Cli, DEFAULT_PORT, Stop};
use remote_assistance_exporter::config::Config;
use remote_assistance_exporter::ledger::totals::Window;
use remote_assistance_exporter::metrics::catalogue::{self, Kind};
use remote_assistance_exporter::session::{EnrollmentState, Label, Os, RejectReason, Role, SessionType};
use remote_assistance_exporter::simulator::TenantOptions;
use remote_assistance_exporter::source::Endpoint;
use remote_assistance_exporter::status::FailureReason;

use crate::support::{Exporter, Lab, get, wait_for};
use markdown::{README, blocks, code, section, table};

fn metrics() -> Vec<Vec<&'static str>> {
    table(section("Metrics"), "metric")
}

#[test]
fn the_metrics_are_the_catalogue() {
    let mut documented = Vec::new();
    for row in metrics() {
        let labels: Vec<_> = row[2].split(", ").filter(|label| !label.is_empty()).collect();
        documented.extend(code(row[0]).into_iter().map(|name| (name, row[1], labels.clone())));
    }
    let mut known: Vec<_> = catalogue::all()
        .map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            (metric.name.strip_prefix(catalogue::PREFIX).unwrap(), kind, metric.labels.to_vec())
        })
        .collect();
    documented.sort();
    known.sort();
    assert_eq!(documented, known);
}

#[test]
fn closed_labels_have_the_values_that_are_documented() {
    fn values<L: Label>() -> Vec<&'static str> {
        L::ALL.iter().map(|value| value.as_str()).collect()
    }
    for (metric, values) in [
        (catalogue::SESSIONS, values::<SessionType>()),
        (catalogue::PARTICIPANTS, [values::<Role>(), values::<EnrollmentState>()].concat()),
        (catalogue::PARTICIPANT_OS, values::<Os>()),
        (catalogue::ACTIVE_HELPERS, values::<Window>()),
        (catalogue::REPORTS_REJECTED, values::<RejectReason>()),
        (catalogue::POLL_FAILURES, values::<FailureReason>()),
        (catalogue::GRAPH_REQUESTS, [values::<Endpoint>(), vec!["error"]].concat()),
    ] {
        let name = metric.name.strip_prefix(catalogue::PREFIX).unwrap();
        let row = metrics().into_iter().find(|row| code(row[0]).contains(&name)).unwrap();
        assert_eq!(code(row[3]), values, "{name}");
    }
}

fn command_line() -> clap::Command {
    <Cli as CommandFactory>::command()
}

#[test]
fn the_commands_are_those_of_the_command_line() {
    let documented: Vec<_> = table(section("Commands"), "command").iter().map(|row| code(row[0])[0]).collect();
    let cli = command_line();
    assert_eq!(documented, cli.get_subcommands().map(clap::Command::get_name).collect::<Vec<_>>());
}

/// `--help` is where flags are documented; what the README names of them exists.
#[test]
fn every_flag_explains_itself_and_those_named_exist() {
    let mut cli = command_line();
    cli.build();
    let commands: Vec<_> = std::iter::once(&cli).chain(cli.get_subcommands()).collect();
    let mut flags = BTreeSet::new();
    for flag in commands.iter().flat_map(|command| command.get_arguments()) {
        assert!(flag.get_help().is_some(), "{flag}");
        flags.extend(flag.get_long());
        flags.extend(flag.get_visible_aliases().unwrap_or_default());
    }
    assert!(flags.len() > 10, "{flags:?}");
    let flag = |text: &'static str| text.split(|c: char| !c.is_ascii_lowercase() && !"-._".contains(c)).next().unwrap();
    // Cargo's, promtool's and Prometheus' own.
    const OF_OTHERS: [&str; 3] = ["release", "max-block-duration", "storage.tsdb.retention.time"];
    let of_others_or_lines =
        |name: &&str| OF_OTHERS.contains(name) || !name.starts_with(|c: char| c.is_ascii_lowercase());
    let named: BTreeSet<_> = README.split("--").skip(1).map(flag).filter(|name| !of_others_or_lines(name)).collect();
    assert_eq!(named.difference(&flags).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(named.contains("config.file"), "{named:?}");
}

#[test]
fn the_command_lines_are_understood() {
    let shell = blocks().remove("sh").unwrap();
    let lines: Vec<_> = shell.iter().flat_map(|block| block.lines()).collect();
    for command in ["cargo run --release -- demo", "tests/run"] {
        assert!(lines.contains(&command), "{command}");
    }
    let ours: Vec<_> = lines.iter().filter(|line| line.starts_with("remote-assistance-exporter ")).collect();
    assert!(!ours.is_empty());
    for line in ours {
        let read: Result<_, Stop> = Cli::read(line.split(' ').map(Into::into));
        assert!(read.is_ok(), "{line}: {read:?}");
    }
    assert!(README.contains(&format!("http://localhost:{DEFAULT_PORT}/")));
    assert!(README.contains(&format!("Rust ({} or later)", env!("CARGO_PKG_RUST_VERSION"))));
}

/// The pages are the paths under which requests are counted.
#[test]
fn the_paths_are_answered() {
    let lab = Lab::new(vec![TenantOptions::manual("contoso")], |_| {});
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", "")]);
    let arguments = lab.arguments(&configuration).into_iter().chain(["--web.enable-lifecycle".to_owned()]);
    let mut exporter = Exporter::start(arguments);
    let documented: BTreeSet<_> = table(section("Commands"), "path").iter().map(|row| code(row[0])[0]).collect();
    for path in &documented {
        let address = exporter.address();
        let status = |exporter: &mut Exporter| match *path {
            "/-/reload" => exporter.reload().status,
            path => get(address, path).unwrap().status,
        };
        wait_for(path, || Some(status(&mut exporter)).filter(|status| *status == 200));
    }
    let scrape = exporter.scrape();
    let label = |series: &String| {
        let labels = series.strip_prefix("exporter_http_request_duration_seconds_count{path=\"")?;
        Some(labels.split('"').next()?.to_owned())
    };
    let counted: BTreeSet<_> = scrape.samples.keys().filter_map(label).filter(|path| path != "other").collect();
    assert!(counted.iter().eq(&documented), "{counted:?}");
}

/// The keys of each block, as the configuration lists them to those who mistype one.
pub fn known_keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (block, yaml) in [
        ("", "bogus: 1"),
        ("log.", "log: {bogus: 1}"),
        ("metrics.", "metrics: {bogus: 1}"),
        ("tenants[].", "tenants: [{bogus: 1}]"),
        ("credential.", "tenants: [{credential: {bogus: 1}}]"),
        ("source.", "tenants: [{source: {bogus: 1}}]"),
    ] {
        let error = Config::from_yaml(yaml, Path::new("x.yaml")).unwrap_err().to_string();
        let known = error.split_once("known here: ").unwrap_or_else(|| panic!("{error}")).1;
        keys.extend(known.split(", ").map(|key| format!("{block}{key}")));
    }
    keys
}

/// The names that stand before and within braces: `kind` {`key`, `key`}.
fn kinds_and_keys(cell: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let mut pieces = (BTreeSet::new(), BTreeSet::new());
    for (number, piece) in cell.split(['{', '}']).enumerate() {
        if number % 2 == 0 { pieces.0.extend(code(piece)) } else { pieces.1.extend(code(piece)) }
    }
    pieces
}

#[test]
fn the_keys_are_those_of_the_configuration() {
    let mut documented: BTreeSet<_> =
        ["log", "metrics", "tenants", "credential.kind", "source.kind"].map(str::to_owned).into();
    for row in table(section("Configuration"), "key") {
        let mut block = "";
        for key in code(row[0]) {
            block = key.rfind('.').map_or(block, |dot| &key[..=dot]);
            let name = key.rsplit('.').next().unwrap();
            documented.insert(format!("{block}{name}"));
        }
        if let Some(block @ ("credential" | "source")) = code(row[0])[0].strip_prefix("tenants[].") {
            let (kinds, keys) = kinds_and_keys(row[2]);
            documented.extend(keys.iter().map(|key| format!("{block}.{key}")));
            let yaml = format!("tenants: [{{name: a, {block}: {{kind: bogus}}}}]");
            let error = Config::from_yaml(&yaml, Path::new("x.yaml")).unwrap_err().to_string();
            let known = error.split_once("choose one of ").unwrap_or_else(|| panic!("{error}")).1;
            assert_eq!(kinds, known.split(", ").collect(), "{block}");
        }
    }
    assert_eq!(documented, known_keys());
}

#[test]
fn the_defaults_are_what_they_are_said_to_be() {
    const TENANT: &str = "name: a, credential: {kind: none}";
    let hash = |metrics: &str, tenant: &str| {
        let yaml = format!("metrics: {{{metrics}}}\ntenants: [{{{TENANT}{tenant}}}]");
        Config::from_yaml(&yaml, Path::new("x.yaml")).unwrap_or_else(|error| panic!("{yaml}: {error}")).hash
    };
    let mut checked = 0;
    for row in table(section("Configuration"), "key") {
        let [default] = code(row[1])[..] else { continue };
        if row[1] != format!("`{default}`") {
            continue;
        }
        let key = code(row[0])[0];
        let (metrics, tenant) = match key.split_once('.').unwrap() {
            ("metrics", name) => (format!("{name}: {default}"), String::new()),
            (_, "source") => (String::new(), format!(", source: {{kind: {default}}}")),
            (_, name) => (String::new(), format!(", {name}: {default}")),
        };
        assert_eq!(hash(&metrics, &tenant), hash("", ""), "{key}: {default}");
        checked += 1;
    }
    assert_eq!(checked, 10);
}

#[test]
fn the_examples_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut blocks = blocks();
    let [exporter, prometheus, ..] = &blocks.remove("yaml").unwrap()[..] else { panic!("{blocks:?}") };

    std::fs::write(path("secret"), "s3cr3t").unwrap();
    let yaml = exporter.replace("/run/secrets/contoso", "secret");
    assert_ne!(&yaml, exporter);
    let config = Config::from_yaml(&yaml, &path("exporter.yaml")).unwrap();
    assert_eq!(&*config.tenants[0].name, "contoso");
    let columns = code(section("Configuration")).into_iter().find(|code| code.starts_with("columns: ")).unwrap();
    let yaml = yaml.replace("credential:", &format!("source: {{kind: sessions_report, {columns}}}\n    credential:"));
    Config::from_yaml(&yaml, &path("exporter.yaml")).unwrap();

    let promtool = |kind: &str, name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        let output = Command::new("promtool").args(["check", kind]).arg(path(name)).output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    };
    promtool("config", "prometheus.yml", prometheus);
    assert!(prometheus.contains(&format!("localhost:{DEFAULT_PORT}")));
    let mut rules = BTreeMap::new();
    for query in blocks.remove("promql").unwrap() {
        let names = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: Vec<_> = names.filter(|name| name.starts_with(catalogue::PREFIX)).collect();
        assert!(!names.is_empty() && names.iter().all(|name| catalogue::all().any(|metric| metric.name == *name)));
        rules.insert("groups", serde_json::json!([{"name": "readme", "rules": [{"record": "x", "expr": query}]}]));
        promtool("rules", "rules.yml", &serde_json::to_string(&rules).unwrap());
    }
}

#[test]
fn the_changelog_begins_with_what_is_unreleased() {
    let changelog = include_str!("../../CHANGELOG.md");
    let first = changelog.split("\n## ").nth(1).unwrap();
    assert!(first.starts_with("Unreleased\n") && first.contains("\n- "), "{first}");
}
