//! Every page of the program in headless Chromium, light and dark, on a desk and on a phone: readable, whole,
//! without a complaint of the browser's. The screenshots stay in `target/screenshots`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use remote_assistance_exporter::simulator::{COLLECTION_PATH, Scenario, TenantOptions};
use serde_json::json;

use super::support::{Exporter, Lab, wait_for};
use super::tls::lab::{Kind, Site, self_signed_server};
use super::tools;

const SCRIPT: &str = include_str!("../browser/pages.py");

/// Waits until so many tenants are in this condition.
#[track_caller]
fn wait_for_tenants(exporter: &mut Exporter, condition: &str, count: usize) {
    wait_for(&format!("{count} tenants that are {condition}"), || {
        let status = exporter.status();
        let rows = status["tenants"].as_array().unwrap();
        (rows.iter().filter(|row| row["condition"] == condition).count() >= count).then_some(())
    });
}

/// All that can be wrong, each with a message as long as they get, and one that no blank breaks.
fn troubled() -> (Lab, Exporter) {
    const REFUSED: &str = "a-tenant-whose-name-is-as-long-as-a-name-may-be-with-no-blank";
    const NAMES: [&str; 6] = [REFUSED, "no-permission", "short", "hung", "drop", "well"];
    let tenants = NAMES.map(|name| TenantOptions { permitted: name != "no-permission", ..TenantOptions::new(name) });
    let lab = Lab::new(tenants.to_vec(), |options| options.stall = Duration::from_secs(3600));
    lab.simulator.tenant("short").unwrap().set_scenario(Scenario::ShortPage);
    lab.simulator.tenant("hung").unwrap().set_scenario(Scenario::Slow);
    let collection = format!("source: {{kind: collection, path: {COLLECTION_PATH}}}");
    let credential = format!(
        "credential: {{kind: client_secret, client_id: {}, client_secret: not-the-secret}}",
        lab.simulator.tenant(REFUSED).unwrap().options().client_id
    );
    let keys = [&credential, "", &collection, "", "", ""];
    let tenants: Vec<_> = NAMES.into_iter().zip(keys).filter(|(name, _)| *name != "drop").collect();
    let configuration = lab.configuration("poll_interval: 1h", &tenants);
    // There is no such directory.
    let unbroken = "d".repeat(200);
    let text = fs::read_to_string(&configuration).unwrap();
    let files = format!("  - {{name: drop, source: {{kind: files, directory: {unbroken}}}}}\n");
    fs::write(&configuration, text.clone() + &files).unwrap();
    let lifecycle = "--web.enable-lifecycle".to_owned();
    let mut exporter = Exporter::start(lab.arguments(&configuration).into_iter().chain([lifecycle]));
    for (condition, count) in [("failing", 3), ("warning", 1), ("unpolled", 1), ("ok", 1)] {
        wait_for_tenants(&mut exporter, condition, count);
    }
    fs::write(&configuration, text + "  - {name: well, poll_interval: tomorrow}\n").unwrap();
    assert_eq!(exporter.reload().status, 500);
    (lab, exporter)
}

/// Forty tenants, a few of which fail.
fn crowd() -> (Lab, Exporter) {
    let names: Vec<_> = (1..=40).map(|number| format!("tenant-{number:02}")).collect();
    let tenant = |(index, name): (usize, &String)| TenantOptions {
        permitted: index % 15 != 7,
        sessions_per_day: 0.2 * index as f64,
        live_per_second: 0.0,
        ..TenantOptions::new(name)
    };
    let lab = Lab::new(names.iter().enumerate().map(tenant).collect(), |_| ());
    let tenants: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let configuration = lab.configuration("poll_interval: 1h", &tenants);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    wait_for_tenants(&mut exporter, "failing", 3);
    wait_for_tenants(&mut exporter, "ok", 37);
    (lab, exporter)
}

/// A web server whose certificate has expired, and whose web configuration has been spoilt since.
fn expired() -> (Site, Exporter) {
    let site = Site::new(Kind::P256);
    site.write_pair("server", &self_signed_server(2021));
    let mut exporter = site.start("", "");
    exporter.address();
    site.write("web.yml", "tls_server_config:\n  cert_file: server.crt\n  key: server.key\n");
    exporter.signal("HUP");
    exporter.wait_for_log(&["Cannot reload the web configuration"]);
    (site, exporter)
}

#[test]
fn pages_are_readable_and_whole_in_chromium() {
    let storage = tempfile::tempdir().unwrap();
    let mut demo = Exporter::start(["demo", &format!("--storage.path={}", storage.path().display())]);
    let (_troubled, mut troubled) = troubled();
    let (_crowd, mut crowd) = crowd();
    let (_expired, mut expired) = expired();
    wait_for_tenants(&mut demo, "ok", 3);

    let screenshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    fs::create_dir_all(&screenshots).unwrap();
    let page = |name: &str, exporter: &mut Exporter, path: &str| {
        let url = format!("http://{}{path}", exporter.address());
        // The others are text to no end.
        json!({"name": name, "url": url, "whole": path == "/"})
    };
    let pages = [
        page("demo", &mut demo, "/"),
        page("metrics", &mut demo, "/metrics"),
        page("troubled", &mut troubled, "/"),
        page("config", &mut troubled, "/config"),
        page("status", &mut troubled, "/status"),
        page("crowd", &mut crowd, "/"),
        json!({"name": "expired", "url": format!("https://{}/", expired.address()), "whole": true}),
    ];
    let metrics = format!("http://{}/metrics", crowd.address());
    let order = json!({"screenshots": screenshots, "pages": pages, "compressed": metrics});
    let complaints = tools::python(SCRIPT, order.to_string().as_bytes());
    assert_eq!(complaints.trim(), "", "{complaints}");
    for exporter in [demo, troubled, crowd, expired] {
        exporter.stop();
    }
}
