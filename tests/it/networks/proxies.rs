//! Proxies by key and by environment. The hosts that are asked for exist behind the proxy alone.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use remote_assistance_exporter::clock;
use remote_assistance_exporter::config::Config;
use remote_assistance_exporter::session::Label as _;
use remote_assistance_exporter::simulator::{Options, TenantOptions};
use remote_assistance_exporter::source::{Network, Source};

use super::proxy::{Answer, Proxy};
use crate::faults::bench::{Witness, quick};
use crate::support::{Lab, stand_ins, wait_for};

/// A simulator that is known as Graph and as the login host, and a proxy that leads to it.
fn behind_a_proxy() -> (Lab, Proxy) {
    let names = |options: &mut Options| options.names = vec!["graph.example".to_owned(), "login.example".to_owned()];
    let lab = Lab::new(vec![TenantOptions::new("contoso")], names);
    let proxy = Proxy::start(Answer::Tunnel(lab.simulator.address()));
    (lab, proxy)
}

/// A configuration that reads both hosts, with these keys besides.
fn configuration(lab: &Lab, keys: &str) -> PathBuf {
    let tenant = lab.simulator.tenant("contoso").unwrap();
    let options = tenant.options();
    let yaml = format!(
        "tenants: [{{name: contoso, tenant_id: {}, graph_url: 'https://graph.example', ca_file: ca.pem,\n  \
         authority_url: 'https://login.example', source: {{kind: sessions_report, page_size: 1000}}, {keys}\n  \
         credential: {{kind: client_secret, client_id: {}, client_secret: {}}}}}]",
        options.tenant_id, options.client_id, options.client_secret
    );
    let path = lab.directory.path().join("exporter.yaml");
    std::fs::write(&path, yaml).unwrap();
    path
}

/// Polls once, with these variables.
fn once(lab: &Lab, keys: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.args(lab.arguments(&configuration(lab, keys))).args(["--log.level=debug", "once"]);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Fails the test unless both hosts were reached by the proxy, with the credentials, and those not shown.
#[track_caller]
fn check(lab: &Lab, proxy: &Proxy, output: &Output) {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let mut asked = proxy.asked();
    asked.sort();
    // echo -n user:s3cr3t | base64
    let expected =
        ["graph", "login"].map(|host| format!("CONNECT {host}.example:443 HTTP/1.1 | Basic dXNlcjpzM2NyM3Q="));
    assert_eq!(asked, expected);
    for shown in [log, String::from_utf8_lossy(&output.stdout)] {
        assert!(!shown.contains("s3cr3t") && !shown.contains("dXNlcjpzM2NyM3Q"), "{shown}");
    }
    let requests = lab.simulator.tenant("contoso").unwrap().requests();
    assert!(requests.len() > 1 && requests.iter().all(|request| request.version == "HTTP/2.0"), "{requests:?}");
}

#[test]
fn a_configured_proxy_is_used_for_graph_and_tokens_whatever_the_environment_says() {
    let (lab, proxy) = behind_a_proxy();
    let keys = format!("proxy_url: 'http://user:s3cr3t@{}',", proxy.address);
    let output = once(&lab, &keys, &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]);
    check(&lab, &proxy, &output);
}

#[test]
fn the_environments_proxy_is_used_where_none_is_configured() {
    for name in ["HTTPS_PROXY", "all_proxy"] {
        let (lab, proxy) = behind_a_proxy();
        let url = format!("http://user:s3cr3t@{}", proxy.address);
        let output = once(&lab, "", &[(name, &url), ("NO_PROXY", "intranet.example")]);
        check(&lab, &proxy, &output);
    }
}

#[test]
fn a_machine_without_certificates_is_told_so_once_and_ca_file_is_enough() {
    let (lab, proxy) = behind_a_proxy();
    let url = format!("http://user:s3cr3t@{}", proxy.address);
    let nothing = [("HTTPS_PROXY", &*url), ("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/dev/null")];
    let output = once(&lab, "", &nothing);
    check(&lab, &proxy, &output);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(log.matches("This machine has no CA certificates").count(), 1, "{log}");
}

#[test]
fn a_variable_that_cannot_be_understood_stops_the_program_with_its_name() {
    let (lab, _proxy) = behind_a_proxy();
    let output = once(&lab, "", &[("HTTPS_PROXY", "socks5://user:s3cr3t@127.0.0.1:1080")]);
    assert_eq!(output.status.code(), Some(64));
    let log = String::from_utf8(output.stderr).unwrap();
    let error = log.lines().last().unwrap().split_once("error: ").map_or("", |(_, error)| error);
    insta::assert_snapshot!(error, @"tenant contoso: environment: HTTPS_PROXY: SOCKS is not supported; give the address of an HTTP proxy");
}

/// What the first poll by this proxy says, in process and without patience.
async fn failure(lab: &Lab, keys: &str, variables: &[(&str, &str)]) -> String {
    let config = Config::load(&configuration(lab, keys)).unwrap();
    let network =
        Network::new(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()));
    let source = Source::with_policy(&config.tenants[0], &network, Arc::new(Witness::default()), quick()).unwrap();
    let error = source.read().next_page().await.unwrap_err();
    assert!(!error.message.contains("s3cr3t") && !error.message.contains('\n'), "{error}");
    format!("{}: {}", error.reason.as_str(), error.message)
}

#[test]
fn each_refusal_of_a_proxy_names_it_and_the_remedy() {
    let _stand_ins = stand_ins();
    let (lab, _) = behind_a_proxy();
    let by = |answer: Answer| {
        let proxy = Proxy::start(answer);
        let keys = format!("proxy_url: 'http://user:s3cr3t@localhost:{}',", proxy.address.port());
        (lab.runtime.block_on(failure(&lab, &keys, &[])), proxy.asked().len())
    };
    let (error, asked) = by(Answer::Status("407 Proxy Authentication Required"));
    insta::assert_snapshot!(error, @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://localhost:PORT: error sending request: client error (Connect): tunnel error: proxy authorization required; the proxy wants a user and a password (407): set them in proxy_url");
    assert_eq!(asked, 1, "other credentials are needed, not another attempt");
    let (error, asked) = by(Answer::Status("403 Forbidden"));
    insta::assert_snapshot!(error, @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://localhost:PORT: error sending request: client error (Connect): tunnel error: unsuccessful; the proxy does not let this host or user through, or cannot reach the host, as its log says: allow the host there, check the user in proxy_url, or leave the proxy out for the host by no_proxy; gave up after 3 attempts");
    assert_eq!(asked, 3, "the client does not tell 403 from 502, which may pass");
    let (error, _) = by(Answer::Status("502 Bad Gateway"));
    insta::assert_snapshot!(error, @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://localhost:PORT: error sending request: client error (Connect): tunnel error: unsuccessful; the proxy does not let this host or user through, or cannot reach the host, as its log says: allow the host there, check the user in proxy_url, or leave the proxy out for the host by no_proxy; gave up after 3 attempts");
    let (error, _) = by(Answer::Silence);
    insta::assert_snapshot!(error, @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://localhost:PORT: error sending request: client error (Connect): tunnel error: unexpected end of file; the proxy does not let this host or user through, or cannot reach the host, as its log says: allow the host there, check the user in proxy_url, or leave the proxy out for the host by no_proxy; gave up after 3 attempts");
}

#[test]
fn a_proxy_that_is_not_there_is_told_apart_from_a_service_that_is_not() {
    let _stand_ins = stand_ins();
    let (lab, _) = behind_a_proxy();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let error = |keys: &str, variables: &[(&str, &str)]| lab.runtime.block_on(failure(&lab, keys, variables));
    let url = format!("http://user:s3cr3t@localhost:{port}");
    insta::assert_snapshot!(error(&format!("proxy_url: '{url}',"), &[]), @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://localhost:PORT: error sending request: client error (Connect): tunnel error: failed to create underlying connection: tcp connect error: Connection refused (os error 111); the proxy itself cannot be reached: check proxy_url and that the proxy runs; gave up after 3 attempts");
    insta::assert_snapshot!(error("", &[("https_proxy", &url)]), @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://localhost:PORT: error sending request: client error (Connect): tunnel error: failed to create underlying connection: tcp connect error: Connection refused (os error 111); the proxy itself cannot be reached: check https_proxy and that the proxy runs; gave up after 3 attempts");
    insta::assert_snapshot!(error("proxy_url: http://proxy.invalid:3128,", &[]), @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://proxy.invalid:3128: error sending request: client error (Connect): tunnel error: failed to create underlying connection: dns error: error resolving DNS: failed to lookup address information: Name or service not known; the proxy itself cannot be reached: check proxy_url and that the proxy runs; gave up after 3 attempts");
    // Nobody's proxy: the name is looked up here.
    for (keys, variables) in [
        ("proxy_from_environment: false,", &[("HTTPS_PROXY", &*url)][..]),
        ("proxy_from_environment: false,", &[("HTTPS_PROXY", "socks5://127.0.0.1:1080")]),
        ("", &[("HTTPS_PROXY", &*url), ("NO_PROXY", ".example")]),
        ("proxy_url: http://proxy.invalid:3128, no_proxy: '*.example:443',", &[]),
    ] {
        let error = error(keys, variables);
        assert!(error.contains("https://login.example/") && error.contains("dns error"), "{error}");
        assert!(!error.contains("proxy"), "{error}");
    }
}

/// Real software between the exporter and the proxy that knows the hosts: it wants a password itself.
#[test]
fn tinyproxy_lets_the_exporter_through_with_its_password() {
    let _stand_ins = stand_ins();
    let (lab, behind) = behind_a_proxy();
    let (mut tinyproxy, port) = tinyproxy(&lab, behind.address);
    let output = once(&lab, &format!("proxy_url: 'http://user:s3cr3t@127.0.0.1:{port}',"), &[]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let mut asked = behind.asked();
    asked.sort();
    assert_eq!(asked.len(), 2, "one tunnel for each host: {asked:?}");
    assert!(
        asked
            .iter()
            .zip(["graph", "login"])
            .all(|(asked, host)| asked.starts_with(&format!("CONNECT {host}.example:443 ")))
    );
    let wrong = lab.runtime.block_on(failure(&lab, &format!("proxy_url: 'http://user:wrong@localhost:{port}',"), &[]));
    tinyproxy.kill().unwrap();
    tinyproxy.wait().unwrap();
    // It answers 401 to a wrong password, and 407 to none.
    insta::assert_snapshot!(wrong, @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://localhost:PORT: error sending request: client error (Connect): tunnel error: unsuccessful; the proxy does not let this host or user through, or cannot reach the host, as its log says: allow the host there, check the user in proxy_url, or leave the proxy out for the host by no_proxy; gave up after 3 attempts");
}

/// Starts tinyproxy on a free port, with the proxy at `upstream` behind it.
fn tinyproxy(lab: &Lab, upstream: std::net::SocketAddr) -> (Child, u16) {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let file = lab.directory.path().join("tinyproxy.conf");
    let text =
        format!("Port {port}\nListen 127.0.0.1\nBasicAuth user s3cr3t\nUpstream http {upstream}\nMaxClients 20\n");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("tinyproxy");
    command.arg("-d").arg("-c").arg(&file).stdout(Stdio::null());
    let child = command.spawn().unwrap_or_else(|error| panic!("tinyproxy: {error}; tests/run installs it"));
    wait_for("tinyproxy", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    (child, port)
}

/// A proxy that opens TLS has a certificate of its own authority.
#[test]
fn a_proxy_that_opens_tls_is_told_with_the_remedy() {
    let _stand_ins = stand_ins();
    let (lab, _) = behind_a_proxy();
    let mut options = Options::new(clock::now, vec![TenantOptions::manual("other")]);
    options.names = vec!["login.example".to_owned()];
    let opener = lab.runtime.block_on(remote_assistance_exporter::simulator::Simulator::start(options)).unwrap();
    let proxy = Proxy::start(Answer::Tunnel(opener.address()));
    let keys = format!("proxy_url: 'http://localhost:{}',", proxy.address.port());
    insta::assert_snapshot!(lab.runtime.block_on(failure(&lab, &keys, &[])), @"connection: POST https://login.example/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token by the proxy http://localhost:PORT: error sending request: client error (Connect): invalid peer certificate: BadSignature; if the service or a proxy has its certificate from a private authority, name that in ca_file");
    // With that authority beside the first, the same way leads through.
    let ca_file = lab.directory.path().join("ca.pem");
    let both = [std::fs::read_to_string(&ca_file).unwrap(), opener.ca_pem().to_owned()].concat();
    std::fs::write(&ca_file, both).unwrap();
    let refused = lab.runtime.block_on(failure(&lab, &keys, &[]));
    assert!(refused.contains("AADSTS90002"), "the other simulator answers: {refused}");
}
