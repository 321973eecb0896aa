//! What the program is made of and how it is released: licences and sources of its crates, and the
//! release workflow.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const WORKFLOW: &str = ".github/workflows/release.yml";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program of the root; `tests/run` installs it.
fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}; tests/run installs it"))
}

#[track_caller]
fn passes(program: &str, arguments: &[&str]) {
    let output = run(program, arguments);
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {said}{complained}");
}

#[test]
fn licences_crates_and_sources_are_those_that_are_allowed() {
    let cargo_deny = root().join("target/tools/bin/cargo-deny");
    passes(cargo_deny.to_str().unwrap(), &["--offline", "--locked", "check", "licenses", "bans", "sources"]);
}

#[test]
fn the_workflow_has_the_forges_schema_and_no_known_weakness() {
    passes("target/python/bin/check-jsonschema", &["--builtin-schema", "vendor.github-workflows", WORKFLOW]);
    passes("target/python/bin/zizmor", &["--offline", "--persona", "pedantic", "--quiet", WORKFLOW]);
}

/// Steps of all jobs.
fn steps() -> Vec<Value> {
    let workflow = fs::read_to_string(root().join(WORKFLOW)).unwrap();
    let workflow: Value = serde_saphyr::from_str(&workflow).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap();
    jobs.values().flat_map(|job| job["steps"].as_array().unwrap().clone()).collect()
}

#[test]
fn shell_scripts_are_sound() {
    let scripts =
        ["tests/run", ".ci/run", "deploy/release/build", "deploy/release/notes", "deploy/release/environment"];
    passes("shellcheck", &[&["--shell=bash", "--external-sources"][..], &scripts].concat());
    let runs: Vec<_> = steps().iter().filter_map(|step| step["run"].as_str().map(str::to_owned)).collect();
    assert!(runs.len() > 5, "{runs:?}");
    for script in runs {
        let mut shellcheck = Command::new("shellcheck");
        let mut child =
            shellcheck.args(["--shell=bash", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

/// A tag can be moved to other code; a commit cannot.
#[test]
fn actions_are_pinned_by_commit() {
    let steps = steps();
    let used: Vec<_> = steps.iter().filter_map(|step| step["uses"].as_str()).collect();
    assert!(used.len() > 5, "{used:?}");
    for action in used {
        let commit = action.rsplit_once('@').unwrap().1;
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
    }
}

/// Every file that the workflow runs is here and may be executed.
#[test]
fn the_workflows_scripts_exist() {
    for script in ["tests/run", "deploy/release/build", "deploy/release/notes"] {
        let workflow = fs::read_to_string(root().join(WORKFLOW)).unwrap();
        assert!(workflow.contains(script), "{script} is not used");
        passes("test", &["-x", script]);
    }
}

#[test]
fn notes_of_a_release_are_its_part_of_the_changelog() {
    let notes = run("deploy/release/notes", &["Unreleased"]);
    let text = String::from_utf8(notes.stdout).unwrap();
    assert!(notes.status.success() && text.contains("### Added") && !text.contains("\n## "), "{text}");
    let none = run("deploy/release/notes", &["99.0.0"]);
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(none.stderr).unwrap(),
        "CHANGELOG.md: nothing under '## 99.0.0'; give what is unreleased that heading\n"
    );
}
