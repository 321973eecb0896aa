//! Our own rules: what every panel has, and where it is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Findings, Rule, list, panels, panels_and_rows, text};

pub const RULES: [Rule; 4] = [
    ("panel-says-what-nothing-means", panel_says_what_nothing_means),
    ("ids-are-unique", ids_are_unique),
    ("positions-do-not-overlap", positions_do_not_overlap),
    ("template-tenant-rule", template_tenant),
];

fn panel_says_what_nothing_means(dashboard: &Value) -> Findings {
    let silent = panels(dashboard).into_iter().filter(|panel| text(panel, "/fieldConfig/defaults/noValue").is_empty());
    silent.map(|panel| (text(panel, "/title").to_owned(), "no noValue".to_owned())).collect()
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
