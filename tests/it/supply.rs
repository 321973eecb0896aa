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

/// The version of the Debian package, where a release candidate is older than its release.
pub fn package_version() -> String {
    format!("{}-1", env!("CARGO_PKG_VERSION").replacen('-', "~", 1))
}

#[test]
fn a_release_has_an_archive_a_package_their_sbom_and_checksums() {
    let (name, version, machine) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let files = release_files();
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let archive = format!("{name}-{version}-{machine}-linux");
    let package = names.iter().find(|name| name.ends_with(".deb")).unwrap();
    assert!(package.starts_with(&format!("{name}_{}_", package_version())), "{package}");
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
        let [packed, own] = [within.as_path(), root()].map(|directory| fs::read(directory.join(file)).unwrap());
        assert!(packed == own, "{file}: the release is of another commit");
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

/// What the workflow does.
fn jobs() -> serde_json::Map<String, Value> {
    let workflow = fs::read_to_string(root().join(WORKFLOW)).unwrap();
    let workflow: Value = serde_saphyr::from_str(&workflow).unwrap();
    workflow["jobs"].as_object().unwrap().clone()
}

/// Steps of all jobs.
fn steps() -> Vec<Value> {
    jobs().values().flat_map(|job| job["steps"].as_array().unwrap().clone()).collect()
}

/// The script of a step.
fn script(name: &str) -> String {
    let step = steps().into_iter().find(|step| step["name"] == name).unwrap_or_else(|| panic!("no step {name:?}"));
    step["run"].as_str().unwrap().to_owned()
}

/// `tests/run` asks for Debian's packages, and the compiler is the one of the image.
#[test]
fn the_workflow_tests_on_debian_with_the_images_compiler() {
    let jobs = jobs();
    let runs_tests = |job: &&Value| job["steps"].as_array().unwrap().iter().any(|step| step["run"] == "tests/run");
    let job = jobs.values().find(runs_tests).unwrap();
    let dockerfile = fs::read_to_string(root().join("deploy/docker/Dockerfile")).unwrap();
    let base = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_IMAGE=")).unwrap();
    assert_eq!(job["container"]["image"], base.replace("-slim", ""));
    assert!(base.ends_with("-bookworm"), "{base}");
    assert_eq!(job["defaults"]["run"]["shell"], "bash", "in a container it is sh");
}

/// On its way from a build to the registry. An archive of the OCI format would drop it.
#[test]
fn the_image_keeps_its_health_check() {
    let (build, push) = (script("Build the image"), script("Push the image of both processors"));
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("release-files")).unwrap();
    fs::create_dir_all(directory.path().join("built")).unwrap();
    fs::write(
        directory.path().join("Dockerfile"),
        "FROM scratch\nCOPY file /\nHEALTHCHECK CMD [\"/program\", \"healthcheck\"]\n",
    )
    .unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    // An image of a file in place of the program's, a directory in place of the registry, one processor.
    let build =
        build.replace("deploy/docker/Dockerfile", "Dockerfile").replace("$(git rev-parse --short=12 HEAD)", "0");
    let push = push.replace("\"docker://$name:${TAG#v}\"", "dir:pushed").replace("amd64 arm64", "amd64");
    let script = format!(
        "set -euo pipefail\n\
         buildah() {{ command buildah --storage-driver=vfs --root=\"$PWD/storage\" --runroot=\"$PWD/run\" \"$@\"; }}\n\
         {build}\nmkdir -p built/amd64\nmv release-files/* built/amd64\n{push}"
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).current_dir(&directory).env("TMPDIR", directory.path());
    bash.env("BUILDAH_ISOLATION", "chroot").env("GITHUB_OUTPUT", "output");
    let output = bash.envs([("PLATFORM", "amd64"), ("IMAGE", "registry.example/Image"), ("TAG", "v1.2.3")]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let pushed =
        fs::read_dir(directory.path().join("pushed")).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    let config =
        pushed.filter_map(|bytes| serde_json::from_slice::<Value>(&bytes).ok()).find(|json| json["rootfs"].is_object());
    let config = &config.unwrap()["config"];
    assert_eq!(config["Healthcheck"]["Test"], serde_json::json!(["CMD", "/program", "healthcheck"]), "{config}");
    let told = fs::read_to_string(directory.path().join("output")).unwrap();
    assert!(told.starts_with("name=registry.example/image\ndigest=sha256:"), "{told}");
}

/// What the forge's tool is told of a tag.
fn released(tag: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let script = script("Make the release").replace("deploy/release/notes", "echo notes of");
    let script = format!("set -euo pipefail\ngh() {{ echo \"$@\"; cat; }}\n{script}");
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", &script]).current_dir(&directory).env("TAG", tag).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_candidate_is_no_release_for_everybody() {
    let rest = |tag: &str| format!("--verify-tag --title {tag} --notes-file - files/*\nnotes of {}\n", &tag[1..]);
    assert_eq!(released("v1.2.3"), format!("release create v1.2.3 {}", rest("v1.2.3")));
    assert_eq!(released("v1.2.3-rc.1"), format!("release create v1.2.3-rc.1 --prerelease {}", rest("v1.2.3-rc.1")));
}

/// Checksums are of the names that are downloaded.
#[test]
fn files_of_a_release_have_names_that_the_forge_keeps() {
    let directory = tempfile::tempdir().unwrap();
    for (platform, architecture) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let built = directory.path().join("built").join(platform);
        fs::create_dir_all(&built).unwrap();
        let names =
            [format!("name-1.2.3-rc.1-{architecture}-linux.tar.gz"), format!("name_1.2.3~rc.1-1_{platform}.deb")];
        names.iter().for_each(|name| fs::write(built.join(name), name).unwrap());
        fs::write(built.join("name.cdx.json"), "{}").unwrap();
    }
    let mut bash = Command::new("bash");
    let gathered = bash.args(["-euo", "pipefail", "-c", &script("Gather the files")]).current_dir(&directory).output();
    assert!(gathered.unwrap().status.success());
    let sums = fs::read_to_string(directory.path().join("files/SHA256SUMS")).unwrap();
    let names: Vec<_> = sums.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    let (amd64, arm64) = ("name_1.2.3.rc.1-1_amd64.deb", "name_1.2.3.rc.1-1_arm64.deb");
    let archives = ["name-1.2.3-rc.1-aarch64-linux.tar.gz", "name-1.2.3-rc.1-x86_64-linux.tar.gz"];
    assert_eq!(
        names.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([archives[0], archives[1], "name.cdx.json", amd64, arm64])
    );
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
