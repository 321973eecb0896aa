//! Every query of every panel, variable, rule and alert: it names what exists, and a real Prometheus that
//! scrapes the demo answers it.

mod dashboards;
mod promql;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use remote_assistance_exporter::metrics::catalogue;

use crate::prometheus::server::Prometheus;
use crate::rules::{self, Rule};
use crate::support::{Exporter, PATIENCE, wait_for};

/// Panels, as `dashboard / panel`, that rightly show nothing while a healthy demo runs for a minute, each
/// with the reason.
const EMPTY_PANELS: [(&str, &str); 8] = [
    ("Remote help exporter health / Certificate ends", "the demo's tenants have secrets"),
    ("Remote help exporter health / Failed look-ups", "the demo looks no states up"),
    ("Remote help exporter health / Failures by reason", "no poll fails"),
    ("Remote help exporter health / Look-ups failing", "the demo looks no states up"),
    ("Remote help exporter health / Rejected and missing", "every row is good"),
    ("Remote help overview / Change", "there is no week before"),
    ("Remote help tenants / More than before", "there is no week before"),
    ("Remote help tenants / Most failed polls", "no poll fails"),
];

/// Queries that may show nothing beside others of their panel that do, by a part of them, each with the
/// reason.
const SILENT_QUERIES: [(&str, &str, &str); 4] = [
    ("Remote help exporter health / New and changed reports", "reports_amended_total", "few reports change later"),
    ("Remote help exporter health / New and changed reports", "reports_baseline_total", "all sessions are counted"),
    ("Remote help exporter health / New and changed reports", "reports_too_old_total", "none is read that late"),
    ("Remote help exporter health / Polls by tenant", "topk by (tenant)", "no poll fails, so no reason leads"),
];

/// Metrics of which a healthy demo has no series, each with the reason. Queries of them are excused.
const NOT_IN_THE_DEMO: [(&str, &str); 3] = [
    ("remote_assistance_credential_expiry_timestamp_seconds", "it signs in with secrets"),
    ("remote_assistance_enrollment_lookup_", "it looks no states up"),
    ("remote_assistance_files_set_aside", "it reads no files"),
];

/// Metrics that no panel, rule or runbook uses, each with the reason.
const UNUSED: [(&str, &str); 0] = [];

/// Records that a minute of the demo gives already. What is usual takes weeks, an hour takes an hour.
const RECORDED_AT_ONCE: [&str; 6] = [
    "instance_tenant:remote_assistance_backlog_sessions:increase1h",
    "instance_tenant:remote_assistance_data_age:seconds",
    "tenant:remote_assistance_poll_failures:ratio1h",
    "tenant:remote_assistance_session_duration_seconds:p50_1d",
    "tenant:remote_assistance_session_duration_seconds:p95_1d",
    "tenant_session_type:remote_assistance_sessions:increase1d",
];

fn recorded() -> BTreeSet<String> {
    let rules = rules::rules();
    rules.iter().filter(|rule| !rule.is_alert()).map(|rule| rule.name().to_owned()).collect()
}

/// Every expression by where it stands.
fn expressions() -> Vec<(String, String)> {
    let rules = rules::rules();
    let of_rules = rules.iter().map(|rule| (rule.name().to_owned(), rule.text("/expr").to_owned()));
    let panels = dashboards::queries();
    let panels = panels.into_iter().map(|query| (query.place, query.expression));
    of_rules.chain(of_descriptions()).chain(panels).collect()
}

/// What descriptions of alerts ask Prometheus: a format of Go, whose quoted strings match anything here.
fn of_descriptions() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for rule in rules::rules().iter().filter(|rule| rule.is_alert()) {
        let description = rule.text("/annotations/description");
        for format in
            description.split("printf \"").skip(1).filter(|rest| rest.split("}}").next().unwrap().contains("query"))
        {
            let quoted = format.replace("\\\"", "\u{0}");
            let format = quoted.split('"').next().unwrap().replace('\u{0}', "\"");
            queries.push((format!("{}'s description", rule.name()), format.replace("=%q", "=~\".*\"")));
        }
    }
    assert_eq!(
        queries.len(),
        rules::files().iter().map(|file| fs::read_to_string(file).unwrap().matches("| query").count()).sum::<usize>()
    );
    queries
}

#[test]
fn every_name_is_in_the_catalogue() {
    let recorded = recorded();
    let mut wrong = Vec::new();
    for (place, expression) in expressions() {
        match promql::names(&expression, &recorded) {
            Ok(names) => wrong.extend(names.unknown.into_iter().map(|name| format!("{place}: {name}"))),
            Err(error) => wrong.push(format!("{place}: {error}: {expression}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What runbooks have between backticks is read too: names of metrics there are metrics.
#[test]
fn every_metric_is_used_in_a_panel_a_rule_or_a_runbook() {
    let recorded = recorded();
    let mut used = BTreeSet::new();
    for (place, expression) in expressions() {
        used.extend(promql::names(&expression, &recorded).unwrap_or_else(|error| panic!("{place}: {error}")).metrics);
    }
    let runbooks = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks.md")).unwrap();
    let words = runbooks.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    for word in words.filter(|word| word.contains(catalogue::PREFIX)) {
        match promql::metric_of(word) {
            Some(metric) => _ = used.insert(metric.name),
            None => assert!(recorded.contains(word), "the runbooks name {word}"),
        }
    }
    let unused: BTreeSet<_> = catalogue::all().map(|metric| metric.name).filter(|name| !used.contains(name)).collect();
    assert_eq!(unused, UNUSED.iter().map(|(name, _)| *name).collect());
}

#[test]
fn prometheus_answers_every_query() {
    answers(&[]);
}

#[test]
fn prometheus_with_native_histograms_answers_every_query() {
    answers(&["--enable-feature=native-histograms"]);
}

fn answers(flags: &[&str]) {
    let storage = tempfile::tempdir().unwrap();
    let arguments = ["demo", "--demo.speed=20", &format!("--storage.path={}", storage.path().display())];
    let mut demo = Exporter::start(arguments);
    let prometheus = Prometheus::with_rules(demo.address(), &rules::files(), flags);
    prometheus.wait_for("sum(remote_assistance_up)", |tenants| tenants.values().eq(&[3.0]));
    for record in RECORDED_AT_ONCE {
        prometheus.wait_for(record, |series| !series.is_empty() && series.values().all(|value| value.is_finite()));
    }
    for rule in rules::rules() {
        let answer = prometheus.query(rule.text("/expr"));
        // A security alert may well tell of the demo's sessions.
        if rule.is_alert() && rule.text("/labels/category") == "operations" {
            assert!(answer.is_empty(), "{} in a healthy demo: {answer:?}", rule.name());
        }
    }
    for (_, query) in of_descriptions() {
        prometheus.query(&query);
    }
    every_rule_is_healthy(&prometheus);
    panels_show_data(&prometheus);
}

/// Prometheus itself has evaluated every rule without an error.
fn every_rule_is_healthy(prometheus: &Prometheus) {
    let health = || {
        let groups = prometheus.api("rules", &[]);
        let groups = groups["groups"].as_array().unwrap().clone();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
        rules.map(|rule| (rule["health"].as_str().unwrap().to_owned(), rule["lastError"].clone())).collect::<Vec<_>>()
    };
    let health = wait_for("every rule's evaluation", || {
        Some(health()).filter(|health| health.iter().all(|(health, _)| health != "unknown"))
    });
    assert_eq!(health.len(), rules::rules().len());
    assert!(health.iter().all(|(health, _)| health == "ok"), "{health:?}");
}

/// Every query of a panel shows data, which may take some scrapes, and every variable has a choice.
fn panels_show_data(prometheus: &Prometheus) {
    let recorded = recorded();
    let of_demo = |query: &dashboards::Query| {
        let named = promql::names(&query.expression, &recorded).unwrap().metrics;
        let missing = |name: &&str| NOT_IN_THE_DEMO.iter().any(|(missing, _)| name.starts_with(missing));
        // There is no week before.
        !named.iter().any(missing) && !query.expression.contains(" offset ")
    };
    let queries = dashboards::queries();
    let shows = |expression: &str| prometheus.query(expression).values().any(|value| !value.is_nan());
    let silent = || {
        let silent = queries.iter().filter(|query| !may_be_silent(query) && !shows(&query.expression));
        // Of a panel that rightly is empty, a query may be silent and another not.
        let told = |query: &&dashboards::Query| of_demo(query) || !query.of_panel || is_empty_panel(&query.place);
        silent.filter(told).map(|query| query.place.clone()).collect::<BTreeSet<_>>()
    };
    let expected: BTreeSet<_> = EMPTY_PANELS.iter().map(|(place, _)| (*place).to_owned()).collect();
    let deadline = Instant::now() + PATIENCE;
    while silent() != expected && Instant::now() < deadline {}
    assert_eq!(silent(), expected, "queries without data, and those that rightly have none");
}

fn may_be_silent(query: &dashboards::Query) -> bool {
    SILENT_QUERIES.iter().any(|(place, part, _)| *place == query.place && query.expression.contains(part))
}

fn is_empty_panel(place: &str) -> bool {
    EMPTY_PANELS.iter().any(|(empty, _)| *empty == place)
}

#[test]
fn alerts_of_tenants_keep_the_tenant_and_those_of_instances_the_instance() {
    let of_instances: BTreeSet<_> = rules::rules()
        .iter()
        .filter(|rule| rule.is_alert() && rule.text("/annotations/description").contains("$labels.instance"))
        .map(|rule: &Rule| rule.name().to_owned())
        .collect();
    let expected = [
        "ConfigReloadFailed",
        "ExporterDown",
        "LedgerCommitsFailing",
        "ReplicaFailing",
        "WebCertificateExpiresSoon",
        "WebConfigReloadFailed",
    ];
    assert!(of_instances.iter().eq(&expected.map(|name| format!("RemoteAssistance{name}"))), "{of_instances:?}");
}
