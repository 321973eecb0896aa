//! Many tenants, many exporters: who owns what, and how tenants move with all that was counted of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use remote_assistance_exporter::simulator::TenantOptions;

use crate::support::{Exporter, Lab, Scrape, get, wait_for};
use crate::truth::{Watch, counted};

const TENANTS: usize = 12;

fn names() -> Vec<String> {
    (0..TENANTS).map(|number| format!("tenant-{number}")).collect()
}

fn lab(live_per_second: f64) -> Lab {
    let options = |name: &String| TenantOptions { sessions_per_day: 3.0, live_per_second, ..TenantOptions::new(name) };
    Lab::new(names().iter().map(options).collect(), |_| ())
}

/// The configuration of all shards.
fn configuration(lab: &Lab) -> PathBuf {
    let names = names();
    let keys = "source: {kind: sessions_report, page_size: 500}";
    lab.configuration("poll_interval: 1s", &names.iter().map(|name| (name.as_str(), keys)).collect::<Vec<_>>())
}

/// Flags of one pod: its own ledger, and the configuration that all have.
fn pod(lab: &Lab, ordinal: usize, total: usize) -> Vec<String> {
    vec![
        format!("--config.file={}", lab.directory.path().join("exporter.yaml").display()),
        format!("--storage.path={}", lab.directory.path().join(format!("data-{ordinal}")).display()),
        format!("--pod=exporter-{ordinal}"),
        format!("--total-shards={total}"),
    ]
}

fn start(lab: &Lab, total: usize) -> Vec<Exporter> {
    (0..total).map(|ordinal| Exporter::start(pod(lab, ordinal, total))).collect()
}

fn run<S: AsRef<str>>(lab: &Lab, arguments: &[S]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.current_dir(lab.directory.path()).stdin(Stdio::null());
    command.args(arguments.iter().map(AsRef::as_ref)).output().unwrap()
}

/// Runs `ledger` with these words and a pod's flags; what it logs.
#[track_caller]
fn ledger(lab: &Lab, words: &[&str], flags: &[String]) -> String {
    let mut arguments = vec!["ledger".to_owned()];
    arguments.extend(words.iter().map(ToString::to_string));
    arguments.extend_from_slice(flags);
    let output = run(lab, &arguments);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words:?}: {log}");
    log
}

/// What they show together; panics where one tenant is shown by two of them.
#[track_caller]
fn scrape(pods: &mut [Exporter]) -> Scrape {
    let texts: Vec<_> = pods.iter_mut().map(|pod| get(pod.address(), "/metrics").unwrap().text()).collect();
    let mut owners = BTreeMap::<&str, usize>::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        if let Some(series) = line.strip_prefix("remote_assistance_poll_interval_seconds") {
            *owners.entry(series.split(' ').next().unwrap()).or_default() += 1;
        }
    }
    assert!(owners.values().all(|shown| *shown == 1), "{owners:?}");
    assert_eq!(owners.len(), TENANTS, "{owners:?}");
    Scrape::parse(&texts.concat())
}

/// Polls on until every tenant has more sessions than before.
fn wait_for_more(pods: &mut [Exporter], before: &Scrape, watch: &Watch) -> Scrape {
    wait_for("sessions of every tenant", || {
        let now = scrape(pods);
        watch.see(&now);
        names().iter().all(|name| counted(&now, name) > counted(before, name)).then_some(now)
    })
}

fn stop(pods: Vec<Exporter>) {
    pods.into_iter().for_each(|pod| drop(pod.stop()));
}

/// The steps of `docs/sharding.md`, up to three pods and down to two again, while sessions go on.
#[test]
fn a_resize_carries_every_total_and_loses_and_doubles_no_session() {
    let lab = lab(3.0);
    configuration(&lab);
    let watch = Watch::default();
    let mut pods = start(&lab, 2);
    for pod in &mut pods {
        pod.address();
    }
    let before = wait_for_more(&mut pods, &Scrape::default(), &watch);
    assert_eq!((before.value("exporter_total_shards"), before.value("exporter_configured_tenants")), (2.0, 12.0));
    stop(pods);

    let mut moved = 0;
    for ordinal in 0..2 {
        let file = format!("moving-{ordinal}.jsonl");
        let log =
            ledger(&lab, &["export", "--moving", "--remove", &format!("--output={file}")], &pod(&lab, ordinal, 3));
        moved += log.matches("Exported a tenant").count();
        ledger(&lab, &["import", &file], &pod(&lab, 2, 3));
    }
    assert!((1..=8).contains(&moved), "{moved} of 12 tenants moved; a third should");
    let mut pods = start(&lab, 3);
    for pod in &mut pods {
        pod.address();
    }
    // The first scrape has what the ledgers hold: nothing is below what the two pods showed.
    watch.see(&scrape(&mut pods));
    let ordinals: Vec<_> = pods.iter_mut().map(|pod| pod.scrape().value("exporter_shard_ordinal")).collect();
    assert_eq!(ordinals, [0.0, 1.0, 2.0]);
    let of_new = pods[2].status();
    assert_eq!(of_new["tenants"].as_array().unwrap().len(), moved);
    assert_eq!(of_new["shard"], serde_json::json!({"ordinal": 2, "total": 3, "tenants_configured": 12}));
    let page = get(pods[2].address(), "/").unwrap().text();
    assert!(page.contains(&format!("{moved} of 12 tenants are this shard's")), "{page}");
    let after = wait_for_more(&mut pods, &before, &watch);
    stop(pods);

    ledger(&lab, &["export", "--all", "--remove", "--output=back.jsonl"], &pod(&lab, 2, 3)[1..2]);
    for ordinal in 0..2 {
        ledger(&lab, &["import", "back.jsonl"], &pod(&lab, ordinal, 2));
    }
    let mut pods = start(&lab, 2);
    for pod in &mut pods {
        pod.address();
    }
    watch.see(&scrape(&mut pods));
    wait_for_more(&mut pods, &after, &watch);
    let now = lab.freeze();
    let truths: Vec<_> =
        names().iter().map(|name| (name.clone(), lab.simulator.tenant(name).unwrap().truth(now))).collect();
    let last = wait_for("the truth", || {
        let shown = scrape(&mut pods);
        truths.iter().all(|(name, truth)| counted(&shown, name) >= truth.ended as f64).then_some(shown)
    });
    for (name, truth) in &truths {
        for (session_type, of_type) in &truth.by_type {
            let labels = format!("{{session_type=\"{session_type}\",tenant=\"{name}\"}}");
            assert_eq!(last.value(&format!("sessions_total{labels}")), of_type.sessions as f64, "{labels}");
            let seconds = last.value(&format!("session_duration_seconds_sum{labels}"));
            assert!((seconds - of_type.duration_ticks as f64 / 1e7).abs() < 1e-3, "{labels}: {seconds}");
        }
        assert_eq!(counted(&last, name), truth.ended as f64, "{name}");
    }
    stop(pods);
}

/// Runs a command that fails: with this status, and a last line that has these parts.
#[track_caller]
fn refused(lab: &Lab, arguments: &[&str], code: i32, parts: &[&str]) {
    let output = run(lab, arguments);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {log}");
    let line = log.lines().last().unwrap_or_default();
    assert!(line.starts_with("remote-assistance-exporter: error: "), "the error is one line, the last: {log}");
    assert!(parts.iter().all(|part| line.contains(part)), "{arguments:?}: {line}");
}

const STORAGE: &str = "--storage.path=data-0";

/// A lab of which the first of two pods has a ledger.
fn lab_with_a_ledger() -> Lab {
    let lab = lab(0.0);
    configuration(&lab);
    let mut first = Exporter::start(pod(&lab, 0, 2));
    first.wait_for_scrape("a poll", |scrape| scrape.sum("up", &[]) >= 1.0);
    let open: &[&str] = &["another process has this ledger open", "stop it"];
    refused(&lab, &["ledger", "export", "--all", STORAGE], 74, open);
    fs::write(lab.directory.path().join("x"), "{}\n").unwrap();
    refused(&lab, &["ledger", "import", "x", STORAGE], 74, open);
    first.stop();
    lab
}

/// What an administrator reads who forgot a step, or mistook a pod or a file for another.
#[test]
fn what_does_not_fit_is_told_on_one_line() {
    let lab = lab_with_a_ledger();
    let refused = |arguments: &[&str], code, parts: &[&str]| refused(&lab, arguments, code, parts);
    refused(&["ledger", "import", "y", STORAGE], 1, &["y: cannot read the export"]);
    refused(&["ledger", "import", "x", "--storage.path=new"], 74, &["x: not an export", "`ledger export` wrote"]);
    refused(&["ledger", "import", "--storage.path=new"], 74, &["standard input: not an export"]);
    #[cfg(target_os = "linux")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
        command.current_dir(lab.directory.path()).args(["ledger", "export", "--all", STORAGE]);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(74));
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains("error: standard output: the export cannot be written (No space left"), "{log}");
    }
    refused(&["ledger", "export", "--all", "--storage.path=none"], 74, &["there is no ledger"]);
    refused(&["ledger", "export", "--tenant=x", STORAGE], 74, &["no tenant is named x; there are tenant-"]);
    refused(&["ledger", "export", STORAGE], 64, &["required", "--tenant", "--moving"]);
    refused(&["ledger", "export", "--all", "--tenant=x", STORAGE], 64, &["cannot be used with"]);
    refused(&["ledger", "export", "--all", "--remove", STORAGE], 64, &["--output"]);
    refused(
        &["ledger", "export", "--all", "--output=x", STORAGE],
        64,
        &["--output x: there is such a file", "import it, or"],
    );
    let config = "--config.file=exporter.yaml";
    let moving = ["ledger", "export", "--moving", config, STORAGE];
    refused(&moving, 64, &["--moving: one shard owns every tenant; give --total-shards"]);
    refused(&[&moving[..], &["--shard=0"]].concat(), 64, &["--moving: one shard owns every tenant"]);
    refused(&["ledger", "import", "x", STORAGE, "--total-shards=2", config], 64, &["Give --shard or --pod"]);
    refused(&["ledger", "import", "x", STORAGE, "--replace"], 64, &["not provided: --tenant"]);
    let other = format!("--tenant={}", owned(&lab, 1)[0]);
    let misplaced = ["ledger", "import", "x", STORAGE, &other, "--shard=0", "--total-shards=2", config];
    refused(&misplaced, 64, &[&other, "of 2 shards it is another's than 0; import it there"]);
    for (flags, part) in [
        (&["--shard=2", "--total-shards=2"][..], "--shard: shard 2 is not below --total-shards=2"),
        (&["--shard=1"], "--shard: shard 1 is not below --total-shards=1"),
        (&["--pod=exporter", "--total-shards=2"], "--pod: \"exporter\" does not end in an ordinal"),
        (&["--pod=exporter-5", "--total-shards=2"], "--pod: shard 5 is not below --total-shards=2"),
        (&["--total-shards=2"], "Give --shard or --pod"),
        (&["--total-shards=0"], "choose a number from 1 to 1000"),
        (&["--shard=0", "--pod=a-0"], "cannot be used with"),
    ] {
        for command in [&[][..], &["once"], &["ledger", "export", "--moving"]] {
            refused(&[command, flags, &[config, STORAGE]].concat(), 64, &[part]);
        }
    }
}

/// The tenants that are a shard's of two, as `check` tells.
fn owned(lab: &Lab, ordinal: usize) -> Vec<String> {
    let mut arguments = vec!["check".to_owned(), "--offline".to_owned(), "--output=json".to_owned()];
    arguments.extend(pod(lab, ordinal, 2));
    let report: serde_json::Value = serde_json::from_slice(&run(lab, &arguments).stdout).unwrap();
    let tenants = report["tenants"].as_array().unwrap();
    tenants.iter().map(|tenant| tenant["tenant"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn check_tells_whose_each_tenant_is() {
    let lab = lab(0.0);
    configuration(&lab);
    let (mine, other) = (owned(&lab, 0), owned(&lab, 1));
    assert_eq!(mine.len() + other.len(), TENANTS);
    let check = run(&lab, &["check", "--offline", "--config.file=exporter.yaml", "--total-shards=2"]);
    let table = String::from_utf8(check.stdout).unwrap();
    assert!(table.contains(&format!("{} (shard 1 of 0 to 1): ok", other[0])), "{table}");
    assert_eq!(table.matches("(shard 0 of 0 to 1)").count(), mine.len());
}

/// Started as if nothing had been, it would count the look-back window once more.
#[test]
fn a_tenant_that_was_taken_out_is_not_counted_from_the_start() {
    let lab = lab_with_a_ledger();
    let mine = owned(&lab, 0).remove(0);
    let import = |words: &[&str]| ledger(&lab, &[&["import", "out.jsonl"], words].concat(), &[STORAGE.to_owned()]);
    ledger(&lab, &["export", "--remove", "--output=out.jsonl", &format!("--tenant={mine}")], &[STORAGE.to_owned()]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(lab.directory.path().join("out.jsonl")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the salt is in it");
    }
    let (status, log) = Exporter::start(pod(&lab, 0, 2)).wait();
    assert_eq!(status.code(), Some(74));
    let last = log.last().unwrap();
    assert!(last.contains(&format!("tenant {mine} was taken out of this ledger at ")), "{last}");
    assert!(last.contains("import its export here, or give the tenant to the shard that has it"), "{last}");
    let unknown = ["ledger", "import", "out.jsonl", "--tenant=x", STORAGE];
    refused(&lab, &unknown, 74, &["out.jsonl: the export holds no tenant named x"]);
    let log = ledger(&lab, &["export", "--all", "--output=rest.jsonl"], &[STORAGE.to_owned()]);
    let warned = log.lines().find(|line| line.contains("was taken out of this ledger before")).unwrap();
    assert!(warned.contains("level=warn") && warned.contains(&format!("tenant={mine} ")), "{warned}");
    import(&[]);
    let log = import(&[]);
    assert!(log.contains("has this tenant already, just so"), "{log}");
    let mut again = Exporter::start(pod(&lab, 0, 2));
    again.wait_for_scrape("a poll of it", |scrape| scrape.sum("up", &[&format!("tenant=\"{mine}\"")]) >= 1.0);
    again.stop();
    let replace = format!("--replace --tenant={mine}");
    let other_counts = ["is there already with other counts: ", " sessions up to 20", &replace];
    refused(&lab, &["ledger", "import", "out.jsonl", STORAGE], 74, &other_counts);
    assert!(import(&["--replace", &format!("--tenant={mine}")]).contains("Replaced a tenant"));
}

/// Standard output and input, for pods whose volumes cannot be mounted together. A shard without tenants runs.
#[test]
fn an_export_goes_through_a_pipe() {
    let lab = lab(0.0);
    configuration(&lab);
    let mut pod_0 = Exporter::start(pod(&lab, 0, 2));
    pod_0.wait_for_scrape("a poll", |scrape| scrape.sum("up", &[]) >= 1.0);
    pod_0.stop();
    let exported = run(&lab, &["ledger", "export", "--all", "--storage.path=data-0"]);
    assert!(exported.status.success());
    let import = |bytes: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
        command.current_dir(lab.directory.path()).args(["ledger", "import", "--storage.path=piped"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended by the time all is written.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), bytes);
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, log) = import(&exported.stdout[..exported.stdout.len() / 2]);
    assert_eq!(code, Some(74));
    assert!(log.contains("the file is cut off; nothing was imported or taken out: export once more"), "{log}");
    assert_eq!(import(&exported.stdout).0, Some(0));
    let again = run(&lab, &["ledger", "export", "--all", "--storage.path=piped"]);
    let sections = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let lines: Vec<_> = text.lines().map(ToOwned::to_owned).collect();
        lines[1..lines.len() - 1].to_vec()
    };
    assert_eq!(sections(&again.stdout), sections(&exported.stdout));
    // Of so many shards most own nothing: ready all the same.
    let mut idle = (0..60).map(|ordinal| pod(&lab, ordinal, 60)).find_map(|flags| {
        let mut check = vec!["check".to_owned(), "--offline".to_owned()];
        check.extend_from_slice(&flags);
        let output = run(&lab, &check);
        String::from_utf8(output.stdout).unwrap().contains("no tenant is this shard's").then(|| Exporter::start(flags))
    });
    let idle = idle.as_mut().unwrap();
    assert_eq!(get(idle.address(), "/-/ready").unwrap().status, 200);
    assert_eq!(idle.scrape().value("exporter_configured_tenants"), 12.0);
}
