//! As much of Markdown as the README uses: sections, tables, code.

use std::collections::BTreeMap;

/// The README.
pub const README: &str = include_str!("../../../README.md");

/// The text below a heading, up to the next one of its level.
#[track_caller]
pub fn section(heading: &str) -> &'static str {
    let below = README.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}")).1;
    below.split("\n## ").next().unwrap()
}

/// The rows of the table in this text whose first column has this heading, as their cells.
#[track_caller]
pub fn table(text: &'static str, heading: &str) -> Vec<Vec<&'static str>> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |")));
    assert!(lines.next().is_some() && lines.next().is_some(), "no table {heading}");
    let rows = lines.map_while(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows: Vec<Vec<_>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    assert!(!rows.is_empty(), "the table {heading} is empty");
    rows
}

/// What stands between backticks.
pub fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The fenced blocks by their language, without their indentation.
pub fn blocks() -> BTreeMap<&'static str, Vec<String>> {
    let mut blocks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let block = lines.by_ref().take_while(|line| line.trim_start() != "```");
        let block = block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
        blocks.entry(language).or_default().push(block);
    }
    blocks
}
