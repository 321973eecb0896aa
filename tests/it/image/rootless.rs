//! Rootless: run by a user of the machine who is nobody special and may do nothing.
//!
//! The user is one for these tests alone: the files that tell of users are other ones in a namespace of mounts.
//! Where the tests are not root's, it is who runs them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::engine::{IMAGE, STORAGE, image, podman, run};
use super::{LOCKED, Scrape, get, wait_for};

const USER: u32 = 54_321;
/// The user's own numbers, of which those of the container's users are made.
const FIRST_SUBORDINATE: u32 = 600_000;

/// Becomes the user, for a command.
const BECOME: &str = r#"
for file in passwd group subuid subgid; do mount --bind "$ETC/$file" "/etc/$file"; done
exec setpriv --reuid=54321 --regid=54321 --clear-groups "$@"
"#;

/// A user with an engine of his own.
struct User {
    room: tempfile::TempDir,
    is_root: bool,
}

impl User {
    fn new() -> Self {
        let user = Self { room: tempfile::tempdir().unwrap(), is_root: rustix::process::geteuid().is_root() };
        for (directory, mode) in [("", 0o755), ("etc", 0o755), ("home", 0o700), ("run", 0o700)] {
            let path = user.path(directory);
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        if user.is_root {
            for directory in ["home", "run"] {
                chown(user.path(directory), Some(USER), Some(USER)).unwrap();
            }
            let subordinates = format!("tester:{FIRST_SUBORDINATE}:65536");
            for (file, line) in [
                ("passwd", format!("tester:x:{USER}:{USER}::{}:/bin/sh", user.path("home").display())),
                ("group", format!("tester:x:{USER}:")),
                ("subuid", subordinates.clone()),
                ("subgid", subordinates),
            ] {
                let others = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
                fs::write(user.path("etc").join(file), format!("{}\n{line}\n", others.trim_end())).unwrap();
            }
        }
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// What the user's engine prints.
    #[track_caller]
    fn podman(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.run(arguments).stdout).unwrap()
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Output {
        let engine = [
            "podman",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
            "--runtime=/usr/sbin/runc",
        ];
        let by: &[&str] = if self.is_root { &["unshare", "--mount", "sh", "-euc", BECOME, "sh"] } else { &["env"] };
        let words = [by, &engine, arguments].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.room.path()).env("ETC", self.path("etc"));
        command
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("TMPDIR", self.path("home"));
        run(&mut command)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // What belongs to the container's users goes as well, and then the process that keeps their namespace.
        self.podman(&["system", "reset", "--force"]);
        self.podman(&["system", "migrate"]);
    }
}

/// A demo of this user's, read-only and without rights, that keeps its ledger on a volume.
struct Demo<'a> {
    user: &'a User,
    name: String,
}

impl<'a> Demo<'a> {
    fn start(user: &'a User) -> Self {
        let volume = format!("--volume=ledger:{STORAGE}");
        let run =
            ["run", "--detach", "--network=host", "--ulimit=nofile=1024:4096", "--ulimit=nproc=1024:4096", &volume];
        let name = user.podman(&[&run[..], &LOCKED, &[IMAGE, "demo", "--web.listen-address=127.0.0.1:0"]].concat());
        Self { user, name: name.trim().to_owned() }
    }

    /// Its first sessions.
    fn scrape(&self) -> Scrape {
        let address = wait_for("its address in the log", || {
            let log = String::from_utf8(self.user.run(&["logs", &self.name]).stderr).unwrap();
            let line = log.lines().find(|line| line.contains("msg=Listening "))?.to_owned();
            line.split("address=").nth(1)?.split(' ').next()?.parse().ok()
        });
        wait_for("sessions", || {
            let scrape = Scrape::parse(&get(address, "/metrics").ok()?.text());
            (scrape.sum("sessions_total", &[]) > 0.0).then_some(scrape)
        })
    }

    fn stop(&self) {
        self.user.podman(&["stop", "--time=60", &self.name]);
        assert_eq!(self.user.podman(&["wait", &self.name]).trim(), "0");
    }
}

#[test]
fn it_runs_for_a_user_without_rights_and_goes_on_with_its_ledger() {
    image();
    let user = User::new();
    let archive = user.path("image.tar");
    podman(&["save", &format!("--output={}", archive.display()), IMAGE]);
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).unwrap();
    user.podman(&["load", "--input", archive.to_str().unwrap()]);
    assert_eq!(user.podman(&["info", "--format={{.Host.Security.Rootless}}"]).trim(), "true");

    let first = Demo::start(&user);
    let before = first.scrape();
    let process = user.podman(&["container", "inspect", "--format={{.State.Pid}}", &first.name]);
    let status = fs::read_to_string(format!("/proc/{}/status", process.trim())).unwrap();
    let of = |field: &str| status.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned();
    let owner: u32 = of("Uid:").split_whitespace().next().unwrap().parse().unwrap();
    assert!(!user.is_root || owner == FIRST_SUBORDINATE + 65_532 - 1, "outside it is nobody: {owner}");
    assert_eq!([of("CapBnd:"), of("CapEff:")], ["0000000000000000"; 2]);
    first.stop();

    let second = Demo::start(&user);
    let after = second.scrape();
    for (series, value) in before.durable_counters() {
        assert!(after.value(series) >= value, "{series} went down from {value}");
    }
    second.stop();
}
