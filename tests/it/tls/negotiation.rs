//! Versions, cipher suites, curves and protocols: what is configured is what is negotiated, whoever asks.

use rustls::crypto::ring::kx_group;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

use super::client::Client;
use super::lab::{Kind, Site, run};

#[test]
fn both_versions_and_every_kind_of_key_are_served() {
    for kind in [Kind::Rsa, Kind::P256, Kind::P384, Kind::Ed25519] {
        let site = Site::new(kind);
        let mut exporter = site.start("", "");
        let address = exporter.address();
        for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let client = Client { versions: vec![version], ..Client::new(&site.authority.certificate) };
            assert_eq!(client.agrees(address).version, name, "{kind:?}");
        }
        let agreed = Client::new(&site.authority.certificate).agrees(address);
        assert_eq!((agreed.version, agreed.protocol), (ProtocolVersion::TLSv1_3, None));
        exporter.stop();
    }
}

#[test]
fn curl_and_openssl_are_served() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    let url = format!("https://localhost:{}/metrics", address.port());
    let curl = |more: &[&str]| {
        let format = "%{http_version} %{response_code}";
        let arguments = [&["-sS", "--cacert", "ca.crt", "-o", "page", "-w", format][..], more, &[&url]].concat();
        let outcome = run(site.directory.path(), "curl", &arguments);
        (outcome, std::fs::read_to_string(site.path("page")).unwrap_or_default())
    };
    for (flags, version) in
        [(&["--tls-max", "1.2"][..], "2"), (&["--tlsv1.3"], "2"), (&["--http1.1"], "1.1"), (&["--compressed"], "2")]
    {
        let ((_, said), page) = curl(flags);
        assert_eq!(said, format!("{version} 200"), "{flags:?}");
        assert!(page.ends_with('\n') && page.contains("\nremote_assistance_exporter_build_info{"), "{flags:?}: {page}");
    }
    for flags in [&["--head"][..], &["--head", "--http1.1"]] {
        let ((succeeded, said), head) = curl(flags);
        assert!(succeeded && said.ends_with(" 200"), "{flags:?}: {said}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert!(length.parse::<usize>().unwrap() > 1000 && head.ends_with("\r\n\r\n"), "{flags:?}: {head}");
    }
    let address = address.to_string();
    for (flag, said) in
        [("-tls1_2", "Protocol  : TLSv1.2"), ("-tls1_3", "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384")]
    {
        let arguments = ["s_client", "-connect", &address, "-CAfile", "ca.crt", flag];
        let (succeeded, text) = run(site.directory.path(), "openssl", &arguments);
        assert!(succeeded && text.contains(said) && text.contains("Verify return code: 0 (ok)"), "{text}");
    }
    // OpenSSL offers no older one unless it is asked to lower its guard.
    for flag in ["-tls1_1", "-tls1"] {
        let arguments = ["s_client", "-connect", &address, flag, "-cipher", "ALL:@SECLEVEL=0"];
        let (succeeded, text) = run(site.directory.path(), "openssl", &arguments);
        assert!(!succeeded && text.contains("alert handshake failure"), "{text}");
    }
}

#[test]
fn versions_are_limited() {
    let site = Site::new(Kind::P256);
    for (limit, served, other) in [("min_version: TLS13", &TLS13, &TLS12), ("max_version: TLS12", &TLS12, &TLS13)] {
        let mut exporter = site.start(limit, "");
        let client = |version| Client { versions: vec![version], ..Client::new(&site.authority.certificate) };
        client(served).agrees(exporter.address());
        let refusal = client(other).refused(exporter.address());
        assert_eq!(refusal, "received fatal alert: ProtocolVersion", "{limit}");
        exporter.wait_for_log(&["level=debug", "No TLS on a connection", "error="]);
        exporter.stop();
    }
}

#[test]
fn the_suite_and_curve_are_those_that_are_configured() {
    let site = Site::new(Kind::Rsa);
    let mut exporter = site.start(
        "cipher_suites: [TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n\
         curve_preferences: [CurveP384, CurveP256]",
        "",
    );
    let address = exporter.address();
    let mut client = Client { versions: vec![&TLS12], ..Client::new(&site.authority.certificate) };
    // The client would rather have AES with 256 bits, and X25519.
    let agreed = client.agrees(address);
    let chosen = CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256;
    assert_eq!((agreed.suite, agreed.group), (chosen, NamedGroup::secp256r1));
    client.provider.kx_groups = vec![kx_group::X25519];
    assert_eq!(client.refused(address), "received fatal alert: HandshakeFailure");
    // Of the curves that both have, the client's order decides.
    client.provider.kx_groups = vec![kx_group::X25519, kx_group::SECP384R1, kx_group::SECP256R1];
    client.provider.cipher_suites.retain(|suite| suite.suite() != chosen);
    let agreed = client.agrees(address);
    assert_eq!(agreed.suite, CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
    assert_eq!(agreed.group, NamedGroup::secp384r1);
    client.provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384);
    assert_eq!(client.refused(address), "received fatal alert: HandshakeFailure");
    // Those of TLS 1.3 are always there.
    let client = Client { versions: vec![&TLS13], ..Client::new(&site.authority.certificate) };
    let agreed = client.agrees(address);
    assert_eq!((agreed.suite, agreed.group), (CipherSuite::TLS13_AES_256_GCM_SHA384, NamedGroup::secp256r1));
}

#[test]
fn the_order_is_the_clients_where_that_is_configured() {
    let site = Site::new(Kind::P256);
    let suites = [
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    for (prefer, expected) in [("true", suites[0]), ("false", suites[1])] {
        let names = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
        let tls = format!("cipher_suites: [{names}]\nprefer_server_cipher_suites: {prefer}");
        let mut exporter = site.start(&tls, "");
        let mut client = Client { versions: vec![&TLS12], ..Client::new(&site.authority.certificate) };
        client.provider.cipher_suites.sort_by_key(|suite| suite.suite() != suites[1]);
        assert_eq!(client.agrees(exporter.address()).suite, expected, "{prefer}");
        exporter.stop();
    }
}

#[test]
fn http2_is_offered_unless_it_is_off() {
    let site = Site::new(Kind::P256);
    for (blocks, both, only_http2) in [
        ("", "h2", Ok("h2")),
        ("http_server_config: {http2: false}", "http/1.1", Err("received fatal alert: NoApplicationProtocol")),
    ] {
        let mut exporter = site.start("", blocks);
        let address = exporter.address();
        let agreed = |protocols: &[&'static str]| {
            let client = Client { protocols: protocols.to_vec(), ..Client::new(&site.authority.certificate) };
            let stream = client.connect(address).map_err(|error| error.to_string())?;
            Ok(super::client::agreed(&stream).protocol.unwrap())
        };
        assert_eq!(agreed(&["h2", "http/1.1"]).as_deref(), Ok(both), "{blocks}");
        assert_eq!(agreed(&["http/1.1"]).as_deref(), Ok("http/1.1"), "{blocks}");
        let outcome: Result<String, String> = agreed(&["h2"]);
        assert_eq!(outcome.as_deref().map_err(String::as_str), only_http2, "{blocks}");
        exporter.stop();
    }
}

#[test]
fn plain_http_is_told_to_use_tls() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let answer = crate::support::get(exporter.address(), "/metrics").unwrap();
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (400, "TLS is spoken here: ask with https:// instead of http://.\n")
    );
    exporter.wait_for_log(&["level=debug", "the client spoke plain HTTP and was told so"]);
}

#[test]
fn the_certificates_expiry_is_a_metric() {
    let site = Site::new(Kind::P256);
    let arguments = ["x509", "-in", "server.crt", "-noout", "-enddate", "-dateopt", "iso_8601"];
    let (_, said) = run(site.directory.path(), "openssl", &arguments);
    let date = said.trim().trim_start_matches("notAfter=").replace(' ', "T");
    let expiry = chrono::DateTime::parse_from_rfc3339(&date).unwrap_or_else(|error| panic!("{date}: {error}"));
    let mut exporter = site.start("", "");
    let (answer, _) = Client::new(&site.authority.certificate).get(exporter.address(), "/metrics").unwrap();
    let scrape = crate::support::Scrape::parse(&answer.text());
    let shown = scrape.value("exporter_web_certificate_expiry_timestamp_seconds");
    assert_eq!(shown, expiry.timestamp() as f64);
}
