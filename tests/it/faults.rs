//! Every fault scenario of the simulator, met by the real client in process: what it asked, what it
//! gave, what its observer heard, and what it says went wrong.
//!
//! - `service`: throttling and failures that pass or stay; time-outs.
//! - `bodies`: answers that are no report, cut off, or without an end.
//! - `access`: tokens, permissions, and addresses that the token must not reach.
//! - `paging`: links and totals that lead astray.
//! - `exports`: export jobs that go astray, and downloads of all kinds.
//! - `rows`: rows that are double, disordered, unknown or broken.

mod access;
pub mod bench;
mod bodies;
mod exports;
mod paging;
mod rows;
mod service;

use remote_assistance_exporter::simulator::Scenario;

/// Every scenario, by the module that has it: a new one must find its place.
#[test]
fn every_scenario_has_a_test() {
    let tests = [
        ("networks", include_str!("networks/limits.rs")),
        ("access", include_str!("faults/access.rs")),
        ("bodies", include_str!("faults/bodies.rs")),
        ("downloads", include_str!("faults/exports/downloads.rs")),
        ("jobs", include_str!("faults/exports/jobs.rs")),
        ("paging", include_str!("faults/paging.rs")),
        ("rows", include_str!("faults/rows.rs")),
        ("service", include_str!("faults/service.rs")),
    ];
    // Those of export jobs are the simulator's alone until the client reads exports.
    let of_exports =
        |scenario: &Scenario| ["job-", "download-", "zip-"].iter().any(|start| scenario.as_str().starts_with(start));
    for scenario in Scenario::ALL.iter().filter(|scenario| **scenario != Scenario::None && !of_exports(scenario)) {
        let name = format!("Scenario::{scenario:?}");
        let is_named = |text: &str| {
            text.match_indices(&name).any(|(at, _)| !text[at + name.len()..].starts_with(char::is_alphanumeric))
        };
        assert!(tests.iter().any(|(_, text)| is_named(text)), "no test of {name}");
    }
}
