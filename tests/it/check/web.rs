//! What is said of the web configuration file.

use std::fs;

use serde_json::{Value, json};

use super::{Checked, lab};
use crate::tls::lab::{Kind, Site, self_signed_server};

const FLAG: &str = "--web.config.file";

/// A directory with a certificate and this web configuration, and a tenant that is well.
fn checked(site: &Site, flags: &[&str]) -> Checked {
    let lab = lab(&[("contoso", |_| ())], |_| ());
    let configuration = lab.configuration("poll_interval: 1m", &[("contoso", "")]);
    let web = format!("{FLAG}={}", site.path("web.yml").display());
    Checked::run(&configuration, &[&[web.as_str(), "--offline"], flags].concat())
}

/// The lines of the first block.
fn block(checked: &Checked) -> Vec<&str> {
    checked.output.lines().take_while(|line| !line.is_empty()).collect()
}

#[test]
fn a_good_one_is_told_of_in_both_forms() {
    let site = Site::new(Kind::P256);
    let users = format!("basic_auth_users: {{a: {0}, b: {0}}}", bcrypt::hash("s3cr3t", 4).unwrap());
    site.configure("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt", &users);
    let found = checked(&site, &[]);
    assert_eq!(found.code, 0, "{}", found.log);
    let file = site.path("web.yml").display().to_string();
    assert_eq!(
        block(&found),
        [
            "web configuration: ok",
            &format!("  file         {file}"),
            "  TLS          yes",
            "  certificate  expires 4096-01-01 00:00:00 UTC",
            "  clients      show a certificate of client_ca_file and the password of one of 2 users",
        ]
    );
    assert!(found.output.contains("\ncontoso: ok\n") && !found.output.contains("$2"), "{}", found.output);
    let found = checked(&site, &["--output=json"]);
    let document = found.document();
    assert_eq!((found.code, &document["status"], &document["error"]), (0, &"ok".into(), &Value::Null));
    let expected = json!({
        "file": file, "status": "ok", "message": null, "tls": true, "client_certificates": true, "users": 2,
        "certificate_expires": "4096-01-01T00:00:00Z",
    });
    assert_eq!(document["web_configuration"], expected);
}

#[test]
fn what_wants_a_look_is_a_warning() {
    let site = Site::new(Kind::P256);
    site.write_pair("server", &self_signed_server(2021));
    site.configure("", "");
    let found = checked(&site, &[]);
    let expired = "the server's certificate has expired; renew it and replace what cert_file and key_file of tls_server_config name";
    assert_eq!((found.code, block(&found)[0]), (0, "web configuration: warning"));
    assert_eq!(block(&found)[1], format!("  warning      {expired}"));
    assert_eq!(block(&found)[5], "  clients      everybody may read");
    let document = checked(&site, &["--output=json"]).document();
    assert_eq!((&document["status"], &document["tenants"][0]["status"]), (&"warning".into(), &"ok".into()));
    assert_eq!(document["web_configuration"]["message"], expired);
    site.write("web.yml", "");
    let document = checked(&site, &["--output=json"]).document();
    let message = document["web_configuration"]["message"].as_str().unwrap();
    assert!(message.starts_with("empty: plain HTTP, and everybody may read"), "{message}");
}

/// As `serve` refuses it, and before any tenant is asked.
#[test]
fn a_bad_one_is_refused_in_both_forms() {
    let site = Site::new(Kind::P256);
    site.write_pair("other", &site.authority.server(Kind::P256));
    let file = site.path("web.yml").display().to_string();
    for (yaml, problem) in [
        (
            "basic_auth_users: {a: s3cr3t}",
            format!("{file}:1: basic_auth_users: not a bcrypt hash ($2a$, $2b$ or $2y$); "),
        ),
        ("bogus: 1", format!("{file}:1: bogus: ")),
        (
            "tls_server_config: {cert_file: server.crt, key_file: nowhere.key}",
            format!("{file}:1: tls_server_config.key_file: "),
        ),
        ("tls_server_config: {cert_file: server.crt, key_file: other.key}", format!("{file}: ")),
    ] {
        site.write("web.yml", yaml);
        let found = checked(&site, &[]);
        assert_eq!((found.code, found.output.as_str(), found.log.lines().count()), (64, "", 1), "{}", found.log);
        let said = found.last_line().strip_prefix("remote-assistance-exporter: error: ").unwrap();
        assert!(said.starts_with(&problem) && !said.contains("s3cr3t"), "{said}");
        let found = checked(&site, &["--output=json"]);
        let document = found.document();
        assert_eq!((found.code, &document["status"], &document["error"]), (64, &"failed".into(), &said.into()));
        assert_eq!(document["web_configuration"], Value::Null);
    }
    fs::remove_file(site.path("web.yml")).unwrap();
    assert_eq!(checked(&site, &[]).code, 64);
}

#[test]
fn without_the_flag_nothing_is_said_of_it() {
    let lab = lab(&[("contoso", |_| ())], |_| ());
    let configuration = lab.configuration("poll_interval: 1m", &[("contoso", "")]);
    let document = Checked::run(&configuration, &["--offline", "--output=json"]).document();
    assert_eq!(document["web_configuration"], Value::Null);
}
