//! The report for people: aligned, a line a finding. Colours are in the text; whoever writes it leaves
//! them out where they are not wanted.

use std::fmt::{Display, Write as _};

use anstyle::{AnsiColor, Style};

use super::{Report, Verdict, message, word};
use crate::session::Label as _;
use crate::source::probe::{
    Certificate, Clock, Columns, Configuration, Connection, Detail, Host, Outcome, PageRead, Permission, PropertyFound,
    Step, StepName, Token, Trust,
};

/// Between two columns.
const GAP: &str = "  ";

/// One tenant. What was not asked for, as it would have been `offline`, is left out.
pub(super) fn tenant(report: &Report, offline: bool) -> String {
    let verdict = report.verdict();
    let bold = Style::new().bold();
    let shard = match report.shard {
        (_, 1) => String::new(),
        (shard, total) => format!(" (shard {shard} of 0 to {})", total - 1),
    };
    let mut text = format!("{bold}{}{bold:#}{shard}: {}\n", report.tenant, painted(verdict.as_str(), color(verdict)));
    let steps = || report.steps.iter().filter(|step| !(offline && matches!(step.outcome, Outcome::NotApplicable(_))));
    let names = width(steps().map(|step| title(step.name)));
    let words = width(steps().map(|step| shown(&step.outcome)));
    let indent = GAP.len() * 3 + names + words;
    for step in steps() {
        let outcome = shown(&step.outcome);
        let padding = " ".repeat(words - outcome.len());
        let mut lines = lines(step).into_iter();
        let first = lines.next().unwrap_or_default();
        // Writing to a string does not fail.
        let head =
            format!("{GAP}{:names$}{GAP}{}{padding}{GAP}{first}", title(step.name), painted(outcome, style(step)));
        let _ = writeln!(text, "{}", head.trim_end());
        for line in lines {
            let _ = writeln!(text, "{:indent$}{line}", "");
        }
    }
    text + "\n"
}

/// What is no tenant's: findings with their names.
pub(super) fn block(name: &str, verdict: Verdict, findings: &[(&str, String)]) -> String {
    let bold = Style::new().bold();
    let mut text = format!("{bold}{name}{bold:#}: {}\n", painted(verdict.as_str(), color(verdict)));
    let names = width(findings.iter().map(|(name, _)| *name));
    for (name, found) in findings {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{GAP}{name:names$}{GAP}{found}");
    }
    text + "\n"
}

/// The last line.
pub(super) fn summary(reports: &[Report]) -> String {
    if reports.is_empty() {
        return "no tenant is this shard's\n".to_owned();
    }
    let count = |verdict| reports.iter().filter(|report| report.verdict() == verdict).count();
    let counts = [(Verdict::Fine, "ok"), (Verdict::Warning, "with warnings"), (Verdict::Failed, "failed")];
    let counts: Vec<_> = counts
        .into_iter()
        .map(|(verdict, name)| (count(verdict), verdict, name))
        .filter(|(number, ..)| *number > 0)
        .map(|(number, verdict, name)| painted(&format!("{number} {name}"), color(verdict)))
        .collect();
    let tenants = if reports.len() == 1 { "tenant" } else { "tenants" };
    format!("{} {tenants}: {}\n", reports.len(), counts.join(", "))
}

fn title(name: StepName) -> &'static str {
    match name {
        StepName::NameResolution => "name resolution",
        StepName::Tls => "TLS",
        other => other.as_str(),
    }
}

fn shown(outcome: &Outcome) -> &'static str {
    if matches!(outcome, Outcome::NotApplicable(_)) { "-" } else { word(outcome) }
}

fn color(verdict: Verdict) -> Style {
    let color = match verdict {
        Verdict::Fine => AnsiColor::Green,
        Verdict::Warning => AnsiColor::Yellow,
        Verdict::Failed => AnsiColor::Red,
    };
    color.on_default()
}

fn style(step: &Step) -> Style {
    match step.outcome {
        Outcome::Fine => color(Verdict::Fine),
        Outcome::Warning(_) => color(Verdict::Warning),
        Outcome::Failed(_) => color(Verdict::Failed),
        Outcome::Skipped(_) | Outcome::NotApplicable(_) => Style::new().dimmed(),
    }
}

fn painted(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// What is said of a step, the message first.
fn lines(step: &Step) -> Vec<String> {
    let mut lines: Vec<_> = message(&step.outcome).into_iter().collect();
    lines.extend(step.detail.as_ref().map_or_else(Vec::new, details));
    lines
}

fn details(detail: &Detail) -> Vec<String> {
    match detail {
        Detail::Configuration(found) => configuration(found),
        Detail::Hosts(found) => aligned(found.iter().map(host).collect()),
        Detail::Connections(found) => aligned(found.iter().map(connection).collect()),
        Detail::Token(found) => token(found),
        Detail::Permission(found) => permission(found),
        Detail::Page(found) => page(found),
        Detail::Columns(found) => columns(found),
        Detail::Clock(found) => vec![clock(*found)],
    }
}

fn configuration(found: &Configuration) -> Vec<String> {
    let mut rows = vec![
        vec!["source".to_owned(), found.source.to_owned()],
        vec!["credential".to_owned(), found.credential.to_owned()],
        vec!["graph_url".to_owned(), found.graph_url.clone()],
    ];
    rows.extend(found.authority_url.iter().map(|url| vec!["authority_url".to_owned(), url.clone()]));
    rows.extend(found.files.iter().map(|file| vec!["file".to_owned(), file.display().to_string()]));
    aligned(rows)
}

fn host(host: &Host) -> Vec<String> {
    if let Some(proxy) = &host.proxy {
        return vec![host.name.clone(), format!("resolved by the proxy {proxy}")];
    }
    let addresses = if host.addresses.is_empty() { "no address".to_owned() } else { list(&host.addresses) };
    vec![host.name.clone(), addresses]
}

fn connection(found: &Connection) -> Vec<String> {
    if let Some(proxy) = &found.proxy {
        return vec![
            found.authority.clone(),
            format!("by the proxy {proxy}; the next steps show whether it is reached"),
        ];
    }
    let Some(address) = found.address else {
        return vec![found.authority.clone(), "not reached".to_owned()];
    };
    let mut facts = vec![address.to_string(), found.version.unwrap_or("no TLS").to_owned()];
    facts.extend(found.certificate.iter().map(certificate));
    facts.extend(found.trusted_by.map(|trust| match trust {
        Trust::System => "trusted by the system's certificates".to_owned(),
        Trust::CaFile => "trusted by ca_file".to_owned(),
    }));
    vec![found.authority.clone(), facts.join(", ")]
}

fn certificate(found: &Certificate) -> String {
    format!("certificate of {} issued by {}, until {}", found.subject, found.issuer, found.not_after.format("%Y-%m-%d"))
}

fn token(found: &Token) -> Vec<String> {
    let mut rows = Vec::new();
    rows.extend(found.expires.map(|at| vec!["expires".to_owned(), at.format("%Y-%m-%d %H:%M:%S UTC").to_string()]));
    let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { list(names) };
    rows.extend(found.roles.iter().map(|roles| vec!["roles".to_owned(), names(roles)]));
    rows.extend(
        found.scopes.iter().filter(|scopes| !scopes.is_empty()).map(|scopes| vec!["scopes".to_owned(), names(scopes)]),
    );
    aligned(rows)
}

fn permission(found: &Permission) -> Vec<String> {
    found.found.iter().map(|name| (*name).to_owned()).collect()
}

fn page(found: &PageRead) -> Vec<String> {
    let rows = match (found.rows, found.total) {
        (Some(rows), Some(total)) => format!("{rows} of {total} rows"),
        (Some(rows), None) => format!("{rows} rows"),
        (None, Some(total)) => format!("an answer came, and promises {total} rows"),
        (None, None) => "an answer came".to_owned(),
    };
    vec![rows]
}

fn columns(found: &Columns) -> Vec<String> {
    let is_there =
        |property: &&PropertyFound| if found.mapped { !property.columns.is_empty() } else { property.reported > 0 };
    let (there, absent): (Vec<_>, Vec<_>) = found.properties.iter().partition(is_there);
    let mut rows = vec![vec!["property".to_owned(), "column".to_owned(), "reported".to_owned(), "values".to_owned()]];
    rows.extend(there.iter().map(|property| {
        let values: Vec<_> = property.values.iter().map(|(value, times)| format!("{value} {times}")).collect();
        let required = if property.required { " (required)" } else { "" };
        vec![
            format!("{}{required}", property.property.name()),
            property.columns.join(", "),
            format!("{} of {}", property.reported, found.rows),
            values.join(", "),
        ]
    }));
    if !found.mapped {
        rows.iter_mut().for_each(|row| drop(row.remove(1)));
    }
    let mut lines = vec![format!("{} of {} properties are there", there.len(), found.properties.len())];
    lines.extend(aligned(rows));
    let names: Vec<_> = absent.iter().map(|property| property.property.name()).collect();
    let more =
        [("not there", names), ("columns without a property", found.unused.iter().map(String::as_str).collect())];
    lines.extend(
        more.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| format!("{what}: {}", names.join(", "))),
    );
    lines
}

fn clock(found: Clock) -> String {
    // The service tells whole seconds.
    let seconds = found.ahead().num_seconds();
    match seconds {
        -1..=1 => "agrees with the service's to a second".to_owned(),
        2.. => format!("{seconds} s ahead of the service's"),
        _ => format!("{} s behind the service's", -seconds),
    }
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn width<'a>(cells: impl Iterator<Item = &'a str>) -> usize {
    cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
}

/// Rows as lines, each column as wide as its widest cell.
fn aligned(rows: Vec<Vec<String>>) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<_> =
        (0..columns).map(|column| width(rows.iter().filter_map(|row| row.get(column)).map(String::as_str))).collect();
    let line = |row: Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.into_iter().map(line).collect()
}
