//! Client certificates: which of them is let in by which `client_auth_type`.

use std::net::SocketAddr;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls::version::{TLS12, TLS13};

use super::client::Client;
use super::lab::{Authority, Kind, Pair, Site, run, self_signed_client};

/// Whether clients are let in: without a certificate, with a right one, with one of another authority, with
/// one that has expired.
const RULES: [(&str, [bool; 4]); 5] = [
    ("NoClientCert", [true, true, true, true]),
    ("RequestClientCert", [true, true, true, true]),
    ("RequireAnyClientCert", [false, true, true, true]),
    ("VerifyClientCertIfGiven", [true, true, false, false]),
    ("RequireAndVerifyClientCert", [false, true, false, false]),
];

#[test]
fn each_type_lets_in_whom_go_lets_in() {
    let site = Site::new(Kind::P256);
    let right = site.authority.client(Vec::new());
    let wrong = Authority::new("Another CA").client(Vec::new());
    let expired = site.authority.expired_client();
    for (name, rules) in RULES {
        let authorities = if name.contains("Verify") { "\nclient_ca_file: ca.crt" } else { "" };
        let mut exporter = site.start(&format!("client_auth_type: {name}{authorities}"), "");
        let clients = [None, Some(&right), Some(&wrong), Some(&expired)];
        for (number, (identity, let_in)) in clients.into_iter().zip(rules).enumerate() {
            for version in [&TLS12, &TLS13] {
                let client = Client { identity, versions: vec![version], ..Client::new(&site.authority.certificate) };
                let answer = client.get(exporter.address(), "/metrics").map(|(answer, _)| answer.status);
                assert_eq!(answer.is_ok(), let_in, "{name}, client {number}, {version:?}: {answer:?}");
                assert!(answer.is_err() || answer.unwrap() == 200);
            }
        }
        exporter.stop();
    }
}

#[test]
fn refusals_say_why_to_both_sides() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt", "");
    let address = exporter.address();
    let refused =
        |identity: Option<&Pair>| Client { identity, ..Client::new(&site.authority.certificate) }.refused(address);
    assert_eq!(refused(None), "received fatal alert: CertificateRequired");
    exporter.wait_for_log(&["level=debug", "No TLS on a connection", "peer sent no certificates"]);
    let wrong = Authority::new("Another CA").client(Vec::new());
    assert_eq!(refused(Some(&wrong)), "received fatal alert: UnknownCA");
    exporter.wait_for_log(&["No TLS on a connection", "UnknownIssuer"]);
    assert_eq!(refused(Some(&site.authority.expired_client())), "received fatal alert: CertificateExpired");
    exporter.wait_for_log(&["No TLS on a connection", "certificate expired"]);
    // A server's certificate is not for clients.
    let servers = site.authority.server(Kind::P256);
    assert_eq!(refused(Some(&servers)), "received fatal alert: UnsupportedCertificate");
    assert!(exporter.stop().iter().all(|line| !line.contains("level=warn") && !line.contains("level=error")));
}

/// As people make them by `openssl req -x509`, and as exporter-toolkit's own tests have them.
#[test]
fn a_certificate_that_is_its_own_authority_is_let_in() {
    let site = Site::new(Kind::P256);
    let known = self_signed_client(Vec::new());
    site.write("ca.crt", &known.certificate);
    let mut exporter = site.start("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt", "");
    Client::with(&site.authority.certificate, &known).agrees(exporter.address());
    let unknown = self_signed_client(Vec::new());
    Client::with(&site.authority.certificate, &unknown).refused(exporter.address());
    // It is not enough to show the certificate: its key has to sign.
    let stolen = Pair { certificate: known.certificate.clone(), key: unknown.key };
    site.write_pair("stolen", &stolen);
    let url = format!("https://localhost:{}/metrics", exporter.address().port());
    let arguments = ["-sS", "--cacert", "server.crt", "--cert", "stolen.crt", "--key", "stolen.key", &url];
    assert!(!run(site.directory.path(), "curl", &arguments).0);
}

/// Its key signs for itself, and for nobody else.
#[test]
fn a_client_that_is_known_itself_issues_nothing() {
    let site = Site::new(Kind::P256);
    let alice = || vec![SanType::DnsName("alice.example".try_into().unwrap())];
    let known = [
        Authority::with("Leaf", |params| {
            (params.is_ca, params.subject_alt_names) = (IsCa::ExplicitNoCa, alice());
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }),
        Authority::with("Unmarked", |params| (params.is_ca, params.subject_alt_names) = (IsCa::NoCa, alice())),
        Authority::with("No signer of certificates", |params| {
            params.subject_alt_names = alice();
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }),
    ];
    let clients: String = known.iter().map(|client| client.certificate.as_str()).collect();
    let tls = "client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt\n\
               client_allowed_sans: [alice.example]";
    for beside in ["", &site.authority.certificate] {
        site.write("ca.crt", &format!("{beside}{clients}"));
        let mut exporter = site.start(tls, "");
        let address = exporter.address();
        for client in &known {
            Client::with(&site.authority.certificate, &client.pair()).agrees(address);
            let refusal = Client::with(&site.authority.certificate, &client.client(alice())).refused(address);
            assert_eq!(refusal, "received fatal alert: UnknownCA");
        }
        let issued = site.authority.client(alice());
        let let_in = Client::with(&site.authority.certificate, &issued).get(address, "/metrics").is_ok();
        assert_eq!(let_in, !beside.is_empty());
        // Clients that look at the names of the authorities find those of all.
        let (_, hints) = run(site.directory.path(), "openssl", &["s_client", "-connect", &address.to_string()]);
        for name in ["Leaf", "Unmarked", "No signer of certificates"] {
            assert!(hints.contains(name), "{hints}");
        }
        exporter.stop();
    }
}

/// Its authority is not asked, but its own time and purpose are.
#[test]
fn a_client_that_is_known_itself_needs_a_certificate_that_is_valid_and_for_clients() {
    let site = Site::new(Kind::P256);
    let good = site.authority.client(Vec::new());
    let expired = site.authority.expired_client();
    let of_a_server = site.authority.server(Kind::P256);
    let known: String = [&good, &expired, &of_a_server].map(|pair| pair.certificate.as_str()).concat();
    site.write("known.crt", &known);
    let mut exporter = site.start("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: known.crt", "");
    let address = exporter.address();
    Client::with(&site.authority.certificate, &good).agrees(address);
    for (pair, alert) in [(&expired, "CertificateExpired"), (&of_a_server, "UnsupportedCertificate")] {
        let refusal = Client::with(&site.authority.certificate, pair).refused(address);
        assert_eq!(refusal, format!("received fatal alert: {alert}"));
    }
    exporter.stop();
}

#[test]
fn an_authority_out_of_time_or_for_servers_alone_lets_nobody_in() {
    let site = Site::new(Kind::P256);
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    let expired = Authority::with("Expired", |params| params.not_after = year(2021));
    let early = Authority::with("Early", |params| params.not_before = year(2090));
    let servers =
        Authority::with("Servers", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let clients = Authority::with("Clients", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    });
    let tls = "client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt";
    for good in [None, Some(&clients)] {
        let all = [Some(&expired), Some(&early), Some(&servers), good];
        site.write("ca.crt", &all.iter().flatten().map(|one| one.certificate.as_str()).collect::<String>());
        let mut exporter = site.start(tls, "");
        let address = exporter.address();
        let refused = |authority: &Authority| {
            Client::with(&site.authority.certificate, &authority.client(Vec::new())).refused(address)
        };
        assert_eq!(refused(&expired), "received fatal alert: CertificateUnknown");
        assert_eq!(refused(&early), "received fatal alert: CertificateUnknown");
        assert_eq!(refused(&servers), "received fatal alert: UnknownCA");
        if let Some(good) = good {
            Client::with(&site.authority.certificate, &good.client(Vec::new())).agrees(address);
        }
        exporter.wait_for_log(&["No TLS on a connection", "authority has expired or is not yet valid; renew it"]);
        exporter.stop();
    }
}

fn names(address: SocketAddr, site: &Site, names: Vec<SanType>) -> bool {
    let pair = site.authority.client(names);
    Client::with(&site.authority.certificate, &pair).get(address, "/metrics").is_ok()
}

#[test]
fn names_of_each_kind_are_compared_whole() {
    let site = Site::new(Kind::P256);
    let tls = "client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt\nclient_allowed_sans: \
               [prometheus.example, scraper@example.com, 192.0.2.7, '2001:db8::7', 'spiffe://example/prometheus']";
    let mut exporter = site.start(tls, "");
    let address = exporter.address();
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let email = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let ip = |name: &str| SanType::IpAddress(name.parse().unwrap());
    for san in [
        dns("prometheus.example"),
        email("scraper@example.com"),
        ip("192.0.2.7"),
        ip("2001:db8::7"),
        ip("::ffff:192.0.2.7"),
        uri("spiffe://example/prometheus"),
    ] {
        assert!(names(address, &site, vec![san.clone()]), "{san:?}");
        assert!(names(address, &site, vec![dns("other.example"), san.clone()]), "{san:?}");
    }
    for san in [
        dns("prometheus.example.org"),
        dns("a.prometheus.example"),
        dns("Prometheus.example"),
        dns("*.example"),
        email("other@example.com"),
        ip("192.0.2.8"),
        uri("spiffe://example/prometheus/"),
    ] {
        assert!(!names(address, &site, vec![san.clone()]), "{san:?}");
    }
    // The common name is no such name.
    assert!(!names(address, &site, Vec::new()));
    exporter.wait_for_log(&["No TLS on a connection", "none of the certificate's names is in client_allowed_sans"]);
    // A right name from another authority is no help, and no certificate none.
    let forged = Authority::new("Another CA").client(vec![dns("prometheus.example")]);
    assert!(Client::with(&site.authority.certificate, &forged).get(address, "/metrics").is_err());
    assert!(Client::new(&site.authority.certificate).get(address, "/metrics").is_err());
}

/// Go would take a client without a certificate for one without names.
#[test]
fn names_are_demanded_of_everybody() {
    let site = Site::new(Kind::P256);
    let tls = "client_auth_type: VerifyClientCertIfGiven\nclient_ca_file: ca.crt\nclient_allowed_sans: [a.example]";
    let mut exporter = site.start(tls, "");
    let refusal = Client::new(&site.authority.certificate).refused(exporter.address());
    assert_eq!(refusal, "received fatal alert: CertificateRequired");
    assert!(names(exporter.address(), &site, vec![SanType::DnsName("a.example".try_into().unwrap())]));
}

/// Who resumes a session is not verified again, so nobody does where clients are verified.
#[test]
fn sessions_are_resumed_only_where_nobody_is_verified() {
    let site = Site::new(Kind::P256);
    let identity = site.authority.client(Vec::new());
    for (tls, expected) in [
        ("", rustls::HandshakeKind::Resumed),
        ("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt", rustls::HandshakeKind::Full),
    ] {
        let mut exporter = site.start(tls, "");
        for version in [&TLS12, &TLS13] {
            let client = Client { versions: vec![version], ..Client::with(&site.authority.certificate, &identity) };
            let config = client.config();
            let kinds = [0, 1].map(|_| {
                let mut stream = super::client::connect(&config, exporter.address()).unwrap();
                let request = "GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
                crate::support::exchange(&mut stream, request).unwrap();
                stream.conn.handshake_kind().unwrap()
            });
            assert_eq!(kinds, [rustls::HandshakeKind::Full, expected], "{tls} {version:?}");
        }
        exporter.stop();
    }
}
