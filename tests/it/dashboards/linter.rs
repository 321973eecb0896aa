//! The rules of Grafana's dashboard-linter, under its names. They hold for panels of every type here, and
//! as there is no Loki, the two of LogQL ask for that.

use std::time::Duration;

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde_json::Value;

use super::{Findings, RATE_INTERVAL, Rule, list, panels, text};

pub const RULES: [Rule; 17] = [
    ("template-datasource-rule", template_datasource),
    ("template-job-rule", |dashboard| of("$job", chooser(dashboard, "job", "Job"))),
    ("template-instance-rule", |dashboard| of("$instance", chooser(dashboard, "instance", "Instance"))),
    ("template-label-promql-rule", template_label_promql),
    ("template-on-time-change-reload-rule", template_on_time_change_reload),
    ("panel-datasource-rule", panel_datasource),
    ("panel-title-description-rule", panel_title_description),
    ("panel-units-rule", panel_units),
    ("panel-no-targets-rule", panel_no_targets),
    ("target-logql-rule", no_loki),
    ("target-logql-auto-rule", no_loki),
    ("target-promql-rule", target_promql),
    (RATE_INTERVAL, |dashboard| of_targets(dashboard, |read| read.other_ranges.clone())),
    ("target-job-rule", |dashboard| of_targets(dashboard, |read| read.without("job"))),
    ("target-instance-rule", |dashboard| of_targets(dashboard, |read| read.without("instance"))),
    ("target-counter-agg-rule", |dashboard| of_targets(dashboard, |read| read.bare_counters.clone())),
    ("uneditable-dashboard", |dashboard| {
        of("dashboard", (dashboard["editable"] != false).then(|| "editable".to_owned()))
    }),
];

/// Grafana's units that are used here.
const UNITS: [&str; 10] =
    ["bytes", "dateTimeFromNow", "hex", "locale", "m", "none", "percentunit", "reqps", "s", "string"];
/// Stands for `$__rate_interval`; nobody writes it.
const RATE: (&str, Duration) = ("4242s", Duration::from_secs(4242));

fn of(place: &str, findings: impl IntoIterator<Item = String>) -> Findings {
    findings.into_iter().map(|what| (place.to_owned(), what)).collect()
}

fn of_panels<I: IntoIterator<Item = String>>(dashboard: &Value, findings: impl Fn(&Value) -> I) -> Findings {
    panels(dashboard).into_iter().flat_map(|panel| of(text(panel, "/title"), findings(panel))).collect()
}

fn variables<'a>(dashboard: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    list(dashboard, "/templating/list").filter(move |variable| text(variable, "/type") == kind)
}

fn template_datasource(dashboard: &Value) -> Findings {
    let found: Vec<_> = variables(dashboard, "datasource")
        .map(|variable| ["/name", "/label", "/query"].map(|pointer| text(variable, pointer)))
        .collect();
    of("$datasource", (found != [["datasource", "Data source", "prometheus"]]).then(|| format!("{found:?}")))
}

/// A variable that chooses among a label's values.
pub fn chooser(dashboard: &Value, name: &str, label: &str) -> Vec<String> {
    let Some(variable) = variables(dashboard, "query").find(|variable| text(variable, "/name") == name) else {
        return vec!["missing".to_owned()];
    };
    let expected = [("/label", label), ("/datasource/uid", "${datasource}"), ("/allValue", ".+")];
    let wrong = expected.into_iter().filter(|(pointer, value)| text(variable, pointer) != *value);
    let mut wrong: Vec<_> = wrong.map(|(pointer, value)| format!("{pointer} is not {value}")).collect();
    wrong.extend((variable["multi"] != true).then(|| "not multi".to_owned()));
    wrong
}

fn template_label_promql(dashboard: &Value) -> Findings {
    let check = |variable: &Value| {
        let query = text(variable, "/query");
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let selector = inner.and_then(|inner| inner.rsplit_once(',')).map(|(selector, _)| parser::parse(selector));
        of(text(variable, "/name"), (!matches!(selector, Some(Ok(_)))).then(|| query.to_owned()))
    };
    variables(dashboard, "query").flat_map(check).collect()
}

fn template_on_time_change_reload(dashboard: &Value) -> Findings {
    let stale = variables(dashboard, "query").filter(|variable| variable["refresh"] != 2);
    stale.flat_map(|variable| of(text(variable, "/name"), [format!("refresh {}", variable["refresh"])])).collect()
}

fn panel_datasource(dashboard: &Value) -> Findings {
    of_panels(dashboard, |panel| {
        let all = std::iter::once(panel).chain(list(panel, "/targets"));
        all.map(|of| &of["datasource"])
            .filter(|datasource| text(datasource, "/uid") != "${datasource}")
            .map(Value::to_string)
            .collect::<Vec<_>>()
    })
}

fn panel_title_description(dashboard: &Value) -> Findings {
    of_panels(dashboard, |panel| {
        let missing = ["/title", "/description"].into_iter().filter(|pointer| text(panel, pointer).is_empty());
        missing.map(|pointer| format!("no {pointer}")).collect::<Vec<_>>()
    })
}

fn panel_units(dashboard: &Value) -> Findings {
    of_panels(dashboard, |panel| {
        let overrides = list(panel, "/fieldConfig/overrides").flat_map(|one| list(one, "/properties"));
        let units = overrides.filter(|property| property["id"] == "unit").map(|property| text(property, "/value"));
        let units = units.chain([text(panel, "/fieldConfig/defaults/unit")]);
        units.filter(|unit| !UNITS.contains(unit)).map(|unit| format!("unit {unit:?}")).collect::<Vec<_>>()
    })
}

fn panel_no_targets(dashboard: &Value) -> Findings {
    of_panels(dashboard, |panel| list(panel, "/targets").next().is_none().then(|| "no targets".to_owned()))
}

fn no_loki(dashboard: &Value) -> Findings {
    of_panels(dashboard, |panel| {
        let types = list(panel, "/targets").map(|target| text(target, "/datasource/type"));
        types.filter(|kind| *kind != "prometheus").map(str::to_owned).collect::<Vec<_>>()
    })
}

fn parsed(target: &Value) -> Result<Expr, String> {
    let durations = [
        ("$__rate_interval", RATE.0),
        ("$__interval_ms", "1000"),
        ("$__interval", "1s"),
        ("$__range", "1h"),
        ("$__from", "1767225600000"),
        ("$compare", "1w"),
    ];
    let fill = |text: String, (variable, value): (&str, &str)| text.replace(variable, value);
    parser::parse(&durations.into_iter().fold(text(target, "/expr").to_owned(), fill))
}

fn target_promql(dashboard: &Value) -> Findings {
    of_panels(dashboard, |panel| list(panel, "/targets").filter_map(|target| parsed(target).err()).collect::<Vec<_>>())
}

fn of_targets(dashboard: &Value, findings: impl Fn(&Read) -> Vec<String>) -> Findings {
    of_panels(dashboard, |panel| {
        // What does not parse breaks another rule.
        let expressions = list(panel, "/targets").filter_map(|target| parsed(target).ok());
        expressions.flat_map(|expression| findings(&Read::of(&expression))).collect::<Vec<_>>()
    })
}

/// What the rules ask of an expression.
#[derive(Default)]
struct Read {
    selectors: Vec<VectorSelector>,
    rated: Vec<VectorSelector>,
    /// Rates over something else than `$__rate_interval`.
    other_ranges: Vec<String>,
    /// Counters that are read as they are.
    bare_counters: Vec<String>,
}

impl Read {
    fn of(expression: &Expr) -> Self {
        let mut read = Self::default();
        walk_expr(&mut read, expression).unwrap();
        read
    }

    fn selector(&mut self, selector: &VectorSelector) {
        let name = selector.name.clone().unwrap_or_default();
        if name.ends_with("_total") && !self.rated.contains(selector) {
            self.bare_counters.push(name);
        }
        self.selectors.push(selector.clone());
    }

    /// The selectors that do not say `LABEL=~"$LABEL"`.
    fn without(&self, label: &str) -> Vec<String> {
        let chosen = |selector: &VectorSelector| {
            selector
                .matchers
                .find_matchers(label)
                .iter()
                .any(|matcher| matches!(matcher.op, MatchOp::Re(_)) && matcher.value == format!("${label}"))
        };
        self.selectors.iter().filter(|selector| !chosen(selector)).map(VectorSelector::to_string).collect()
    }
}

impl ExprVisitor for Read {
    type Error = String;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, String> {
        match expression {
            Expr::Call(call) if ["rate", "irate", "increase"].contains(&call.func.name) => {
                if let Some(Expr::MatrixSelector(matrix)) = call.args.args.first().map(AsRef::as_ref) {
                    self.rated.push(matrix.vs.clone());
                    // The linter lets an increase have a range of its own.
                    if call.func.name != "increase" && matrix.range != RATE.1 {
                        self.other_ranges.push(matrix.to_string());
                    }
                }
            }
            Expr::VectorSelector(selector) => self.selector(selector),
            Expr::MatrixSelector(matrix) => self.selector(&matrix.vs),
            _ => {}
        }
        Ok(true)
    }
}

#[test]
fn expressions_are_read() {
    let read = |expr: &str| Read::of(&parsed(&serde_json::json!({"expr": expr})).unwrap());
    let good = read("sum by (a) (rate(x_total{job=~\"$job\"}[$__rate_interval])) * $__interval_ms");
    assert!(good.other_ranges.is_empty() && good.bare_counters.is_empty() && good.without("job").is_empty());
    assert_eq!(good.without("instance").len(), 1);
    assert_eq!(read("rate(x_total[$__range])").other_ranges.len(), 1);
    assert_eq!(read("max_over_time(x_total[$__range:$__interval]) + y_total").bare_counters, ["x_total", "y_total"]);
    assert_eq!(read("x{job=\"$job\"}").without("job").len(), 1);
}
