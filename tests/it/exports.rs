//! A tenant that is polled by export jobs counts what the sessions truly are, and goes on so after a
//! restart; the signatures of its files are nowhere to be seen.

use std::collections::BTreeMap;

use remote_assistance_exporter::simulator::{COLLECTION_PATH, TenantOptions};

use crate::support::{Exporter, Lab, Scrape, get};

/// What stays the same whichever way the sessions are read: the export's columns tell all of it but the
/// enrolment states and tenants, for which there are none.
const TOLD: [&str; 4] =
    ["sessions_total", "session_duration_seconds_bucket", "session_duration_seconds_count", "invalid_durations_total"];

/// These series of a tenant, without its name, where they are not zero.
fn told(scrape: &Scrape, tenant: &str) -> BTreeMap<String, f64> {
    let label = format!("tenant=\"{tenant}\"");
    let of_tenant = scrape.samples.iter().filter(|(series, value)| {
        TOLD.contains(&series.split('{').next().unwrap()) && series.contains(&label) && **value > 0.0
    });
    of_tenant.map(|(series, value)| (series.replace(&label, ""), *value)).collect()
}

fn polls(scrape: &Scrape) -> f64 {
    scrape.sum("polls_total", &["contoso"])
}

#[test]
fn exports_count_what_is_true_and_a_restart_changes_nothing() {
    let lab = Lab::new(vec![TenantOptions::new("contoso")], |options| {
        options.export_looks = 0;
        options.absent_share = 0.1;
        options.missing_start_share = 0.1;
        options.duplicate_share = 0.2;
    });
    let now = lab.freeze();
    let tenant = lab.simulator.tenant("contoso").unwrap();
    let truth = tenant.truth(now);
    assert!(truth.ended > 1000, "{}", truth.ended);
    // The same tenant, read as a collection, is the measure of what no truth of the simulator tells.
    let collection = format!("source: {{kind: collection, page_size: 1000, path: {COLLECTION_PATH}}}");
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", "source: {kind: export_job}")]);
    let text = std::fs::read_to_string(&configuration).unwrap();
    let second = text
        .lines()
        .last()
        .unwrap()
        .replace("name: contoso", "name: twin")
        .replace("source: {kind: export_job}", &collection);
    std::fs::write(&configuration, format!("{text}{second}\n")).unwrap();
    let mut arguments = lab.arguments(&configuration);
    arguments.push("--log.level=trace".to_owned());

    let mut seen = Vec::new();
    let mut first = None;
    for _ in 0..2 {
        let mut exporter = Exporter::start(&arguments);
        let before = polls(&exporter.scrape());
        let scrape = exporter.wait_for_scrape("two polls more", |scrape| {
            polls(scrape) >= before + 2.0 && scrape.sum("polls_total", &["twin"]) >= 1.0
        });
        assert_eq!(scrape.sum("poll_failures_total", &[]), 0.0);
        assert_eq!(scrape.sum("sessions_total", &["contoso"]), truth.ended as f64);
        for (session_type, of_type) in &truth.by_type {
            let labels = ["\"contoso\"", &format!("\"{session_type}\"")];
            assert_eq!(scrape.sum("sessions_total", &labels), of_type.sessions as f64, "{session_type}");
        }
        assert_eq!(told(&scrape, "contoso"), told(&scrape, "twin"));
        assert_eq!(*first.get_or_insert(told(&scrape, "contoso")), told(&scrape, "contoso"));
        let downloads = scrape.sum("graph_requests_total", &["contoso", "export_download", "\"200\""]);
        assert!(downloads >= 2.0, "a file for each poll");
        let status = exporter.status();
        assert!(status["tenants"].as_array().unwrap().iter().any(|row| row["source"] == "export_job"), "{status}");
        seen.extend(["/status", "/", "/metrics"].map(|path| get(exporter.address(), path).unwrap().text()));
        seen.extend(exporter.stop());
    }
    let downloads = tenant.downloads();
    assert!(downloads.len() >= 4 && downloads.iter().all(|download| !download.authorization));
    let signature = |path: &str| path.split("sig=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let secrets: Vec<_> =
        downloads.iter().map(|download| signature(&download.path)).chain(lab.simulator.tokens()).collect();
    assert!(seen.iter().any(|line| line.contains("endpoint=export_download")), "the log tells of downloads");
    for text in &seen {
        assert!(!text.contains("sig=") && !secrets.iter().any(|secret| text.contains(secret)), "{text}");
    }
    assert_eq!(lab.simulator.write_requests(), []);
}
