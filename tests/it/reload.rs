//! Another configuration while the program runs: all of it or nothing, and no count is lost.

mod log;
mod storm;

use std::fs;
use std::path::Path;
use std::time::Duration;

use insta::assert_snapshot;
use remote_assistance_exporter::simulator::{COLLECTION_PATH, Scenario, Tenant, TenantOptions};

use super::support::{Exporter, Lab, Scrape, get, stand_ins, wait_for};

const QUICK: &str = "poll_interval: 1s";

fn lab(names: &[&str]) -> Lab {
    let tenant =
        |name: &&str| TenantOptions { sessions_per_day: 4.0, live_per_second: 2.0, ..TenantOptions::new(name) };
    Lab::new(names.iter().map(tenant).collect(), |options| options.stall = Duration::from_secs(24 * 3600))
}

/// The program, which reloads over HTTP too. It has read its configuration, and signals reach it.
#[track_caller]
fn start(lab: &Lab, configuration: &Path) -> Exporter {
    let flag = "--web.enable-lifecycle".to_owned();
    let mut exporter = Exporter::start(lab.arguments(configuration).into_iter().chain([flag]));
    exporter.address();
    exporter
}

#[track_caller]
fn reload(exporter: &mut Exporter) {
    let answer = exporter.reload();
    assert_eq!((answer.status, answer.text().as_str()), (200, "Reloaded.\n"));
}

fn of(scrape: &Scrape, name: &str, tenant: &str) -> f64 {
    scrape.sum(name, &[&format!("tenant=\"{tenant}\"")])
}

/// How often a tenant's sessions were asked for.
fn reads(tenant: &Tenant) -> usize {
    tenant.requests().iter().filter(|request| !request.path.contains("oauth2")).count()
}

fn tokens(tenant: &Tenant) -> usize {
    tenant.requests().iter().filter(|request| request.path.contains("oauth2")).count()
}

/// The tenants that metrics and status table show.
fn shown(exporter: &mut Exporter) -> [Vec<String>; 2] {
    let scrape = exporter.scrape();
    let tenant = |series: &String| Some(series.split_once("tenant=\"")?.1.split('"').next()?.to_owned());
    let mut in_metrics: Vec<_> = scrape.samples.keys().filter_map(tenant).collect();
    in_metrics.sort();
    in_metrics.dedup();
    let status = exporter.status();
    let rows = status["tenants"].as_array().unwrap();
    [in_metrics, rows.iter().map(|row| row["tenant"].as_str().unwrap().to_owned()).collect()]
}

#[test]
fn a_tenant_that_comes_goes_and_returns() {
    let lab = lab(&["contoso", "fabrikam"]);
    let both = [("contoso", ""), ("fabrikam", "")];
    let configuration = lab.configuration(QUICK, &both[..1]);
    let mut exporter = start(&lab, &configuration);
    exporter.wait_for_scrape("a first poll", |scrape| of(scrape, "up", "contoso") == 1.0);
    let only = || vec!["contoso".to_owned()];
    assert_eq!(shown(&mut exporter), [only(), only()]);

    lab.configuration(QUICK, &both);
    let before = exporter.scrape();
    reload(&mut exporter);
    let after = exporter.scrape();
    assert_eq!(after.value("reports_read_total{tenant=\"fabrikam\"}"), 0.0, "its series begin at zero");
    assert_eq!(get(exporter.address(), "/-/ready").unwrap().status, 200, "readiness comes once and stays");
    assert_ne!(after.value("exporter_config_hash"), before.value("exporter_config_hash"));
    assert!(
        after.value("exporter_config_last_reload_success_timestamp_seconds")
            > before.value("exporter_config_last_reload_success_timestamp_seconds")
    );
    exporter.wait_for_scrape("its first poll", |scrape| of(scrape, "sessions_total", "fabrikam") > 0.0);

    // Gone at once, though a poll of it stalls; and with it whatever it had.
    lab.simulator.tenant("fabrikam").unwrap().set_scenario(Scenario::Slow);
    let fabrikam = lab.simulator.tenant("fabrikam").unwrap();
    let asked = reads(&fabrikam);
    wait_for("a poll that stalls", || (reads(&fabrikam) > asked).then_some(()));
    let last = exporter.scrape();
    lab.configuration(QUICK, &both[..1]);
    exporter.signal("HUP");
    exporter.wait_for_log(&["msg=\"Reloaded the configuration\"", "added=0 removed=1 changed=0 unchanged=1"]);
    assert_eq!(shown(&mut exporter), [only(), only()]);
    let asked = reads(&fabrikam);
    let polls = of(&exporter.scrape(), "polls_total", "contoso");
    exporter.wait_for_scrape("two more polls", |scrape| of(scrape, "polls_total", "contoso") >= polls + 2.0);
    assert_eq!(reads(&fabrikam), asked, "it is polled no more");

    fabrikam.set_scenario(Scenario::None);
    lab.configuration(QUICK, &both);
    reload(&mut exporter);
    let back = exporter.scrape();
    for (series, value) in last.durable_counters().filter(|(series, _)| series.contains("fabrikam")) {
        assert_eq!(back.value(series), value, "{series}");
    }
    let truth = fabrikam.ended(lab.freeze()).len() as f64;
    exporter.wait_for_scrape("every session", |scrape| of(scrape, "sessions_total", "fabrikam") == truth);
    assert!(!exporter.stop().iter().any(|line| line.contains("level=error")));
}

#[test]
fn tenants_that_stay_notice_nothing_and_one_that_changes_leaves_a_poll_that_stalls() {
    let lab = lab(&["stays", "changes"]);
    let [stays, changes] = ["stays", "changes"].map(|name| lab.simulator.tenant(name).unwrap());
    stays.set_scenario(Scenario::Slow);
    changes.set_scenario(Scenario::Slow);
    let tenants = |page_size: &'static str| [("stays", ""), ("changes", page_size)];
    let configuration = lab.configuration(QUICK, &tenants("source: {kind: sessions_report, page_size: 500}"));
    let mut exporter = start(&lab, &configuration);
    wait_for("polls that stall", || (reads(&stays) == 1 && reads(&changes) == 1).then_some(()));

    changes.set_scenario(Scenario::None);
    lab.configuration(QUICK, &tenants("source: {kind: sessions_report, page_size: 400}"));
    reload(&mut exporter);
    exporter.wait_for_log(&["added=0 removed=0 changed=1 unchanged=1"]);
    exporter.wait_for_scrape("the changed tenant's sessions", |scrape| of(scrape, "sessions_total", "changes") > 0.0);

    // The same again and again: each changed poll is the only one, and the one that stays still waits for
    // the answer to its first request.
    for round in 0..3 {
        changes.set_scenario(Scenario::Slow);
        let asked = reads(&changes);
        wait_for("a poll that stalls", || (reads(&changes) > asked).then_some(()));
        changes.set_scenario(Scenario::None);
        let keys = if round % 2 == 0 { "source: {kind: sessions_report, page_size: 500}" } else { "lookback: 29d" };
        lab.configuration(QUICK, &tenants(keys));
        reload(&mut exporter);
        let polls = of(&exporter.scrape(), "polls_total", "changes");
        exporter.wait_for_scrape("two more polls", |scrape| of(scrape, "polls_total", "changes") >= polls + 2.0);
    }
    assert_eq!((reads(&stays), tokens(&stays)), (1, 1));
    let scrape = exporter.scrape();
    assert_eq!(of(&scrape, "polls_total", "stays"), 0.0);
    assert_eq!(of(&scrape, "poll_failures_total", ""), 0.0, "to abandon a poll is no failure of it");
    exporter.stop();
}

/// A way of reading that is the same takes no new token; neither does a policy of the ledger's.
#[test]
fn what_the_ledger_alone_needs_restarts_no_poll() {
    let lab = lab(&["contoso"]);
    let contoso = lab.simulator.tenant("contoso").unwrap();
    let configuration = lab.configuration(QUICK, &[("contoso", "lookback: 30d")]);
    let mut exporter = start(&lab, &configuration);
    exporter.wait_for_scrape("a first poll", |scrape| of(scrape, "up", "contoso") == 1.0);
    for keys in ["lookback: 29d", "lookback: 29d, first_run: baseline", "lookback: 29d, first_run: baseline"] {
        lab.configuration(QUICK, &[("contoso", keys)]);
        reload(&mut exporter);
    }
    let polls = of(&exporter.scrape(), "polls_total", "contoso");
    exporter.wait_for_scrape("two more polls", |scrape| of(scrape, "polls_total", "contoso") >= polls + 2.0);
    assert_eq!(tokens(&contoso), 1);
    // The authority's file has other contents under the same name: that is another way of reading.
    let ca_file = lab.directory.path().join("ca.pem");
    fs::write(&ca_file, format!("{}\n", fs::read_to_string(&ca_file).unwrap())).unwrap();
    reload(&mut exporter);
    exporter.wait_for_scrape("another token", |_| tokens(&contoso) == 2);
    exporter.stop();
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_why() {
    let _stand_ins = stand_ins();
    let lab = lab(&["contoso", "fabrikam"]);
    let configuration = lab.configuration(QUICK, &[("contoso", "")]);
    let good = fs::read(&configuration).unwrap();
    let mut exporter = start(&lab, &configuration);
    exporter.wait_for_scrape("a first poll", |scrape| of(scrape, "up", "contoso") == 1.0);
    let before = exporter.scrape();
    let refused = |exporter: &mut Exporter| {
        let answer = exporter.reload();
        assert_eq!(answer.status, 500);
        let text = answer.text();
        assert_eq!(text.lines().count(), 1, "{text}");
        let error = text.trim_end().strip_prefix("Failed to reload the configuration: ").unwrap().to_owned();
        let line = wait_for("the line in the log", || {
            exporter.log().into_iter().rfind(|line| line.contains("Cannot reload the configuration"))
        });
        assert!(line.contains("level=error") && line.contains("the one before stays in force"), "{line}");
        assert_eq!(exporter.scrape().value("exporter_config_last_reload_successful"), 0.0);
        error
    };

    // A good tenant more does not come where another is bad.
    let mut yaml = fs::read_to_string(lab.configuration(QUICK, &[("contoso", ""), ("fabrikam", "")])).unwrap();
    yaml += "  - {name: northwind, credential: {kind: none}, lookback: never}\n";
    fs::write(&configuration, &yaml).unwrap();
    let of_key = refused(&mut exporter);
    fs::write(&configuration, yaml.replace("lookback: never", "ca_file: gone.pem")).unwrap();
    let of_file = refused(&mut exporter);
    fs::remove_file(&configuration).unwrap();
    let of_absence = refused(&mut exporter);
    assert_snapshot!([of_key, of_file, of_absence].join("\n"), @"
    DIRECTORY/exporter.yaml:5: tenants[2].lookback: not a duration; write it as 30s, 5m, 1h30m or 30d
    DIRECTORY/exporter.yaml:5: tenants[2].ca_file: the file cannot be read (No such file or directory (os error 2)); check its name, relative to this configuration, and its permissions
    DIRECTORY/exporter.yaml: cannot be read (No such file or directory (os error 2)); check --config.file and the permissions
    ");

    let after = exporter.scrape();
    for metric in ["exporter_config_hash", "exporter_config_last_reload_success_timestamp_seconds"] {
        assert_eq!(after.value(metric), before.value(metric), "{metric}");
    }
    assert_eq!(shown(&mut exporter), [["contoso".to_owned()], ["contoso".to_owned()]]);
    let polls = of(&after, "polls_total", "contoso");
    exporter.wait_for_scrape("two more polls", |scrape| of(scrape, "polls_total", "contoso") >= polls + 2.0);

    fs::write(&configuration, good).unwrap();
    reload(&mut exporter);
    let scrape = exporter.scrape();
    assert_eq!(scrape.value("exporter_config_last_reload_successful"), 1.0);
    assert_eq!(scrape.value("exporter_config_hash"), before.value("exporter_config_hash"));
    exporter.stop();
}

#[test]
fn other_buckets_start_the_durations_anew_and_keep_every_other_count() {
    let lab = lab(&["contoso"]);
    let contoso = lab.simulator.tenant("contoso").unwrap();
    let truth = contoso.ended(lab.freeze()).len() as f64;
    let configuration = lab.configuration(QUICK, &[("contoso", "")]);
    let yaml = fs::read_to_string(&configuration).unwrap();
    let mut exporter = start(&lab, &configuration);
    exporter.wait_for_scrape("every session", |scrape| of(scrape, "sessions_total", "contoso") == truth);
    fs::write(&configuration, yaml + "metrics: {duration_buckets: [60, 600], helper_label: hashed}\n").unwrap();
    reload(&mut exporter);
    let scrape = exporter.scrape();
    assert_eq!(of(&scrape, "sessions_total", "contoso"), truth);
    assert_eq!(of(&scrape, "session_duration_seconds_count", "contoso"), 0.0);
    let bounds = scrape.samples.keys().filter(|series| {
        series.starts_with("session_duration_seconds_bucket") && series.contains("session_type=\"elevation\"")
    });
    assert_eq!(bounds.count(), 3);
    exporter.stop();
}

/// What a reload starts, the next one ends: tasks, connections and files do not pile up.
#[test]
fn reload_after_reload_nothing_piles_up() {
    let lab = lab(&["contoso", "fabrikam"]);
    let settings = |round: usize| {
        let page_size = format!("source: {{kind: sessions_report, page_size: {}}}", 300 + round % 2);
        let collection = format!("source: {{kind: collection, path: {COLLECTION_PATH}}}");
        [page_size, collection]
    };
    let write = |round: usize| {
        let [page_size, collection] = settings(round);
        let tenants = [("contoso", page_size.as_str()), ("fabrikam", collection.as_str())];
        lab.configuration(QUICK, if round.is_multiple_of(3) { &tenants[..1] } else { &tenants })
    };
    let configuration = write(1);
    let mut exporter = start(&lab, &configuration);
    exporter.wait_for_scrape("first polls", |scrape| scrape.sum("up", &[]) == 2.0);
    let held = |exporter: &Exporter| {
        let process = format!("/proc/{}", exporter.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        (kib, fs::read_dir(format!("{process}/fd")).unwrap().count())
    };
    for round in 2..60 {
        write(round);
        reload(&mut exporter);
    }
    let (before, _) = held(&exporter);
    for round in 60..242 {
        write(round);
        reload(&mut exporter);
    }
    let (after, files) = held(&exporter);
    assert!(after < before + 8 * 1024, "{before} KiB grew to {after} KiB in 180 reloads");
    assert!(files < 60, "{files} open files");
    let polls = of(&exporter.scrape(), "polls_total", "contoso");
    exporter.wait_for_scrape("a poll", |scrape| of(scrape, "polls_total", "contoso") > polls);
    exporter.stop();
}

#[test]
fn without_a_file_there_is_nothing_to_change_and_it_succeeds() {
    let lab = lab(&["contoso"]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command
        .envs([("AZURE_TENANT_ID", "contoso.example"), ("AZURE_CLIENT_ID", "a"), ("AZURE_CLIENT_SECRET", "b")])
        .env("AZURE_AUTHORITY_HOST", "https://127.0.0.1:9")
        .args(["--web.enable-lifecycle", "--web.listen-address=127.0.0.1:0"])
        .arg(format!("--storage.path={}", lab.directory.path().join("data").display()));
    let mut exporter = Exporter::spawn(command);
    reload(&mut exporter);
    exporter.wait_for_log(&["added=0 removed=0 changed=0 unchanged=1"]);
    exporter.stop();
}
