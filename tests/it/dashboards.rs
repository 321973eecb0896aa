//! The dashboards in `grafana/`: the rules of Grafana's dashboard-linter, our own, and that their source
//! makes them.

mod house;
mod linter;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::docs::markdown;

const RATE_INTERVAL: &str = "target-rate-interval-rule";

/// What breaks a rule and shall: dashboard, panel, rule, reason.
const EXCLUSIONS: [[&str; 4]; 4] = [
    ["Remote help overview", "Median duration", RATE_INTERVAL, "one number for the whole range"],
    ["Remote help overview", "95th percentile", RATE_INTERVAL, "one number for the whole range"],
    ["Remote help tenants", "All tenants", RATE_INTERVAL, "the mean duration is that of the whole range"],
    ["Remote help tenants", "Sessions of the ten busiest", RATE_INTERVAL, "the ten are those of the whole range"],
];

/// What breaks a rule: the panel's title or the variable's name, and how.
type Findings = Vec<(String, String)>;

/// A rule's name, and what breaks it in a dashboard.
type Rule = (&'static str, fn(&Value) -> Findings);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn dashboards() -> Vec<Value> {
    let entries = fs::read_dir(root().join("grafana")).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let dashboards: Vec<_> = files.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect();
    assert_eq!(dashboards.len(), 3);
    dashboards
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// All panels with rows, also those inside of rows.
fn panels_and_rows(dashboard: &Value) -> Vec<&Value> {
    list(dashboard, "/panels").flat_map(|panel| std::iter::once(panel).chain(list(panel, "/panels"))).collect()
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    panels_and_rows(dashboard).into_iter().filter(|panel| text(panel, "/type") != "row").collect()
}

/// The series that a panel gives a colour by name, and that colour.
fn fixed_colors(panel: &Value) -> impl Iterator<Item = (&str, &str)> {
    let by_name = list(panel, "/fieldConfig/overrides").filter(|o| text(o, "/matcher/id") == "byName");
    by_name.flat_map(|o| {
        let colors = list(o, "/properties").filter(|property| property["id"] == "color");
        colors.map(|color| (text(o, "/matcher/options"), text(color, "/value/fixedColor")))
    })
}

/// Every text below a key of this name, wherever it stands.
fn texts_of(value: &Value, key: &str) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| texts_of(item, key)).collect(),
        Value::Object(fields) => {
            let here = fields.get(key).and_then(Value::as_str).map(str::to_owned);
            here.into_iter().chain(fields.values().flat_map(|value| texts_of(value, key))).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn rules_of_the_linter_and_of_the_house_hold() {
    let mut broken = Vec::new();
    let mut used = BTreeSet::new();
    for dashboard in dashboards() {
        let title = text(&dashboard, "/title");
        for (rule, findings) in linter::RULES.iter().chain(&house::RULES) {
            for (place, what) in findings(&dashboard) {
                match EXCLUSIONS.iter().find(|[d, p, r, _]| [*d, *p, *r] == [title, place.as_str(), *rule]) {
                    Some(exclusion) => _ = used.insert(exclusion),
                    None => broken.push(format!("{rule}: {title} / {place}: {what}")),
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    let idle: Vec<_> = EXCLUSIONS.iter().filter(|exclusion| !used.contains(exclusion)).collect();
    assert!(idle.is_empty(), "excluded without need: {idle:#?}");
}

#[test]
fn a_name_has_one_colour_in_all_dashboards() {
    let dashboards = dashboards();
    let mut colors: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for panel in dashboards.iter().flat_map(panels) {
        fixed_colors(panel).for_each(|(name, color)| _ = colors.entry(name).or_default().insert(color));
    }
    assert!(colors["Median"].len() == 1 && colors["viewOnly"].len() == 1);
    // An endpoint, and why a poll failed.
    assert_eq!(colors.remove("export_job").unwrap().len(), 2);
    colors.retain(|_, colors| colors.len() > 1);
    assert!(colors.is_empty(), "{colors:#?}");
}

#[test]
fn links_lead_to_dashboards() {
    let dashboards = dashboards();
    let uids: BTreeSet<_> = dashboards.iter().map(|dashboard| text(dashboard, "/uid")).collect();
    let tags: BTreeSet<_> = dashboards.iter().flat_map(|d| list(d, "/tags")).filter_map(Value::as_str).collect();
    assert_eq!(uids.len(), dashboards.len());
    for dashboard in &dashboards {
        for tag in list(dashboard, "/links").flat_map(|link| list(link, "/tags")) {
            assert!(tags.contains(tag.as_str().unwrap()), "no dashboard has the tag {tag}");
        }
        for url in texts_of(dashboard, "url").iter().filter(|url| !url.is_empty()) {
            let uid = url.strip_prefix("/d/").and_then(|rest| rest.split(['?', '/']).next());
            assert!(uid.is_some_and(|uid| uids.contains(uid)), "{url} leads nowhere");
            let there = dashboards.iter().find(|d| text(d, "/uid") == uid.unwrap()).unwrap();
            let named = url.split("&var-").skip(1).filter_map(|rest| rest.split('=').next());
            let kept = url.split("${").skip(1).filter_map(|rest| rest.split_once(":queryparam")).map(|(name, _)| name);
            for name in named.chain(kept) {
                let known = list(there, "/templating/list").any(|variable| text(variable, "/name") == name);
                assert!(known, "{url}: no variable {name}");
            }
        }
    }
}

#[test]
fn dashboards_are_what_their_source_makes() {
    let mut command = Command::new("python3");
    let output = command.current_dir(root()).args(["-B", "grafana/source/generate.py", "--check"]).output();
    let output = output.unwrap_or_else(|error| panic!("python3: {error}; tests/run installs it"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_readme_names_files_and_variables_and_its_provider_is_read() {
    let section = markdown::section("Dashboards");
    let documented: BTreeSet<_> =
        markdown::table(section, "file").iter().map(|row| markdown::code(row[0])[0]).collect();
    let names = fs::read_dir(root().join("grafana")).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".json")).collect();
    assert_eq!(documented, names.iter().map(String::as_str).collect());
    let named = markdown::code(section);
    for dashboard in dashboards() {
        for variable in list(&dashboard, "/templating/list") {
            assert!(named.contains(&text(variable, "/label")), "{variable}");
        }
    }
    let blocks = markdown::blocks();
    let provider = blocks["yaml"].iter().find(|block| block.starts_with("apiVersion: 1\nproviders:\n")).unwrap();
    let provider: Value = serde_saphyr::from_str(provider).unwrap();
    assert!(text(&provider, "/providers/0/options/path").starts_with('/'), "{provider}");
}
