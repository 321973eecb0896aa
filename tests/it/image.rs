//! The container image: built from the Dockerfile that users build, run as a cluster runs it.
//!
//! The base image cannot be had everywhere, and compiling takes minutes. So the base has a stand-in of the
//! same name: a shell, and a cargo that hands out the program of the release, compiled by the same
//! command. All else that the Dockerfile says is done.

mod dns;
pub mod engine;
mod rootless;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use remote_assistance_exporter::simulator::TenantOptions;

use super::support::{Lab, Scrape, get, wait_for};
use engine::{CONFIGURATION, Container, IMAGE, REVISION, STORAGE, Volume, image, podman};

const DOCKERFILE: &str = include_str!("../../deploy/docker/Dockerfile");
/// Most bytes of the image. The program has about 21 MB of them.
const MAX_SIZE: u64 = 30_000_000;

/// What Pod Security's "restricted" asks for, and a root file system without a place to write.
const LOCKED: [&str; 4] =
    ["--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges"];

#[test]
fn hadolint_has_nothing_to_say_of_the_dockerfile() {
    let lint = |text: &str| {
        let output = crate::tools::feed(Command::new("target/python/bin/hadolint").arg("-"), text);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert_eq!(lint(DOCKERFILE), "");
    assert!(lint(&format!("{DOCKERFILE}USER root\n")).contains("DL3002"), "it would tell");
}

#[test]
fn it_is_what_the_dockerfile_promises() {
    image();
    let inspected: serde_json::Value = serde_json::from_str(&podman(&["image", "inspect", IMAGE])).unwrap();
    let config = &inspected[0]["Config"];
    assert_eq!(config["User"], "65532:65532", "{config}");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/remote-assistance-exporter"]));
    assert_eq!(config["ExposedPorts"], serde_json::json!({"10112/tcp": {}}));
    assert_eq!(config["Volumes"], serde_json::json!({STORAGE: {}}));
    let labels = &config["Labels"];
    assert_eq!(labels["org.opencontainers.image.title"], env!("CARGO_PKG_NAME"));
    assert_eq!(labels["org.opencontainers.image.description"], env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], env!("CARGO_PKG_LICENSE"));
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"), "ARG VERSION");
    assert_eq!(labels["org.opencontainers.image.revision"], REVISION);
    let healthcheck = &inspected[0]["Healthcheck"]["Test"];
    assert_eq!(*healthcheck, serde_json::json!(["CMD", "/remote-assistance-exporter", "healthcheck"]));
    let size = inspected[0]["Size"].as_u64().unwrap();
    println!("The image has {size} bytes");
    assert!(size < MAX_SIZE, "{size} bytes");
}

/// Whoever is in such a container finds nothing to use.
#[test]
fn it_holds_the_program_the_authorities_and_a_place_for_the_ledger() {
    image();
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("image.tar");
    let container = podman(&["create", IMAGE]);
    podman(&["export", &format!("--output={}", archive.display()), container.trim()]);
    podman(&["rm", "--volumes", container.trim()]);
    let listed =
        Command::new("tar").arg("--list").arg("--verbose").arg("--numeric-owner").arg("--file").arg(&archive).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let entries: BTreeSet<_> = listed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        // What the engine puts there itself, to mount its own over it.
        .filter(|words| !["dev/", "proc/", "sys/", "run/", "tmp/"].iter().any(|own| words[5].starts_with(own)))
        .map(|words| format!("{} {} {}", words[0], words[1], words[5..].join(" ")))
        .collect();
    let expected = BTreeSet::from([
        "-rwxr-xr-x 0/0 remote-assistance-exporter",
        "drwxr-xr-x 0/0 etc/",
        "drwxr-xr-x 0/0 etc/ssl/",
        "drwxr-xr-x 0/0 etc/ssl/certs/",
        "-rw-r--r-- 0/0 etc/ssl/certs/ca-certificates.crt",
        "drwxr-xr-x 0/0 var/",
        "drwxr-xr-x 0/0 var/lib/",
        "lrwxrwxrwx 0/0 var/lib/data -> remote-assistance-exporter",
        "drwxr-x--- 65532/65532 var/lib/remote-assistance-exporter/",
    ]);
    assert_eq!(entries, expected.into_iter().map(str::to_owned).collect(), "{listed}");
}

#[test]
fn the_program_needs_no_library() {
    let read = |flag: &str| {
        let output = Command::new("readelf").arg("--wide").arg(flag).arg(engine::program()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (segments, dynamic) = (read("--program-headers"), read("--dynamic"));
    assert!(segments.contains("LOAD") && !segments.contains("INTERP"), "{segments}");
    assert!(!dynamic.contains("NEEDED"), "{dynamic}");
    // Its addresses are random nevertheless.
    assert!(dynamic.contains("PIE"), "{dynamic}");
}

#[test]
fn the_demo_runs_without_rights() {
    image();
    let demo = Container::start(
        &[&LOCKED[..], &["--publish=127.0.0.1::10112"]].concat(),
        &["demo", "--web.listen-address=:10112"],
    );
    let address = demo.published();
    let answer = wait_for("metrics", || get(address, "/metrics").ok().filter(|answer| answer.status == 200)).text();
    let scrape = Scrape::parse(&answer);
    assert!(scrape.samples.keys().any(|series| series.starts_with("sessions_total{")), "{answer}");
    // By the image's own check, within the container.
    podman(&["healthcheck", "run", &demo.name]);
    assert_eq!(demo.inspect("{{.State.Health.Status}}"), "healthy");

    let status = fs::read_to_string(format!("/proc/{}/status", demo.process())).unwrap();
    let field = |name: &str| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {status}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "65532 65532 65532 65532");
    assert_eq!(field("Gid:"), "65532 65532 65532 65532");
    assert_eq!(field("CapBnd:"), "0000000000000000");
    assert_eq!(field("NoNewPrivs:"), "1");
    let root = format!("/proc/{}/mountinfo", demo.process());
    let mounts = fs::read_to_string(root).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
    // It is process 1, for which no signal works that it does not handle.
    assert_eq!(demo.stop(), 0, "{}", demo.log());
    assert!(demo.log().contains("msg=Stopped"), "{}", demo.log());
}

/// A ledger outlives its container, whether or not its place is given by flag.
#[test]
fn a_new_container_goes_on_with_the_ledger_of_the_volume() {
    image();
    let lab = Lab::new(vec![TenantOptions::new("contoso")], |_| {});
    lab.freeze();
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", "")]);
    fs::rename(configuration, lab.directory.path().join("config.yaml")).unwrap();
    let volume = Volume::new();
    let mounts = [
        format!("--volume={}:/etc/remote-assistance-exporter:ro", lab.directory.path().display()),
        format!("--volume={}:{STORAGE}", volume.name),
    ];
    let flags = [&LOCKED[..], &["--network=host", &mounts[0], &mounts[1]]].concat();
    let start = |more: &[&str]| {
        let arguments = [&[CONFIGURATION, "--web.listen-address=127.0.0.1:0"], more].concat();
        let container = Container::start(&flags, &arguments);
        let address = container.listening();
        let polled = |scrape: &Scrape| scrape.value("polls_total{tenant=\"contoso\"}") > 1.0;
        let scrape = wait_for("two polls", || {
            let answer = get(address, "/metrics").ok().filter(|answer| answer.status == 200)?;
            Some(Scrape::parse(&answer.text())).filter(|scrape| polled(scrape))
        });
        assert_eq!(container.stop(), 0, "{}", container.log());
        scrape
    };
    let counted = |scrape: &Scrape| -> BTreeMap<String, f64> {
        let sessions =
            |(series, value): (&String, f64)| series.starts_with("sessions_total{").then(|| (series.clone(), value));
        scrape.durable_counters().filter_map(sessions).collect()
    };
    let duplicates = |scrape: &Scrape| scrape.value("reports_duplicate_total{tenant=\"contoso\"}");
    let first = start(&[]);
    let sessions: f64 = counted(&first).values().sum();
    assert!(sessions > 0.0, "{first:?}");
    let second = start(&[&format!("--storage.path={STORAGE}")]);
    assert_eq!(counted(&second), counted(&first));
    assert!(duplicates(&second) >= duplicates(&first) + sessions, "{first:?}\n{second:?}");
}

/// A static program of glibc resolves names by what is built into it. In the image there is no
/// nsswitch.conf and no library that it could load.
#[test]
fn names_are_resolved_by_dns_and_by_the_hosts_file() {
    image();
    let dns = dns::Server::start("graph.example", [192, 0, 2, 7]);
    let directory = tempfile::tempdir().unwrap();
    let yaml = "tenants:\n  - name: dns\n    graph_url: https://graph.example:1\n    credential: {kind: none}\n\
                \x20 - name: hosts\n    graph_url: https://other.example:1\n    credential: {kind: none}\n\
                \x20 - name: nobody\n    graph_url: https://nobody.example:1\n    credential: {kind: none}\n";
    fs::write(directory.path().join("config.yaml"), yaml).unwrap();
    let mount = format!("--volume={}:/etc/remote-assistance-exporter:ro", directory.path().display());
    let dns_flag = format!("--dns={}", dns.address());
    let flags = [&LOCKED[..], &["--network=host", &dns_flag, "--add-host=other.example:192.0.2.8", &mount]].concat();
    let container = Container::start(&flags, &[CONFIGURATION, "check", "--output=json"]);
    assert_eq!(container.wait(), 1, "192.0.2.0/24 answers nobody");
    let found = container.log();
    for part in ["192.0.2.7", "192.0.2.8", "nobody.example"] {
        assert!(found.contains(part), "{part}: {found}");
    }
}

/// The stand-in compiles nothing, so that is held here: what it hands out was compiled as the Dockerfile does.
#[test]
fn a_release_is_compiled_as_the_dockerfile_does() {
    let command = |text: &str| {
        let start = text.find("cargo rustc ").unwrap();
        text[start..].lines().next().unwrap().trim_end_matches([' ', '\\']).to_owned()
    };
    assert_eq!(command(include_str!("../../deploy/release/build")), command(DOCKERFILE));
    assert!(fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap().size() > 0);
}
