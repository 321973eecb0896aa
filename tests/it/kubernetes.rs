//! The Helm chart and kustomize's manifests: rendered, held against schemas and Pod Security, and run. The tests
//! are in Python, beside what they need (`tests/kubernetes`); each module is one test here.

use std::path::Path;
use std::process::Command;

#[track_caller]
fn passes(module: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(root.join("target/python/bin/python"));
    python.args(["-B", "-m", "unittest", module]).current_dir(root.join("tests/kubernetes"));
    python.env("EXPORTER", env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    let output = python.output().expect("tests/run installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("Ran 0 tests") && !said.contains("skipped"), "{said}");
}

#[test]
fn every_rendering_is_what_kubernetes_and_pod_security_want() {
    passes("test_renderings");
}

#[test]
fn values_do_what_they_say_and_wrong_ones_are_refused() {
    passes("test_values");
}

#[test]
fn the_steps_of_a_resize_hold() {
    passes("test_resize");
}

#[test]
fn rules_dashboards_and_kustomize_are_of_one_source() {
    passes("test_sources");
}

#[test]
fn the_exporter_understands_the_manifests() {
    passes("test_program");
}
