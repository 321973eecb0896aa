//! Prometheus scrapes over TLS, with a client's certificate and a password, and gets nothing without either.

use std::process::Command;

use serde_json::Value;

use super::server::{Prometheus, Vector};
use crate::tls::lab::{Kind, Site};

const PASSWORD: &str = "s3cr3t: für Prometheus";
/// The jobs: whether a certificate and the right password are shown.
const JOBS: [(&str, bool, bool); 4] = [
    ("right", true, true),
    ("no-certificate", false, true),
    ("wrong-password", true, false),
    ("neither", false, false),
];

#[test]
fn who_shows_certificate_and_password_scrapes_and_nobody_else() {
    let site = Site::new(Kind::P256);
    site.write_pair("client", &site.authority.client(Vec::new()));
    let hash = Command::new("htpasswd").args(["-nbB", "-C", "10", "prometheus", PASSWORD]).output();
    let hash = String::from_utf8(hash.expect("tests/run installs it").stdout).unwrap();
    let users = format!("basic_auth_users:\n  {}\n", hash.trim().replace(':', ": "));
    let mut exporter = site.start("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt", &users);
    let address = exporter.address();
    let job = |(name, certificate, password): &(&str, bool, bool)| {
        let file = |name: &str| site.path(name).display().to_string();
        let identity = format!(", cert_file: {}, key_file: {}", file("client.crt"), file("client.key"));
        let identity = if *certificate { identity } else { String::new() };
        let password = if *password { PASSWORD } else { "s3cr3t" };
        format!(
            "  - job_name: {name}\n    scheme: https\n    \
             basic_auth: {{username: prometheus, password: \"{password}\"}}\n    \
             tls_config: {{ca_file: {}, server_name: localhost{identity}}}\n    \
             static_configs: [{{targets: [\"{address}\"]}}]\n",
            file("ca.crt")
        )
    };
    let jobs: String = JOBS.iter().map(job).collect();
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::scraping(&jobs, directory.path(), &[], &[]);
    // Several scrapes of each.
    prometheus.wait_for("min(count_over_time(up[1h]))", |count| count.values().all(|count| *count >= 3.0));
    prometheus.wait_for("count(up)", |count| count.values().eq(&[4.0]));

    let expected: Vector = JOBS
        .iter()
        .map(|(name, certificate, password)| ((*name).to_owned(), f64::from(u8::from(*certificate && *password))))
        .collect();
    for over_time in ["min_over_time", "max_over_time"] {
        assert_eq!(prometheus.query(&format!("sum by (job) ({over_time}(up[1h]))")), expected, "{over_time}");
    }
    let targets = prometheus.api("targets", &[]);
    for (name, certificate, password) in JOBS {
        let of_job = |target: &&Value| target["labels"]["job"] == name;
        let target = targets["activeTargets"].as_array().unwrap().iter().find(of_job).unwrap();
        let said = target["lastError"].as_str().unwrap();
        let expected = match (certificate, password) {
            (true, true) => said.is_empty(),
            (true, false) => said == "server returned HTTP status 401 Unauthorized",
            // No answer of HTTP. Whether the client reads the alert before it notices that the connection has
            // ended is chance; the exporter's log has the reason.
            (false, _) => said.starts_with("Get \"https://") && !said.contains("HTTP status"),
        };
        assert!(expected, "{name}: {said}");
    }
    // What the one that may has read is whole, and tells of those that may not.
    let sessions = prometheus.query("count by (job, tenant) (remote_assistance_sessions_total)");
    assert_eq!(sessions, Vector::from([("right,contoso".to_owned(), 6.0)]));
    prometheus.wait_for(r#"remote_assistance_exporter_http_requests_total{code="401",path="/metrics"}"#, |refused| {
        refused.values().all(|refused| *refused >= 3.0) && refused.len() == 1
    });
    let log = exporter.stop().join("\n");
    assert!(log.contains("No TLS on a connection") && log.contains("peer sent no certificates"), "{log}");
    assert!(!log.contains("s3cr3t") && !log.contains("level=error"), "{log}");
}
