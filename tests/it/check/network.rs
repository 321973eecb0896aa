//! What is said of names, connections, certificates and proxies that are wrong.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;

use chrono::{DateTime, Datelike as _, TimeZone as _, Utc};
use insta::assert_snapshot;
use remote_assistance_exporter::clock;

use super::{Checked, configuration, lab, program, stand_ins, step};

/// The step that failed and its message, and that everything after it was left.
#[track_caller]
fn failed(checked: &Checked, name: &str) -> String {
    assert_eq!(checked.code, 1, "{}", checked.log);
    let document = checked.document();
    let steps = document["tenants"][0]["steps"].as_array().unwrap();
    let place = steps.iter().position(|step| step["step"] == name).unwrap();
    assert!(steps[..place].iter().all(|step| step["status"] == "ok"), "{steps:#?}");
    for later in &steps[place + 1..] {
        assert_eq!((&later["status"], &later["skipped_because"]), (&"skipped".into(), &name.into()), "{later}");
    }
    assert_eq!((&steps[place]["status"], &steps[place]["reason"]), (&"failed".into(), &"connection".into()));
    steps[place]["message"].as_str().unwrap().to_owned()
}

const NO_TOKEN: &str = "credential: {kind: none}";

#[test]
fn a_name_that_nobody_knows() {
    let _stand_ins = stand_ins();
    let lab = lab(&[], |_| ());
    let path = configuration(&lab, &format!("graph_url: 'https://graph.invalid', {NO_TOKEN}"));
    let message = failed(&Checked::run(&path, &["--output=json"]), "name_resolution");
    // How the system puts it depends on its resolver.
    let (start, end) = message.split_once("failed to lookup address information: ").unwrap();
    assert_snapshot!(format!("{start}REASON;{}", end.split_once(';').unwrap().1), @"graph_url graph.invalid: REASON; check the name in the configuration and this machine's name resolution");
}

#[test]
fn a_port_where_nobody_listens() {
    let _stand_ins = stand_ins();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let lab = lab(&[], |_| ());
    let path = configuration(&lab, &format!("graph_url: 'https://127.0.0.1:{port}', {NO_TOKEN}"));
    assert_snapshot!(failed(&Checked::run(&path, &["--output=json"]), "tls"), @"graph_url 127.0.0.1:PORT: Connection refused (os error 111); check the address in the configuration, and that a firewall lets this machine reach it");
}

#[test]
fn a_certificate_of_an_unknown_authority() {
    let _stand_ins = stand_ins();
    let lab = lab(&[("contoso", |_| ())], |_| ());
    let path = configuration(&lab, &format!("graph_url: '{}', {NO_TOKEN}", lab.simulator.url()));
    let checked = Checked::run(&path, &["--output=json"]);
    assert_snapshot!(failed(&checked, "tls"), @"graph_url: no trusted authority vouches for the certificate of localhost:PORT (issued by Simulated Graph CA); if the service or a proxy has its certificate from a private authority, name that in ca_file");
    let document = checked.document();
    let connection = &step(&document, "contoso", "tls")["details"]["connections"][0];
    assert_eq!(connection["certificate"]["issuer"], "Simulated Graph CA", "it is shown all the same");
    assert_eq!(connection["trusted_by"], serde_json::Value::Null);
}

#[test]
fn an_address_that_speaks_no_tls() {
    let _stand_ins = stand_ins();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::Write as _;
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 16]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let lab = lab(&[], |_| ());
    let path = configuration(&lab, &format!("graph_url: 'https://127.0.0.1:{port}', {NO_TOKEN}"));
    assert_snapshot!(failed(&Checked::run(&path, &["--output=json"]), "tls"), @"graph_url 127.0.0.1:PORT: no TLS connection: received corrupt message of type InvalidContentType; is this the address of an https service?");
}

/// A server whose certificate is for these names, from a year on to the begin of a day, and a file with its authority.
fn server(names: &[&str], (from, until): (i32, DateTime<Utc>), directory: &std::path::Path) -> u16 {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Corner Shop CA");
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    std::fs::write(directory.join("shop.pem"), ca.pem()).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params =
        rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, names[0]);
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until.year(), until.month() as u8, until.day() as u8);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            // Whoever refuses the certificate goes away.
            let _ = rustls::StreamOwned::new(connection, stream.unwrap()).read(&mut [0; 16]);
        }
    });
    port
}

#[test]
fn a_certificate_that_expired_or_is_for_another_name() {
    let _stand_ins = stand_ins();
    let lab = lab(&[], |_| ());
    let check = |names: &[&str], (from, until): (i32, i32)| {
        let until = Utc.with_ymd_and_hms(until, 1, 1, 0, 0, 0).unwrap();
        let port = server(names, (from, until), lab.directory.path());
        let path =
            configuration(&lab, &format!("graph_url: 'https://localhost:{port}', ca_file: shop.pem, {NO_TOKEN}"));
        failed(&Checked::run(&path, &["--output=json"]), "tls")
    };
    assert_snapshot!(check(&["localhost"], (2020, 2022)), @"graph_url: the certificate of localhost:PORT (issued by Corner Shop CA) expired on 2022-01-01; whoever runs that service has to renew it, unless this machine's clock is wrong");
    assert_snapshot!(check(&["localhost"], (2090, 2099)), @"graph_url: the certificate of localhost:PORT (issued by Corner Shop CA) becomes valid on 2090-01-01 only; this machine's clock is likely wrong");
    assert_snapshot!(check(&["shop.example"], (2020, 2099)), @"graph_url: the certificate of localhost:PORT (issued by Corner Shop CA) is not for this name but for shop.example; name the service by the name that its certificate has");
}

/// A certificate that ends soon is told while it still works. Here the handshake is all that works.
#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    let _stand_ins = stand_ins();
    let lab = lab(&[], |_| ());
    let end = clock::now() + chrono::TimeDelta::days(9);
    let port = server(&["localhost"], (2020, end), lab.directory.path());
    let path = configuration(&lab, &format!("graph_url: 'https://localhost:{port}', ca_file: shop.pem, {NO_TOKEN}"));
    let document = Checked::run(&path, &["--output=json", "--log.level=error"]).document();
    let tls = step(&document, "contoso", "tls");
    assert_eq!(
        (&tls["status"], &tls["details"]["connections"][0]["trusted_by"]),
        (&"warning".into(), &"ca_file".into())
    );
    assert_snapshot!(tls["message"].as_str().unwrap(), @"the certificate of localhost:PORT expires in 8 days; whoever runs that service has to renew it");
}

#[test]
fn behind_a_proxy_the_proxy_resolves_and_connects() {
    let _stand_ins = stand_ins();
    let lab = lab(&[], |_| ());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::Write as _;
            let mut stream = stream.unwrap();
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    let path = configuration(&lab, &format!("graph_url: 'https://graph.invalid', {NO_TOKEN}"));
    let run = |flags: &[&str]| {
        Checked::of(&program(&path).env("HTTPS_PROXY", &proxy).arg("check").args(flags).output().unwrap())
    };
    let checked = run(&[]);
    assert_eq!(checked.code, 1);
    assert_snapshot!(checked.output, @"
        contoso: failed
          configuration    ok       source      sessions_report
                                    credential  none
                                    graph_url   https://graph.invalid
          name resolution  ok       graph.invalid  resolved by the proxy http://127.0.0.1:PORT
                                    127.0.0.1      127.0.0.1
          TLS              ok       graph.invalid:443  by the proxy http://127.0.0.1:PORT; the next steps show whether it is reached
                                    127.0.0.1:PORT    127.0.0.1, no TLS
          token            -        the credential's kind is none
          permission       -        the credential's kind is none
          read             failed   POST https://graph.invalid/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport by the proxy http://127.0.0.1:PORT: error sending request: client error (Connect): tunnel error: unsuccessful; the proxy does not let this host or user through, or cannot reach the host, as its log says: allow the host there, check the user in HTTPS_PROXY, or leave the proxy out for the host by NO_PROXY; gave up after 3 attempts
          columns          skipped  not done, because read failed
          clock            skipped  not done, because read failed

        1 tenant: 1 failed
        ");
    let document = run(&["--output=json"]).document();
    let hosts = &step(&document, "contoso", "name_resolution")["details"]["hosts"];
    assert_eq!((&hosts[0]["proxy"], &hosts[1]["key"]), (&proxy.into(), &"HTTPS_PROXY".into()));
}
