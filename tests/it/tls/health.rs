//! `healthcheck` over TLS: what it trusts, what it shows, and what it says where that will not do.

use std::net::SocketAddr;
use std::process::Command;

use super::lab::{Authority, Kind, Site};

/// The exit code and the one line of a health check with these flags.
#[track_caller]
fn check(site: &Site, flags: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    let output = command.arg("healthcheck").args(flags).current_dir(site.directory.path()).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(line.lines().count() <= 1, "{line}");
    (output.status.code().unwrap(), line.trim_end().replace("remote-assistance-exporter: error: ", ""))
}

/// The same of the exporter itself, by its own web configuration.
#[track_caller]
fn check_own(site: &Site, address: SocketAddr, more: &[&str]) -> (i32, String) {
    let listening = format!("--web.listen-address={address}");
    let (code, line) = check(site, &[&["--web.config.file=web.yml", &listening], more].concat());
    (
        code,
        line.replace(&address.to_string(), "ADDRESS")
            .replace(&site.directory.path().display().to_string(), "DIRECTORY"),
    )
}

const HEALTHY: (i32, &str) = (0, "");

#[track_caller]
fn is(outcome: (i32, String), expected: (i32, &str)) {
    assert_eq!((outcome.0, outcome.1.as_str()), expected);
}

#[test]
fn its_own_certificate_is_all_that_is_trusted() {
    let site = Site::new(Kind::Rsa);
    // For other names, long expired, and known to no authority: it is the file's, and that is enough.
    let mut exporter = site.start("", "");
    let address = exporter.address();
    is(check_own(&site, address, &[]), HEALTHY);
    let ready = format!("--healthcheck.url=https://localhost:{}/-/ready", address.port());
    is(check_own(&site, address, &[&ready]), HEALTHY);
    // Another program on the port, with a certificate of the same authority.
    let other = Site { authority: site.authority, ..Site::new(Kind::P256) };
    other.write_pair("server", &other.authority.server(Kind::P256));
    other.configure("", "");
    is(
        check_own(&other, address, &[]),
        (1, "https://ADDRESS/-/healthy is not healthy: it shows another certificate than --web.config.file names"),
    );
    // Another address is no own one, and nothing there is trusted without the system's authorities.
    let url = format!("--healthcheck.url=https://{address}/-/healthy");
    let (code, line) = check(&site_of(&other), &[&url]);
    assert_eq!(code, 1);
    assert!(line.contains("invalid peer certificate: ") || line.contains("trusts no authority"), "{line}");
    assert!(line.contains("ca_file in tls_config of --healthcheck.config.file"), "{line}");
}

fn site_of(other: &Site) -> Site {
    let site = Site::new(Kind::P256);
    site.write("ca.crt", &other.authority.certificate);
    site
}

#[test]
fn plain_http_is_asked_where_the_web_configuration_has_no_tls() {
    let site = Site::new(Kind::P256);
    site.write("web.yml", "http_server_config: {headers: {X-Frame-Options: deny}}");
    let mut exporter = crate::support::Exporter::start(site.flags());
    is(check_own(&site, exporter.address(), &[]), HEALTHY);
    exporter.stop();
    let mut exporter = site.start("", "");
    let url = format!("--healthcheck.url=http://{}/-/healthy", exporter.address());
    let expected = format!(
        "http://{}/-/healthy is not healthy: it answered 400 Bad Request; where it speaks TLS, ask with https:// or give --web.config.file",
        exporter.address()
    );
    is(check(&site, &[&url]), (1, &expected));
}

#[test]
fn a_server_that_wants_a_certificate_gets_one() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt", "");
    let address = exporter.address();
    is(
        check_own(&site, address, &[]),
        (
            1,
            "https://ADDRESS/-/healthy is not healthy: received fatal alert: CertificateRequired; give a client certificate as cert_file and key_file in tls_config of --healthcheck.config.file",
        ),
    );
    site.write_pair("probe", &site.authority.client(Vec::new()));
    site.write("http.yml", "tls_config: {cert_file: probe.crt, key_file: probe.key}");
    is(check_own(&site, address, &["--healthcheck.config.file=http.yml"]), HEALTHY);
    site.write_pair("stranger", &Authority::new("Another CA").client(Vec::new()));
    site.write("http.yml", "tls_config: {cert_file: stranger.crt, key_file: stranger.key}");
    let (code, line) = check_own(&site, address, &["--healthcheck.config.file=http.yml"]);
    assert_eq!((code, line.as_str()), (1, "https://ADDRESS/-/healthy is not healthy: received fatal alert: UnknownCA"));
    site.write("http.yml", "tls_config: {cert_file: probe.crt, key_file: stranger.key}");
    is(
        check_own(&site, address, &["--healthcheck.config.file=http.yml"]),
        (
            64,
            "--healthcheck.config.file: tls_config.key_file: stranger.key is not the key of probe.crt; give both of the same issue",
        ),
    );
}

#[test]
fn an_authority_and_a_name_may_be_given() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    let url = format!("--healthcheck.url=https://{address}/-/healthy");
    let asked = |http: &str| {
        site.write("http.yml", http);
        let (code, line) = check(&site, &[&url, "--healthcheck.config.file=http.yml"]);
        (code, line.replace(&address.to_string(), "ADDRESS"))
    };
    is(asked("tls_config: {ca_file: ca.crt}"), HEALTHY);
    is(asked("tls_config: {ca_file: ca.crt, server_name: localhost}"), HEALTHY);
    is(asked("tls_config: {insecure_skip_verify: true}"), HEALTHY);
    let (code, line) = asked("tls_config: {ca_file: ca.crt, server_name: other.example}");
    assert!(code == 1 && line.contains("not valid for name \"other.example\""), "{line}");
    let (code, line) = asked("tls_config: {ca_file: server.crt}");
    assert!(code == 1 && line.contains("invalid peer certificate"), "{line}");
}
