//! The commands that are not servers of metrics: `once`, `simulate`, `healthcheck`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use remote_assistance_exporter::simulator::{COLLECTION_PATH, Scenario, TenantOptions};

use super::support::{Exporter, Lab, Scrape, wait_for};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.env_clear();
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The last line on standard error: what a command says when it fails.
fn last_line(output: &Output) -> String {
    text(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

fn counted(scrape: &Scrape, tenant: &str) -> f64 {
    scrape.sum("sessions_total", &[&format!("tenant=\"{tenant}\"")])
}

/// Two tenants with a history and nothing new, and the arguments of `once`.
fn quiet_lab() -> (Lab, Vec<String>) {
    let tenant = |name| TenantOptions { sessions_per_day: 10.0, live_per_second: 0.0, ..TenantOptions::new(name) };
    let lab = Lab::new(vec![tenant("contoso"), tenant("fabrikam")], |_| {});
    lab.freeze();
    let collection = format!("source: {{kind: collection, path: {COLLECTION_PATH}}}");
    let tenants = [("contoso", "source: {kind: sessions_report}"), ("fabrikam", &*collection)];
    let configuration = lab.configuration("poll_interval: 1m", &tenants);
    let mut arguments = lab.arguments(&configuration);
    arguments.push("once".to_owned());
    (lab, arguments)
}

fn truth(lab: &Lab, tenant: &str) -> f64 {
    let ended = lab.simulator.tenant(tenant).unwrap().ended(lab.freeze()).len();
    assert!(ended > 0);
    ended as f64
}

#[test]
fn once_counts_every_tenant_prints_the_metrics_and_ends_with_0() {
    let (lab, arguments) = quiet_lab();
    // A second run on the same ledger finds nothing new.
    for run in [1.0, 2.0] {
        let output = program().args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let metrics = text(&output.stdout);
        assert!(metrics.contains("# HELP remote_assistance_sessions_total "), "{metrics}");
        let scrape = Scrape::parse(&metrics);
        for tenant in ["contoso", "fabrikam"] {
            let ended = truth(&lab, tenant);
            assert_eq!(counted(&scrape, tenant), ended);
            assert_eq!(scrape.sum("reports_read_total", &[tenant]), ended * run);
            assert_eq!(scrape.sum("up", &[tenant]), 1.0);
        }
    }
}

#[test]
fn once_tells_of_a_tenant_that_fails_and_still_shows_the_others() {
    let (lab, arguments) = quiet_lab();
    lab.simulator.tenant("fabrikam").unwrap().set_scenario(Scenario::MissingRole);
    let output = program().args(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = last_line(&output);
    assert_eq!(line, "remote-assistance-exporter: error: 1 of 2 tenants failed: fabrikam; the log says why");
    let log = text(&output.stderr);
    let remedies = log.lines().filter(|line| line.contains("DeviceManagementConfiguration.Read.All")).count();
    assert_eq!(remedies, 1, "{log}");

    let scrape = Scrape::parse(&text(&output.stdout));
    assert_eq!(counted(&scrape, "contoso"), truth(&lab, "contoso"));
    assert_eq!((scrape.sum("up", &["contoso"]), scrape.sum("up", &["fabrikam"])), (1.0, 0.0));
    assert_eq!(counted(&scrape, "fabrikam"), 0.0);
    assert_eq!(scrape.value("poll_failures_total{reason=\"forbidden\",tenant=\"fabrikam\"}"), 1.0);
}

/// Starts `simulate`; its configuration stands in the file `exporter.yaml`.
fn simulate(directory: &Path, more: &[&str]) -> Exporter {
    let output = File::create(directory.join("exporter.yaml")).unwrap();
    let mut command = program();
    command.current_dir(directory).args(["simulate", "--simulate.listen-address=127.0.0.1:0"]).args(more);
    let mut simulator = Exporter::spawn_with_output(command, output);
    simulator.wait_for_log(&["Simulating Microsoft Graph", "address=127.0.0.1:"]);
    simulator
}

#[test]
fn serve_reads_what_simulate_offers_with_the_configuration_that_it_prints() {
    let directory = tempfile::tempdir().unwrap();
    let simulator = simulate(directory.path(), &["--simulate.scenario=fabrikam=missing-role"]);
    let file = directory.path().join("exporter.yaml");
    wait_for("the configuration", || fs::read_to_string(&file).unwrap().contains("fabrikam").then_some(()));

    let mut exporter = Exporter::start([
        format!("--config.file={}", file.display()),
        format!("--storage.path={}", directory.path().join("data").display()),
    ]);
    exporter.wait_for_scrape("one tenant that is read and one that is refused", |scrape| {
        let refused = scrape.sum("poll_failures_total", &["reason=\"forbidden\"", "fabrikam"]) >= 1.0;
        refused && counted(scrape, "contoso") > 0.0 && scrape.sum("up", &["contoso"]) == 1.0
    });
    exporter.stop();

    simulator.signal("INT");
    let (status, log) = simulator.wait();
    assert_eq!(status.code(), Some(0), "{log:#?}");
}

#[test]
fn simulate_names_the_scenarios_and_tenants_that_there_are() {
    let directory = tempfile::tempdir().unwrap();
    for (scenario, problem, choices) in [
        ("throttle-me", "throttle-me", "there are none, throttled"),
        ("contoso=nonsense", "nonsense", "missing-role"),
        ("litware=missing-role", "no tenant is named \"litware\"", "there are contoso, fabrikam"),
    ] {
        let flag = format!("--simulate.scenario={scenario}");
        let output = program().current_dir(directory.path()).args(["simulate", &flag]).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        assert_eq!(text(&output.stdout), "");
        let line = text(&output.stderr);
        assert_eq!(line.lines().count(), 1, "{line}");
        let expected = format!("remote-assistance-exporter: error: --simulate.scenario {scenario}: ");
        assert!(line.starts_with(&expected) && line.contains(problem) && line.contains(choices), "{line}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "it wrote a file all the same");
}

#[test]
fn healthcheck_finds_a_running_exporter_healthy_and_a_stopped_one_not() {
    let (_lab, mut arguments) = quiet_lab();
    arguments.retain(|argument| argument != "once");
    let mut exporter = Exporter::start(&arguments);
    let address = exporter.address();
    let ask = |flag: String| program().args(["healthcheck", &flag]).stdin(Stdio::null()).output().unwrap();
    for flag in [format!("--web.listen-address={address}"), format!("--healthcheck.url=http://{address}/-/healthy")] {
        let output = ask(flag);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    }
    let output = ask(format!("--healthcheck.url=http://{address}/nowhere"));
    assert_eq!(output.status.code(), Some(1));
    assert!(last_line(&output).ends_with("/nowhere is not healthy: it answered 404 Not Found"));

    exporter.stop();
    let output = ask(format!("--web.listen-address={address}"));
    assert_eq!(output.status.code(), Some(1));
    assert!(last_line(&output).contains("is not healthy: Connection refused"), "{}", last_line(&output));
}
