//! The rules of `deploy/prometheus/`: promtool accepts them and their tests pass; every alert is told of
//! whole, has a case that fires and one that does not, and has a runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const RUNBOOKS: &str = "docs/runbooks.md";
/// Labels in which replicas and shards may differ.
const OF_A_POD: &str = "instance, pod, node, statefulset_kubernetes_io_pod_name, apps_kubernetes_io_pod_index, \
                        controller_revision_hash, pod_template_hash, app_kubernetes_io_version, helm_sh_chart";
const PARTS: [&str; 5] = ["**Meaning.** ", "**Impact.** ", "**Look at.**", "**Do.** ", "**Silence.** "];

/// One rule: its group's name, and the rule as it is written.
pub struct Rule {
    pub group: String,
    pub rule: Value,
}

impl Rule {
    /// The text of a key; panics where there is none.
    #[track_caller]
    pub fn text(&self, pointer: &str) -> &str {
        self.rule.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {}", self.rule))
    }

    /// What it records or alerts.
    pub fn name(&self) -> &str {
        self.text(if self.is_alert() { "/alert" } else { "/record" })
    }

    pub fn is_alert(&self) -> bool {
        self.rule.get("alert").is_some()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("deploy/prometheus").join(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty() && files.iter().all(|file| file.extension().is_some_and(|end| end == "yml")));
    files
}

fn yaml(file: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap_or_else(|error| panic!("{file:?}: {error}"))
}

/// The files of rules.
pub fn files() -> Vec<PathBuf> {
    yaml_files("rules")
}

/// All rules.
pub fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for group in files().iter().flat_map(|file| yaml(file)["groups"].as_array().unwrap().clone()) {
        let name = group["name"].as_str().unwrap();
        let of_group = group["rules"].as_array().unwrap().iter();
        rules.extend(of_group.map(|rule| Rule { group: name.to_owned(), rule: rule.clone() }));
    }
    rules
}

fn alerts() -> Vec<Rule> {
    let alerts: Vec<_> = rules().into_iter().filter(Rule::is_alert).collect();
    assert!(alerts.len() > 15, "{}", alerts.len());
    alerts
}

#[track_caller]
fn promtool(arguments: &[&str], files: &[PathBuf]) {
    let output = Command::new("promtool").args(arguments).args(files).output();
    let output = output.unwrap_or_else(|error| panic!("promtool: {error}; tests/run installs it"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_the_rules_and_the_sample_configuration() {
    promtool(&["check", "rules"], &files());
    let sample = root().join("deploy/prometheus/prometheus.yml");
    promtool(&["check", "config"], std::slice::from_ref(&sample));
    assert_eq!(yaml(&sample)["rule_files"], serde_json::json!(["rules/*.yml"]));
}

#[test]
fn the_rules_do_what_their_tests_say() {
    for file in yaml_files("tests") {
        promtool(&["test", "rules"], &[file]);
    }
}

/// By alert and severity: whether a case has it firing, and whether a case has it not firing.
#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not_and_every_record_a_value() {
    let severities = |alert: &str| {
        let of_alert = alerts().into_iter().filter(|rule| rule.name() == alert);
        of_alert.map(|rule| rule.text("/labels/severity").to_owned()).collect::<BTreeSet<_>>()
    };
    let mut cases: BTreeMap<(String, String), BTreeSet<bool>> = BTreeMap::new();
    let mut valued = String::new();
    for test in yaml_files("tests").iter().flat_map(|file| yaml(file)["tests"].as_array().unwrap().clone()) {
        for case in test["alert_rule_test"].as_array().into_iter().flatten() {
            let alert = case["alertname"].as_str().unwrap();
            let firing = case["exp_alerts"].as_array().unwrap();
            for alert in firing {
                let annotations = alert["exp_annotations"].as_object().unwrap();
                assert_eq!(annotations.len(), 3, "{case}");
                assert!(!annotations.values().any(|text| text.as_str().unwrap().contains("{{")), "{case}");
            }
            for severity in severities(alert) {
                let fires = firing.iter().any(|alert| alert["exp_labels"]["severity"] == severity.as_str());
                cases.entry((alert.to_owned(), severity)).or_default().insert(fires);
            }
        }
        for case in test["promql_expr_test"].as_array().into_iter().flatten() {
            if case["exp_samples"].as_array().is_some_and(|samples| !samples.is_empty()) {
                valued += case["expr"].as_str().unwrap();
                valued.push(' ');
            }
        }
    }
    for alert in alerts() {
        let both = cases.get(&(alert.name().to_owned(), alert.text("/labels/severity").to_owned()));
        assert_eq!(both.map(BTreeSet::len), Some(2), "{} {}", alert.name(), alert.text("/labels/severity"));
    }
    let valued: BTreeSet<_> = valued.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').collect();
    for record in rules().iter().filter(|rule| !rule.is_alert()) {
        assert!(valued.contains(record.name()), "no value is tested of {}", record.name());
    }
}

#[test]
fn every_alert_is_told_of_whole() {
    for alert in alerts() {
        let name = alert.name();
        assert!(name.starts_with("RemoteAssistance"), "{name}");
        assert!(["critical", "warning", "info"].contains(&alert.text("/labels/severity")), "{name}");
        let security = alert.group.ends_with("-security");
        assert_eq!(alert.text("/labels/category"), if security { "security" } else { "operations" }, "{name}");
        assert!(!alert.text("/for").is_empty(), "{name}");
        for sentence in ["/annotations/summary", "/annotations/description"] {
            assert!(alert.text(sentence).ends_with('.'), "{name}: {sentence}");
        }
        assert!(!alert.text("/annotations/summary").contains("$value"), "{name}: a summary stays as it is");
        let runbook = format!("{RUNBOOKS}#{}", name.to_lowercase());
        assert_eq!(alert.text("/annotations/runbook_url"), runbook);
    }
}

/// Whoever is joined by labels that a deployment shares with another is taken for the other.
#[test]
fn replicas_are_joined_over_the_same_labels_everywhere_and_namespaces_never() {
    let mut joined = 0;
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let lists = ["without (", "ignoring ("].into_iter().flat_map(|opening| text.split(opening).skip(1));
        for list in lists.map(|rest| rest.split(')').next().unwrap()).filter(|list| list.contains("instance")) {
            let more = list.strip_prefix(OF_A_POD).unwrap_or_else(|| panic!("{file:?}: {list}"));
            assert!(more.is_empty() || more.starts_with(", "), "{file:?}: {list}");
            joined += 1;
        }
        for (at, _) in text.match_indices(" on (") {
            assert!(text[at..].starts_with(" on ()"), "{file:?}: {}", text[at..].lines().next().unwrap());
        }
        for (at, _) in text.match_indices("=%q") {
            let named = text[text[..at].rfind('{').unwrap()..].split('}').next().unwrap();
            assert!(named.contains("cluster=%q, namespace=%q, job=%q"), "{file:?}: {named}");
        }
    }
    assert!(joined > 30, "{joined}");
    let (recording, readme) = (root().join("deploy/prometheus/rules/recording.yml"), root().join("README.md"));
    for told in [recording, readme].map(|file| fs::read_to_string(file).unwrap()) {
        let told = told.split("groups:\n").next().unwrap();
        assert!(OF_A_POD.split(", ").all(|label| told.contains(label)));
    }
}

#[test]
fn records_are_named_level_metric_operation() {
    for record in rules().iter().filter(|rule| !rule.is_alert()) {
        let parts: Vec<_> = record.name().split(':').collect();
        assert_eq!(parts.len(), 3, "{}", record.name());
        assert!(parts[1].starts_with("remote_assistance_") && !parts[1].ends_with("_total"), "{}", record.name());
    }
}

/// Each alert has its section, in the order of the rules, and no section is of no alert.
#[test]
fn every_alert_has_its_runbook_and_the_reverse() {
    let text = fs::read_to_string(root().join(RUNBOOKS)).unwrap();
    let sections: Vec<_> = text.split("\n## ").skip(1).collect();
    let headings: BTreeSet<_> = sections.iter().map(|section| section.lines().next().unwrap().to_owned()).collect();
    assert_eq!(headings.len(), sections.len());
    assert_eq!(headings, alerts().iter().map(|alert| alert.name().to_owned()).collect());
    for section in sections {
        let mut at = 0;
        for part in PARTS {
            let found = section[at..].find(part).unwrap_or_else(|| panic!("no {part} in its place: {section}"));
            at += found + part.len();
        }
    }
    for anchor in text.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        assert!(headings.iter().any(|heading| heading.to_lowercase() == anchor), "{anchor}");
    }
}

/// What a runbook says to look for in the log is what the program writes.
#[test]
fn the_log_lines_of_the_runbooks_exist() {
    let text = fs::read_to_string(root().join(RUNBOOKS)).unwrap();
    let mut folders = vec![root().join("src")];
    let mut source = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { source += &fs::read_to_string(path).unwrap() }
        }
    }
    let quoted = text.split("msg=").skip(1).map(|rest| match rest.strip_prefix('"') {
        Some(rest) => rest.split('"').next().unwrap(),
        None => rest.split([' ', '`', ',']).next().unwrap(),
    });
    let lines: BTreeSet<_> = quoted.collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        assert!(source.contains(&format!("\"{line}\"")), "nothing logs {line:?}");
    }
}
