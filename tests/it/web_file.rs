//! The web configuration is read again while the program runs.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use remote_assistance_exporter::simulator::TenantOptions;
use serde_json::Value;

use super::support::{Exporter, Lab, Scrape, get_with, wait_for};

const SUCCESSFUL: &str = "exporter_web_config_last_reload_successful";

fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn write(file: &Path, hash: &str) {
    fs::write(file, format!("basic_auth_users:\n  alice: {hash}\n")).unwrap();
}

fn authorization(password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("alice:{password}"));
    format!("Authorization: Basic {encoded}\r\n")
}

fn status(exporter: &mut Exporter, headers: &str) -> u16 {
    get_with(exporter.address(), "/-/healthy", headers).unwrap().status
}

fn successful(exporter: &mut Exporter, password: &str) -> Option<f64> {
    let answer = get_with(exporter.address(), "/metrics", &authorization(password)).unwrap();
    (answer.status == 200).then(|| Scrape::parse(&answer.text()).value(SUCCESSFUL))
}

fn page(exporter: &mut Exporter, path: &str) -> String {
    get_with(exporter.address(), path, &authorization("s3cr3t-2")).unwrap().text()
}

/// What `/status` says of a change that is not in force.
fn refused(exporter: &mut Exporter) -> Option<String> {
    let status: Value = serde_json::from_str(&page(exporter, "/status")).unwrap();
    status["web_configuration"]["refused"]["message"].as_str().map(str::to_owned)
}

#[test]
fn a_change_is_in_force_by_itself_and_a_bad_one_is_not() {
    let lab = Lab::new(vec![TenantOptions::manual("contoso")], |_| {});
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", "")]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("web.yml");
    let [first, second] = [hash("s3cr3t-1"), hash("s3cr3t-2")];
    write(&file, &first);
    let flags = [format!("--web.config.file={}", file.display()), "--log.level=trace".to_owned()];
    let mut exporter = Exporter::start(lab.arguments(&configuration).into_iter().chain(flags));
    assert_eq!(status(&mut exporter, ""), 401);
    assert_eq!(successful(&mut exporter, "s3cr3t-1"), Some(1.0));

    write(&file, &second);
    wait_for("the other password", || successful(&mut exporter, "s3cr3t-2"));
    assert_eq!(status(&mut exporter, &authorization("s3cr3t-1")), 401);

    let cut_off = "# who may read\nbasic_auth_users:\n";
    for bad in ["basic_auth_users:\n  alice: s3cr3t-3\n", "", cut_off, "bogus: 1\n"] {
        fs::write(&file, bad).unwrap();
        wait_for(bad, || successful(&mut exporter, "s3cr3t-2").filter(|successful| *successful == 0.0));
        let message = refused(&mut exporter).unwrap();
        assert!(message.starts_with(file.to_str().unwrap()) && !message.contains("s3cr3t"), "{message}");
        assert!(page(&mut exporter, "/").contains("The web configuration could not be reloaded"));
        write(&file, &second);
        wait_for("mended", || successful(&mut exporter, "s3cr3t-2").filter(|successful| *successful == 1.0));
        assert_eq!(refused(&mut exporter), None);
    }
    fs::remove_file(&file).unwrap();
    exporter.signal("HUP");
    wait_for("gone", || successful(&mut exporter, "s3cr3t-2").filter(|successful| *successful == 0.0));
    assert_eq!(status(&mut exporter, ""), 401, "a file that is gone opens nothing");

    fs::write(&file, "{}\n").unwrap();
    wait_for("open to everybody", || Some(status(&mut exporter, "")).filter(|status| *status == 200));

    let log = exporter.stop().join("\n");
    let encoded = authorization("s3cr3t-2");
    for secret in ["s3cr3t", &first, &second, encoded.trim_start_matches("Authorization: Basic ").trim_end()] {
        assert!(!log.contains(secret), "{log}");
    }
    let refusals = log.matches("Cannot reload the web configuration").count();
    assert!((5..=6).contains(&refusals), "{refusals} lines for five bad changes:\n{log}");
}
