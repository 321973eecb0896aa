//! README and CHANGELOG say what the code does: metrics, commands, keys, label values, examples.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use remote_assistance_exporter::config::Config;
use remote_assistance_exporter::ledger::totals::Window;
use remote_assistance_exporter::metrics::catalogue::{self, Kind};
use remote_assistance_exporter::session::{Label, RejectReason, Role, SessionType};
use remote_assistance_exporter::status::FailureReason;

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The rows of README's table below this head, as trimmed cells.
fn table(head: &str) -> Vec<Vec<String>> {
    let readme = file("README.md");
    let rows = readme.lines().skip_while(|line| *line != head).skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "README has no table {head:?}");
    rows
}

/// What a cell has between back-ticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn metric_table() -> Vec<Vec<String>> {
    table("| metric | type | labels | meaning |")
}

#[test]
fn the_metric_table_is_the_catalogue() {
    let mut written = BTreeMap::new();
    for row in metric_table() {
        for name in quoted(&row[0]) {
            let labels: Vec<_> = row[2].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
            assert!(written.insert(name.clone(), (row[1].clone(), labels)).is_none(), "{name} stands there twice");
        }
    }
    let kind = |kind| match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let known: BTreeMap<_, _> = catalogue::all()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            let name = metric.name.strip_prefix(catalogue::PREFIX).unwrap();
            (name.to_owned(), (kind(metric.kind).to_owned(), labels))
        })
        .collect();
    assert_eq!(written, known);
}

#[test]
fn label_values_are_the_codes_own() {
    fn check<L: Label>(metric: &str) {
        let rows = metric_table();
        let row = rows.iter().find(|row| quoted(&row[0]).iter().any(|name| name == metric)).unwrap();
        let written: BTreeSet<_> = quoted(&row[3]).into_iter().collect();
        let known: BTreeSet<_> = L::ALL.iter().map(|value| value.as_str().to_owned()).collect();
        assert_eq!(written, known, "{metric}");
    }
    check::<SessionType>("sessions_total");
    check::<FailureReason>("poll_failures_total");
    check::<RejectReason>("reports_rejected_total");
    check::<Window>("active_helpers");
    let participants = metric_table().into_iter().find(|row| row[0] == "`participants_total`").unwrap();
    for role in Role::ALL {
        assert!(participants[3].contains(&format!("`{}`", role.as_str())), "{role:?}");
    }
}

#[test]
fn the_command_table_is_the_command_line() {
    let written: BTreeSet<_> =
        table("| command | what it does |").iter().map(|row| quoted(&row[0]).remove(0)).collect();
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter")).arg("--help").output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A command's text may go on in the next line, further in.
    let names = commands.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    assert_eq!(written, names.map(str::to_owned).collect());
    let readme = file("README.md");
    for command in ["cargo run --release -- demo", "tests/run"] {
        assert!(readme.lines().any(|line| line == command), "README does not show {command}");
    }
}

/// The keys that a block takes, as the error of an unknown one lists them.
fn known_keys(yaml: &str) -> BTreeSet<String> {
    let error = Config::from_yaml(yaml, Path::new("docs.yaml")).unwrap_err().to_string();
    let known = error.split("unknown key; known here: ").nth(1).unwrap_or_else(|| panic!("{error}"));
    known.split(", ").map(str::to_owned).collect()
}

#[test]
fn documented_keys_exist_and_no_key_of_a_tenant_is_left_out() {
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in table("| key | default | meaning |") {
        let keys = quoted(&row[0]);
        // `tenants[].graph_url`, `authority_url`: the block is named once a row.
        let block = keys[0].rsplit_once('.').map_or("", |(block, _)| block);
        let names = keys.iter().map(|key| key.rsplit('.').next().unwrap().to_owned());
        written.entry(block.to_owned()).or_default().extend(names);
    }
    assert_eq!(written.keys().collect::<Vec<_>>(), ["", "metrics", "tenants[]"]);
    assert_eq!(written["tenants[]"], known_keys("tenants:\n  - {colour: red}\n"));
    for (block, yaml) in [("", "colour: red\n"), ("metrics", "metrics: {colour: red}\n")] {
        let known = known_keys(yaml);
        assert!(written[block].is_subset(&known), "{:?} of {known:?}", written[block]);
    }
}

#[test]
fn the_yaml_examples_load() {
    let readme = file("README.md");
    let mut configurations = 0;
    for block in readme.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        if !block.contains("tenants:") {
            assert!(block.contains("scrape_configs:"), "{block}");
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "s3cret").unwrap();
        let yaml: String =
            block.lines().map(|line| format!("{}\n", line.strip_prefix("   ").unwrap_or(line))).collect();
        let yaml = yaml.replace("/run/secrets/contoso", secret.to_str().unwrap());
        Config::from_yaml(&yaml, &directory.path().join("exporter.yaml")).unwrap();
        configurations += 1;
    }
    assert!(configurations > 0, "README shows no configuration");
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    assert!(file("CHANGELOG.md").lines().any(|line| line == "## Unreleased"));
}
