//! Which metrics and labels an expression names.

use std::collections::BTreeSet;

use promql_parser::label::Labels;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use remote_assistance_exporter::metrics::catalogue::{self, Kind};

/// Labels of targets, of buckets, of alerts, and of the recording rules.
const OTHERS: [&str; 10] =
    ["job", "instance", "pod", "le", "scope", "week", "alertname", "alertstate", "severity", "category"];
/// What Prometheus itself has of each target, and what it says of alerts.
const OF_PROMETHEUS: [&str; 4] = ["up", "scrape_duration_seconds", "scrape_samples_scraped", "ALERTS"];

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
        let labels = selector.matchers.matchers.iter().map(|matcher| matcher.name.as_str());
        let mut labels: Vec<_> = labels.filter(|label| *label != "__name__" && !OTHERS.contains(label)).collect();
        if let Some(metric) = metric_of(&name) {
            self.metrics.insert(metric.name);
            labels.retain(|label| !metric.labels.contains(label));
        } else if self.recorded.contains(&name) {
            labels.retain(|label| !known(label));
        } else if !OF_PROMETHEUS.contains(&name.as_str()) && !name.starts_with("process_") {
            self.unknown.push(name.clone());
        }
        self.unknown.extend(labels.iter().map(|label| format!("{name}{{{label}}}")));
    }

    fn labels(&mut self, labels: &Labels) {
        self.unknown.extend(labels.labels.iter().filter(|label| !known(label)).cloned());
    }

    fn modifier(&mut self, modifier: Option<&LabelModifier>) {
        modifier.into_iter().for_each(|modifier| self.labels(modifier.labels()));
    }
}

fn known(label: &str) -> bool {
    OTHERS.contains(&label) || catalogue::all().any(|metric| metric.labels.contains(&label))
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
    assert_eq!(unknown("sum without (fish) (remote_assistance_up)"), ["fish"]);
    assert_eq!(unknown("remote_assistance_up * on (fish) group_left (chips) up"), ["fish", "chips"]);
    assert!(names("sum(", &recorded).is_err());
}
