//! Microsoft's own client accepts the simulated Graph, so that what our reader is held to is not our own
//! idea of it: `azure-identity` gets the token, `msgraph-beta-sdk` reads sessions by the report and by an
//! export job, and both see what the exporter counted.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use remote_assistance_exporter::simulator::{Tenant, TenantOptions};

use super::support::{Exporter, Lab};

/// Where `tests/run` puts Microsoft's packages.
const PYTHON: &str = "target/python/bin/python";
const SCRIPT: &str = "tests/microsoft/read_sessions.py";

/// The type by the id of each ended session.
type Sessions = BTreeMap<String, Option<String>>;

#[derive(serde::Deserialize)]
struct Seen {
    report: Sessions,
    export: Sessions,
}

/// Runs the client against a tenant.
fn read(lab: &Lab, tenant: &Tenant) -> Seen {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let options = tenant.options();
    let settings = serde_json::json!({
        "url": lab.simulator.url(),
        "ca_file": lab.directory.path().join("ca.pem"),
        "tenant_id": options.tenant_id,
        "client_id": options.client_id,
        "client_secret": options.client_secret,
    });
    let python = root.join(PYTHON);
    // No proxy of the machine's may come between.
    let mut child = Command::new(&python)
        .arg(root.join(SCRIPT))
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; tests/run installs it", python.display()));
    child.stdin.take().unwrap().write_all(settings.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn by_type(types: impl Iterator<Item = Option<String>>) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    for name in types {
        *totals.entry(name.unwrap_or_else(|| "unreported".to_owned())).or_default() += 1;
    }
    totals
}

#[test]
fn microsofts_own_client_sees_what_the_exporter_counted() {
    let tenant = TenantOptions { sessions_per_day: 6.0, live_per_second: 0.0, ..TenantOptions::new("contoso") };
    let lab = Lab::new(vec![tenant], |_| {});
    lab.freeze();
    let tenant = lab.simulator.tenant("contoso").unwrap();
    let seen = read(&lab, &tenant);

    // A look-back that is longer than the history: nothing is too old.
    let source = "source: {kind: sessions_report, page_size: 200}";
    let configuration = lab.configuration("poll_interval: 1m, lookback: 60d", &[("contoso", source)]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let scrape =
        exporter.wait_for_scrape("the first poll", |scrape| scrape.samples.contains_key(r#"up{tenant="contoso"}"#));
    let counted = |name: &str| scrape.sum(name, &[r#"tenant="contoso""#]);

    let ended = tenant.ended(lab.now());
    assert!(ended.len() > 100, "{}", ended.len());
    let truth: Sessions = ended
        .iter()
        .map(|session| (session.id.clone(), session.session_type.as_ref().map(|name| name.to_string())))
        .collect();
    assert_eq!(seen.report, truth);
    assert_eq!(seen.export, truth);

    let totals = by_type(seen.report.into_values());
    for (name, total) in &totals {
        let series = format!(r#"sessions_total{{session_type="{name}",tenant="contoso"}}"#);
        assert_eq!(scrape.value(&series), *total as f64, "{name}");
    }
    assert_eq!(counted("sessions_total"), truth.len() as f64);
    assert_eq!(counted("reports_rejected_total") + counted("reports_too_old_total"), 0.0);
    assert!(lab.simulator.write_requests().is_empty());
}
