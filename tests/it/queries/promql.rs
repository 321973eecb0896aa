//! Which metrics and labels an expression names.

use std::collections::BTreeSet;

use promql_parser::label::{Labels, MatchOp, Matcher};
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use remote_assistance_exporter::ledger::totals::Window;
use remote_assistance_exporter::metrics::catalogue::{self, Kind};
use remote_assistance_exporter::session::{EnrollmentState, Label, Os, Role, SessionType};

/// Labels that every scraped series has or may have.
const OF_TARGETS: [&str; 12] = [
    "job",
    "cluster",
    "namespace",
    "instance",
    "pod",
    "node",
    "statefulset_kubernetes_io_pod_name",
    "apps_kubernetes_io_pod_index",
    "controller_revision_hash",
    "pod_template_hash",
    "app_kubernetes_io_version",
    "helm_sh_chart",
];
/// Labels of the recording rules.
const OF_RECORDS: [&str; 2] = ["scope", "week"];
/// Labels of `ALERTS`.
const OF_ALERTS: [&str; 4] = ["alertname", "alertstate", "severity", "category"];
/// What Prometheus itself has of each target, and what it says of alerts.
const OF_PROMETHEUS: [&str; 4] = ["up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"];
/// What the process collector gives on Linux.
const OF_PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// The values of labels with a closed set of them.
fn values(label: &str) -> Option<Vec<&'static str>> {
    fn all<L: Label>(label: &str) -> Option<Vec<&'static str>> {
        (label == L::NAME).then(|| L::ALL.iter().map(|value| value.as_str()).collect())
    }
    let session = all::<SessionType>(label).or_else(|| all::<EnrollmentState>(label)).or_else(|| all::<Role>(label));
    let more = session.or_else(|| all::<Os>(label)).or_else(|| all::<Window>(label));
    more.or_else(|| (label == "scope").then(|| vec!["all", "elevation"]))
}

/// What is wrong with an expression's names, and which metrics of the catalogue it reads.
#[derive(Default)]
pub struct Names {
    pub unknown: Vec<String>,
    pub metrics: BTreeSet<&'static str>,
    recorded: BTreeSet<String>,
}

/// Reads an expression. `recorded` are the names of the recording rules.
pub fn names(expression: &str, recorded: &BTreeSet<String>) -> Result<Names, String> {
    let mut names = Names { recorded: recorded.clone(), ..Names::default() };
    walk_expr(&mut names, &parser::parse(expression)?)?;
    Ok(names)
}

/// The metric of the catalogue that has a series of this name.
pub fn metric_of(series: &str) -> Option<&'static catalogue::Metric> {
    catalogue::all().find(|metric| {
        let of_histogram =
            || ["_bucket", "_sum", "_count"].iter().any(|end| series.strip_suffix(end) == Some(metric.name));
        series == metric.name || (metric.kind == Kind::Histogram && of_histogram())
    })
}

impl Names {
    fn selector(&mut self, selector: &VectorSelector) {
        let equals = selector.matchers.find_matchers("__name__").first().map(|matcher| matcher.value.clone());
        let Some(name) = selector.name.clone().or(equals) else {
            return self.unknown.push(format!("a selector without a name: {selector:?}"));
        };
        let matchers: Vec<_> = selector.matchers.matchers.iter().filter(|matcher| matcher.name != "__name__").collect();
        let metric = metric_of(&name);
        let has = |label: &str| match metric {
            _ if OF_TARGETS.contains(&label) => true,
            Some(metric) => metric.labels.contains(&label) || (label == "le" && name.ends_with("_bucket")),
            None if self.recorded.contains(&name) => OF_RECORDS.contains(&label) || of_a_metric(label),
            None => name == "ALERTS" && (OF_ALERTS.contains(&label) || of_a_metric(label)),
        };
        let strange = matchers.iter().filter(|matcher| !has(&matcher.name));
        let strange: Vec<_> = strange.map(|matcher| format!("{name}{{{}}}", matcher.name)).collect();
        let no_values = matchers.iter().flat_map(|matcher| strange_values(matcher));
        let no_values: Vec<_> = no_values.map(|value| format!("{name}{{{value}}}")).collect();
        self.unknown.extend(strange.into_iter().chain(no_values));
        match metric {
            Some(metric) => _ = self.metrics.insert(metric.name),
            None if self.recorded.contains(&name) => {}
            None if OF_PROMETHEUS.contains(&&*name) || OF_PROCESS.contains(&&*name) => {}
            None => self.unknown.push(name),
        }
    }

    fn labels(&mut self, labels: &Labels) {
        self.unknown.extend(labels.labels.iter().filter(|label| !known(label)).cloned());
    }

    fn modifier(&mut self, modifier: Option<&LabelModifier>) {
        modifier.into_iter().for_each(|modifier| self.labels(modifier.labels()));
    }
}

fn known(label: &str) -> bool {
    label == "le" || OF_TARGETS.contains(&label) || OF_RECORDS.contains(&label) || of_a_metric(label)
}

fn of_a_metric(label: &str) -> bool {
    catalogue::all().any(|metric| metric.labels.contains(&label))
}

/// Values that no series can have, as `label=value`. Of regular expressions, plain alternatives are looked at.
fn strange_values(matcher: &Matcher) -> Vec<String> {
    let Some(known) = values(&matcher.name) else { return Vec::new() };
    let alternatives: Vec<&str> = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    let plain =
        alternatives.into_iter().filter(|value| !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric()));
    plain.filter(|value| !known.contains(value)).map(|value| format!("{}={value}", matcher.name)).collect()
}

impl ExprVisitor for Names {
    type Error = String;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, String> {
        match expression {
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(selector) => self.selector(&selector.vs),
            Expr::Aggregate(aggregate) => self.modifier(aggregate.modifier.as_ref()),
            Expr::Binary(binary) => {
                if let Some(modifier) = &binary.modifier {
                    self.modifier(modifier.matching.as_ref());
                    modifier.card.labels().into_iter().for_each(|labels| self.labels(labels));
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

#[test]
fn strange_names_are_found() {
    let recorded = BTreeSet::from(["a:b:c".to_owned()]);
    let unknown = |expression: &str| names(expression, &recorded).unwrap().unknown;
    assert_eq!(unknown("sum by (tenant, le) (rate(remote_assistance_session_duration_seconds_bucket[5m]))"), [""; 0]);
    assert_eq!(unknown("a:b:c{scope=\"all\"} and ignoring (week) up"), [""; 0]);
    assert_eq!(unknown("rate(remote_assistance_sessions_count[5m])"), ["remote_assistance_sessions_count"]);
    assert_eq!(unknown("remote_assistance_up{role=\"helper\"}"), ["remote_assistance_up{role}"]);
    assert_eq!(unknown("remote_assistance_up{le=\"5\"}"), ["remote_assistance_up{le}"]);
    assert_eq!(unknown("remote_assistance_up{scope=\"all\"}"), ["remote_assistance_up{scope}"]);
    assert_eq!(unknown("up{tenant=\"contoso\"}"), ["up{tenant}"]);
    assert_eq!(unknown("process_fish"), ["process_fish"]);
    let participants = |matchers: &str| unknown(&format!("remote_assistance_participants_total{{{matchers}}}"));
    assert_eq!(participants("role=\"helper\",enrollment_state=~\"blocked|failed\""), [""; 0]);
    assert_eq!(participants("role=\"helpers\""), ["remote_assistance_participants_total{role=helpers}"]);
    let blocket = "remote_assistance_participants_total{enrollment_state=blocket}";
    assert_eq!(participants("enrollment_state!~\"blocket|failed|.*\""), [blocket]);
    assert_eq!(unknown("a:b:c{scope=\"every\"}"), ["a:b:c{scope=every}"]);
    assert_eq!(unknown("sum without (fish) (remote_assistance_up)"), ["fish"]);
    assert_eq!(unknown("remote_assistance_up * on (fish) group_left (chips) up"), ["fish", "chips"]);
    assert!(names("sum(", &recorded).is_err());
}
