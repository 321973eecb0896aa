//! Our own rules: what every panel has, and where it is.

use std::collections::BTreeSet;

use remote_assistance_exporter::session::{EnrollmentState, Label, RejectReason, SessionType};
use remote_assistance_exporter::source::Endpoint;
use remote_assistance_exporter::status::FailureReason;
use serde_json::Value;

use super::{Findings, Rule, fixed_colors, list, panels, panels_and_rows, text};

pub const RULES: [Rule; 8] = [
    ("titles-are-unique", titles_are_unique),
    ("titles-fit", titles_fit),
    ("values-have-their-colours", values_have_their_colors),
    ("nothing-is-not-well", nothing_is_not_well),
    ("panel-says-what-nothing-means", panel_says_what_nothing_means),
    ("ids-are-unique", ids_are_unique),
    ("positions-do-not-overlap", positions_do_not_overlap),
    ("template-tenant-rule", template_tenant),
];

fn panel_says_what_nothing_means(dashboard: &Value) -> Findings {
    let silent = panels(dashboard).into_iter().filter(|panel| text(panel, "/fieldConfig/defaults/noValue").is_empty());
    silent.map(|panel| (text(panel, "/title").to_owned(), "no noValue".to_owned())).collect()
}

fn titles_are_unique(dashboard: &Value) -> Findings {
    let mut seen = BTreeSet::new();
    let again = panels(dashboard).into_iter().filter(|panel| !seen.insert(text(panel, "/title")));
    again.map(|panel| (text(panel, "/title").to_owned(), "is there twice".to_owned())).collect()
}

/// On a page of a thousand pixels a column of the grid is as wide as five and a half characters, and margins and
/// the description's mark as ten.
fn titles_fit(dashboard: &Value) -> Findings {
    let room = |panel: &Value| (panel["gridPos"]["w"].as_u64().unwrap() * 11 / 2).saturating_sub(10) as usize;
    let long = panels(dashboard).into_iter().filter(|panel| text(panel, "/title").chars().count() > room(panel));
    long.map(|panel| (text(panel, "/title").to_owned(), format!("has room for {}", room(panel)))).collect()
}

/// The values of the label that names a query's series, where they are a closed set.
fn values(target: &Value) -> Vec<&'static str> {
    fn all<L: Label>() -> Vec<&'static str> {
        L::ALL.iter().map(|value| value.as_str()).collect()
    }
    match text(target, "/legendFormat") {
        "{{session_type}}" => all::<SessionType>(),
        "{{enrollment_state}}" => all::<EnrollmentState>(),
        "{{endpoint}}" => all::<Endpoint>(),
        "{{reason}}" if text(target, "/expr").contains("reports_rejected_total") => all::<RejectReason>(),
        "{{reason}}" => all::<FailureReason>(),
        _ => Vec::new(),
    }
}

/// A colour that depends on which values are there would be another one tomorrow.
fn values_have_their_colors(dashboard: &Value) -> Findings {
    let mut wrong = Vec::new();
    for panel in panels(dashboard) {
        let colored: BTreeSet<_> = fixed_colors(panel).map(|(name, _)| name).collect();
        for value in list(panel, "/targets").flat_map(values).filter(|value| !colored.contains(value)) {
            wrong.push((text(panel, "/title").to_owned(), format!("{value} has no colour of its own")));
        }
    }
    wrong
}

/// Where there are no data, the colour of the lowest threshold would say that all is well.
fn nothing_is_not_well(dashboard: &Value) -> Findings {
    let grey_or_red = |panel: &Value| {
        let mappings = list(panel, "/fieldConfig/defaults/mappings").map(|mapping| &mapping["options"]);
        let mut nothing = mappings.filter(|options| options["match"] == "null").map(|options| &options["result"]);
        nothing
            .any(|result| result["text"] == panel["fieldConfig"]["defaults"]["noValue"] && result["color"] != "green")
    };
    let stats = panels(dashboard).into_iter().filter(|panel| text(panel, "/type") == "stat" && !grey_or_red(panel));
    stats.map(|panel| (text(panel, "/title").to_owned(), "nothing has a threshold's colour".to_owned())).collect()
}

fn ids_are_unique(dashboard: &Value) -> Findings {
    let mut seen = BTreeSet::new();
    let taken = panels_and_rows(dashboard).into_iter().filter(|panel| {
        let id = panel["id"].as_u64();
        id.is_none() || !seen.insert(id)
    });
    taken.map(|panel| (text(panel, "/title").to_owned(), format!("id {}", panel["id"]))).collect()
}

/// Left, right, top and bottom on Grafana's grid of 24 columns.
fn place(panel: &Value) -> [u64; 4] {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
    [x, x + w, y, y + h]
}

fn positions_do_not_overlap(dashboard: &Value) -> Findings {
    let panels = panels_and_rows(dashboard);
    let mut wrong = Vec::new();
    for (number, panel) in panels.iter().enumerate() {
        let [left, right, top, bottom] = place(panel);
        let mut add = |what: String| wrong.push((text(panel, "/title").to_owned(), what));
        if right > 24 || left == right || top == bottom {
            add("outside of the grid".to_owned());
        }
        for other in &panels[..number] {
            let [its_left, its_right, its_top, its_bottom] = place(other);
            if left < its_right && its_left < right && top < its_bottom && its_top < bottom {
                add(format!("on top of {}", text(other, "/title")));
            }
        }
    }
    wrong
}

fn template_tenant(dashboard: &Value) -> Findings {
    let names: Vec<_> = list(dashboard, "/templating/list").map(|variable| text(variable, "/name")).collect();
    let wrong = if names.starts_with(&["datasource", "job", "instance", "tenant"]) {
        super::linter::chooser(dashboard, "tenant", "Tenant")
    } else {
        vec![format!("variables {names:?}")]
    };
    wrong.into_iter().map(|what| ("$tenant".to_owned(), what)).collect()
}
