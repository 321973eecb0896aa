//! The queries of the dashboards in `grafana/`, with their variables filled in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Grafana's own variables, as a dashboard of the last minutes would have them.
const OF_GRAFANA: [(&str, &str); 8] = [
    ("__rate_interval", "10s"),
    ("__interval_ms", "2000"),
    ("__interval", "2s"),
    ("__range_ms", "60000"),
    ("__range_s", "60"),
    ("__range", "60s"),
    ("__auto", "2s"),
    ("__from", "0"),
];

/// One query.
#[derive(Debug)]
pub struct Query {
    /// `dashboard / panel`.
    pub place: String,
    /// PromQL without variables.
    pub expression: String,
    /// Whether it fills a panel, and not a variable or an annotation.
    pub of_panel: bool,
}

/// The queries of all dashboards.
pub fn queries() -> Vec<Query> {
    let Ok(entries) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana")) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let json = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    json.flat_map(|path| of_dashboard(&serde_json::from_slice(&fs::read(path).unwrap()).unwrap())).collect()
}

fn of_dashboard(dashboard: &Value) -> Vec<Query> {
    let title = dashboard["title"].as_str().unwrap();
    let list = |pointer: &str| dashboard.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let variables = list("/templating/list");
    let values: BTreeMap<_, _> = variables.iter().filter_map(value).collect();
    let mut queries = Vec::new();
    let mut add = |place: &str, expression: &str, of_panel| {
        let place = format!("{title} / {place}");
        queries.push(Query { expression: filled_in(expression, &values, &place), place, of_panel });
    };
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        let query = variable["query"].as_str().or(variable["query"]["query"].as_str()).unwrap();
        let (selector, label) = selector(query);
        // A label that the series do not have would give no choice.
        let with = |label: &str| match selector.strip_suffix('}') {
            Some(matchers) => format!("{matchers}, {label}!=\"\"}}"),
            None => format!("{selector}{{{label}!=\"\"}}"),
        };
        let expression = label.map_or_else(|| selector.to_owned(), with);
        add(&format!("${}", variable["name"].as_str().unwrap()), &expression, false);
    }
    for annotation in list("/annotations/list") {
        annotation["expr"].as_str().into_iter().for_each(|expression| add("annotation", expression, false));
    }
    let mut panels = list("/panels");
    while let Some(panel) = panels.pop() {
        panels.extend(panel["panels"].as_array().cloned().unwrap_or_default());
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap_or_else(|| panic!("{title}: {target} has no expr"));
            add(panel["title"].as_str().unwrap(), expression, true);
        }
    }
    queries
}

/// A variable's value: one that takes all matches everything, others are as they were saved.
fn value(variable: &Value) -> Option<(String, String)> {
    let all = variable["includeAll"] == true || variable["multi"] == true || variable["type"] == "query";
    let saved = variable["current"]["value"].as_str().or(variable["query"].as_str());
    let value = if all { variable["allValue"].as_str().unwrap_or(".*") } else { saved? };
    Some((variable["name"].as_str()?.to_owned(), value.to_owned()))
}

/// What `label_values(selector, label)` and `query_result(expression)` ask Prometheus.
fn selector(query: &str) -> (&str, Option<&str>) {
    if let Some(expression) = query.strip_prefix("query_result(") {
        return (expression.strip_suffix(')').unwrap(), None);
    }
    let inner = query.strip_prefix("label_values(").and_then(|inner| inner.strip_suffix(')'));
    let parts = inner.and_then(|inner| inner.rsplit_once(','));
    let (selector, label) = parts.unwrap_or_else(|| panic!("{query}: label_values without a metric"));
    (selector, Some(label.trim()))
}

#[track_caller]
fn filled_in(expression: &str, values: &BTreeMap<String, String>, place: &str) -> String {
    let mut text = String::new();
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once('$') {
        text += before;
        let braced = after.strip_prefix('{');
        let after = braced.unwrap_or(after);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        // A regular expression's end is no variable.
        if end == 0 {
            text.push('$');
            rest = after;
            continue;
        }
        let name = &after[..end];
        let own = OF_GRAFANA.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
        let value = own.or(values.get(name).map(String::as_str));
        text += value.unwrap_or_else(|| panic!("{place}: no variable {name} in {expression}"));
        rest = &after[end..];
        if braced.is_some() {
            rest = rest.split_once('}').unwrap_or_else(|| panic!("{place}: {expression}")).1;
        }
    }
    text + rest
}

#[test]
fn variables_are_filled_in() {
    let dashboard = serde_json::json!({
        "title": "D",
        "templating": {"list": [
            {"name": "tenant", "type": "query", "multi": true, "query": {"query": "label_values(remote_assistance_up{job=~\"$job\"}, tenant)"}},
            {"name": "job", "type": "query", "query": "label_values(remote_assistance_up, job)"},
            {"name": "window", "type": "custom", "query": "1d,7d", "current": {"value": "7d"}},
        ]},
        "panels": [{"type": "row", "panels": [{"title": "P", "targets": [
            {"expr": "rate(x{tenant=~\"${tenant:regex}\",w=\"$window\",a=~\"b$\"}[$__rate_interval] offset ${__range})"},
        ]}]}],
    });
    let queries: Vec<_> = of_dashboard(&dashboard).into_iter().map(|query| (query.place, query.expression)).collect();
    let expected = [
        ("D / $tenant", "remote_assistance_up{job=~\".*\", tenant!=\"\"}"),
        ("D / $job", "remote_assistance_up{job!=\"\"}"),
        ("D / P", "rate(x{tenant=~\".*\",w=\"7d\",a=~\"b$\"}[10s] offset 60s)"),
    ];
    assert_eq!(queries, expected.map(|(place, expression)| (place.to_owned(), expression.to_owned())));
}
