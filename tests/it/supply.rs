//! What the program is made of and how it is released: licences and sources of its crates, the files of a
//! release, and the workflow that publishes them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::tools;

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

/// The files of the release that `tests/run` made.
pub fn release_files() -> Vec<PathBuf> {
    let directory = root().join("target/release-files");
    let files = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory:?}: {error}; tests/run makes it"));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_release_has_an_archive_a_package_their_sbom_and_checksums() {
    let (name, version, machine) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let files = release_files();
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let archive = format!("{name}-{version}-{machine}-linux");
    let package = names.iter().find(|name| name.ends_with(".deb")).unwrap();
    assert!(package.starts_with(&format!("{name}_{version}-1_")), "{package}");
    let (tar, sbom) = (format!("{archive}.tar.gz"), format!("{name}.cdx.json"));
    assert_eq!(names, ["SHA256SUMS", tar.as_str(), sbom.as_str(), package]);
    let mut checked = Command::new("sha256sum");
    checked.args(["--check", "--strict", "SHA256SUMS"]).current_dir(root().join("target/release-files"));
    let output = checked.output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().matches(": OK\n").count(), 3);

    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().to_str().unwrap();
    passes("tar", &["--extract", "--gzip", "--file", files[1].to_str().unwrap(), "--directory", to]);
    let within = directory.path().join(&archive);
    let output = Command::new(within.join(name)).arg("--version").env_clear().output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains(version));
    for file in ["LICENSE", "README.md", "docs/runbooks.md"] {
        assert_eq!(fs::read(within.join(file)).unwrap(), fs::read(root().join(file)).unwrap(), "{file}");
    }
    for shell in ["bash", "fish", "zsh"] {
        let script = fs::read_to_string(within.join(format!("completion/{name}.{shell}"))).unwrap();
        assert!(script == super::shell::completion(shell), "{shell}");
    }
    assert!(within.join(format!("manual/{name}.1")).exists());
    // Nothing in the program tells where it was built.
    let program = fs::read(within.join(name)).unwrap();
    let here = root().to_str().unwrap().as_bytes();
    assert!(!program.windows(here.len()).any(|bytes| bytes == here), "the program names {}", root().display());
}

/// CycloneDX's own schema takes it, and it names every crate that is compiled for the program.
#[test]
fn the_sbom_is_valid_and_whole() {
    const VALIDATE: &str = "import sys\n\
        from cyclonedx.schema import SchemaVersion\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read())\n\
        print(error or 'valid')\n";
    let path = root().join(format!("target/release-files/{}.cdx.json", env!("CARGO_PKG_NAME")));
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(tools::python(VALIDATE, text.as_bytes()), "valid\n");
    assert!(!text.contains(root().to_str().unwrap()), "it tells where it was made");
    let sbom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sbom["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));
    let listed: BTreeSet<_> = sbom["components"].as_array().unwrap().iter().map(of_crate).collect();
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges=normal,build",
            "--target=all",
            "--prefix=none",
            "--format={p}",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let wanted: BTreeSet<_> = String::from_utf8(tree.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(" v"))
        .map(|(name, version)| format!("{name} {}", version.split(' ').next().unwrap()))
        .filter(|name| !name.starts_with(concat!(env!("CARGO_PKG_NAME"), " ")))
        .collect();
    assert!(wanted.len() > 100, "{wanted:?}");
    assert_eq!(wanted.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Name and version of a component.
fn of_crate(component: &Value) -> String {
    format!("{} {}", component["name"].as_str().unwrap(), component["version"].as_str().unwrap())
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
    let scripts = ["tests/run", ".ci/run", "grafana/render/run", "deploy/release/build", "deploy/release/notes"];
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
