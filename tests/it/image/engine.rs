//! Buildah and podman with a storage of their own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::support::wait_for;

pub const IMAGE: &str = "localhost/remote-assistance-exporter:test";
/// What the image is told as its revision.
pub const REVISION: &str = "0123456789ab";
pub const STORAGE: &str = "/var/lib/remote-assistance-exporter";
pub const CONFIGURATION: &str = "--config.file=/etc/remote-assistance-exporter/config.yaml";

/// In place of cargo: looks at what it is given, and hands out the program. The repository's other files
/// must not reach the builder.
const CARGO: &str = r#"#!/bin/sh
set -e
[ "$(echo *)" = "Cargo.lock Cargo.toml benches build.rs src target" ] || { echo "the context has: $(echo *)"; exit 1; }
[ "$EXPORTER_REVISION" = 0123456789ab ] || { echo "the revision is: $EXPORTER_REVISION"; exit 1; }
mkdir -p target/release
cp /program target/release/remote-assistance-exporter
"#;

/// The program that `tests/run` has compiled for images and packages.
pub fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/static/remote-assistance-exporter");
    assert!(path.exists(), "{}: tests/run makes it", path.display());
    path
}

/// Builds the image, once.
pub fn image() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let _ = fs::remove_dir_all(room());
        fs::create_dir_all(room().join("tmp")).unwrap();
        stand_in(&room().join("base"));
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dockerfile = fs::read_to_string(repository.join("deploy/docker/Dockerfile")).unwrap();
        let base = dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_IMAGE=")).unwrap();
        let build = |arguments: &[&str], context: &Path| {
            let how = ["--isolation=chroot", "--format=docker", "--pull-never"];
            run(tool("buildah", "bud").args(how).args(arguments).arg(context));
        };
        fs::write(room().join("Base"), "FROM scratch\nCOPY . /\nENV PATH=/bin\n").unwrap();
        build(&[&format!("--tag={base}"), &format!("--file={}", room().join("Base").display())], &room().join("base"));
        let revision = format!("--build-arg=REVISION={REVISION}");
        build(&[&revision, "--file=deploy/docker/Dockerfile", &format!("--tag={IMAGE}")], repository);
    });
}

/// The file system of the base's stand-in.
fn stand_in(root: &Path) {
    for directory in ["bin", "tmp", "etc/ssl/certs"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("tests/run installs busybox-static");
    for name in ["sh", "chmod", "cp", "ln", "mkdir"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::write(root.join("bin/cargo"), CARGO).unwrap();
    fs::set_permissions(root.join("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(program(), root.join("program")).unwrap();
    let authorities = "etc/ssl/certs/ca-certificates.crt";
    fs::copy(Path::new("/").join(authorities), root.join(authorities)).unwrap();
}

/// Where images, containers and volumes are.
fn room() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("image")
}

fn tool(name: &str, command: &str) -> Command {
    let mut tool = Command::new(name);
    tool.current_dir(env!("CARGO_MANIFEST_DIR")).env("TMPDIR", room().join("tmp"));
    // A storage driver that works within containers too.
    tool.arg("--storage-driver=vfs").arg("--root").arg(room().join("storage")).arg("--runroot").arg(room().join("run"));
    if name == "podman" {
        tool.args(["--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=/usr/sbin/runc"]);
    }
    tool.arg(command);
    tool
}

#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    let said = || String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    output
}

/// What podman prints. Its warnings go elsewhere: without systemd, it cannot repeat health checks.
#[track_caller]
pub fn podman(arguments: &[&str]) -> String {
    String::from_utf8(run(tool("podman", arguments[0]).args(&arguments[1..])).stdout).unwrap()
}

/// A container, removed with its anonymous volumes when dropped.
pub struct Container {
    pub name: String,
}

impl Container {
    pub fn start(flags: &[&str], arguments: &[&str]) -> Self {
        // Where the tests may not raise limits, no container may either.
        let limits = ["run", "--detach", "--ulimit=nofile=1024:4096", "--ulimit=nproc=1024:4096"];
        let name = podman(&[&limits, flags, &[IMAGE], arguments].concat());
        Self { name: name.trim().to_owned() }
    }

    pub fn inspect(&self, template: &str) -> String {
        podman(&["container", "inspect", &format!("--format={template}"), &self.name]).trim().to_owned()
    }

    /// The process's id, outside.
    pub fn process(&self) -> u32 {
        self.inspect("{{.State.Pid}}").parse().unwrap()
    }

    /// Where its port is published.
    pub fn published(&self) -> SocketAddr {
        podman(&["port", &self.name, "10112/tcp"]).trim().parse().unwrap()
    }

    /// Where it says that it listens.
    pub fn listening(&self) -> SocketAddr {
        wait_for("its address in the log", || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("msg=Listening "))?;
            line.split("address=").nth(1)?.split(' ').next()?.parse().ok()
        })
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        let output = run(tool("podman", "logs").arg(&self.name));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Asks it to end, kills it if it does not, and returns its status.
    pub fn stop(&self) -> i32 {
        podman(&["stop", "--time=60", &self.name]);
        self.inspect("{{.State.ExitCode}}").parse().unwrap()
    }

    /// Waits for its end, and returns its status.
    pub fn wait(&self) -> i32 {
        podman(&["wait", &self.name]).trim().parse().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = tool("podman", "rm").args(["--force", "--time=0", "--volumes", &self.name]).output();
    }
}

/// A named volume, removed when dropped.
pub struct Volume {
    pub name: String,
}

impl Volume {
    pub fn new() -> Self {
        Self { name: podman(&["volume", "create"]).trim().to_owned() }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = tool("podman", "volume").args(["rm", "--force", &self.name]).output();
    }
}
