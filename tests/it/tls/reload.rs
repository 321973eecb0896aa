//! Certificates change while clients scrape: no request fails, and new handshakes show what the files hold.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::client::{Client, Stream, agreed, connect};
use super::lab::{Kind, Pair, Site};
use crate::support::{Exporter, PATIENCE, exchange, wait_for};

/// How often the certificate is exchanged by writing over its files, and by exchanging their directory.
const EXCHANGES: usize = 20;

fn shown(site: &Site, address: SocketAddr) -> CertificateDer<'static> {
    Client::new(&site.authority.certificate).agrees(address).certificate
}

#[track_caller]
fn wait_until_shown(site: &Site, address: SocketAddr, pair: &Pair) {
    let expected = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    wait_for("the new certificate", || (shown(site, address) == expected).then_some(()));
}

/// Clients that scrape until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Load {
    /// Some with a connection for each request, others with one for all of them. A failed request panics.
    fn start(site: &Site, address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let config = Client::new(&site.authority.certificate).config();
        let client = |scrape: fn(&ClientConfigs) -> usize| {
            let configs = ClientConfigs { config: config.clone(), address, stop: stop.clone() };
            thread::spawn(move || scrape(&configs))
        };
        let clients = vec![client(scrape_anew), client(scrape_anew), client(scrape_on), client(scrape_on)];
        Self { stop, clients }
    }

    /// How many requests each of them was answered.
    #[track_caller]
    fn end(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().map(|client| client.join().expect("a request failed")).collect()
    }
}

struct ClientConfigs {
    config: Arc<ClientConfig>,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl ClientConfigs {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

fn scrape_anew(client: &ClientConfigs) -> usize {
    let mut requests = 0;
    while client.goes_on() {
        let mut stream = connect(&client.config, client.address).unwrap();
        let answer = exchange(&mut stream, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        assert_eq!(answer.status, 200);
        requests += 1;
    }
    requests
}

fn scrape_on(client: &ClientConfigs) -> usize {
    let mut stream = BufReader::new(connect(&client.config, client.address).unwrap());
    let before = agreed(stream.get_ref()).certificate;
    let mut requests = 0;
    while client.goes_on() {
        stream.get_mut().write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        read_answer(&mut stream);
        requests += 1;
    }
    assert_eq!(agreed(stream.get_ref()).certificate, before);
    requests
}

fn read_answer(stream: &mut BufReader<Stream>) {
    assert_eq!(read_any_answer(stream), "HTTP/1.1 200 OK\r\n");
}

/// The first line of an answer that is read whole.
fn read_any_answer<S: Read>(stream: &mut BufReader<S>) -> String {
    let mut line = || {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        line
    };
    let first = line();
    let mut length = 0;
    loop {
        let header = line();
        match header.trim_end().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    assert!(body.ends_with(b"\n"));
    first
}

#[test]
fn under_load_certificates_are_exchanged_and_no_request_fails() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    let load = Load::start(&site, address);
    let mut last = None;
    for number in 0..EXCHANGES {
        let kind = [Kind::P256, Kind::Ed25519, Kind::P384][number % 3];
        let pair = site.authority.server_named(&format!("server {number}"), kind);
        // First one file, then the other: for a moment, they do not belong together.
        site.write_pair("server", &pair);
        // Some are left to be found.
        if number % 10 != 0 {
            exporter.signal("HUP");
        }
        wait_until_shown(&site, address, &pair);
        if number == EXCHANGES / 2 {
            a_broken_file_changes_nothing(&site, &mut exporter, &pair);
        }
        last = Some(pair);
    }
    let requests = load.end();
    assert!(requests.iter().all(|requests| *requests > EXCHANGES), "{requests:?}");
    wait_until_shown(&site, address, &last.unwrap());
    exporter.stop();
}

fn a_broken_file_changes_nothing(site: &Site, exporter: &mut Exporter, pair: &Pair) {
    for broken in ["", "no key", &pair.key[..60]] {
        let before = refusals(exporter);
        site.write("server.key", broken);
        exporter.signal("HUP");
        wait_for("the refusal", || (refusals(exporter) > before).then_some(()));
        wait_until_shown(site, exporter.address(), pair);
    }
    site.write("server.key", &pair.key);
    exporter.signal("HUP");
    wait_until_shown(site, exporter.address(), pair);
}

fn refusals(exporter: &Exporter) -> usize {
    let parts = ["level=error", "Cannot reload the web configuration", "web.yml:3: tls_server_config.key_file: "];
    let refuses = |line: &&String| parts.iter().all(|part| line.contains(part));
    exporter.log().iter().filter(refuses).count()
}

/// As the kubelet exchanges what a volume of a secret holds: the files are links through `..data`.
#[test]
fn under_load_kubernetes_exchanges_a_secret() {
    let site = Site::new(Kind::P256);
    let secret = site.path("secret");
    fs::create_dir(&secret).unwrap();
    let first = site.authority.server_named("first", Kind::P256);
    exchange_secret(&secret, 0, &first);
    for (link, name) in [("server.crt", "tls.crt"), ("server.key", "tls.key")] {
        symlink(Path::new("..data").join(name), secret.join(name)).unwrap();
        fs::remove_file(site.path(link)).unwrap();
        symlink(secret.join(name), site.path(link)).unwrap();
    }
    let mut exporter = site.start("", "");
    let address = exporter.address();
    wait_until_shown(&site, address, &first);
    let load = Load::start(&site, address);
    for number in 1..=EXCHANGES {
        let pair = site.authority.server_named(&format!("server {number}"), Kind::P256);
        exchange_secret(&secret, number, &pair);
        if number % 10 != 0 {
            exporter.signal("HUP");
        }
        wait_until_shown(&site, address, &pair);
    }
    let requests = load.end();
    assert!(requests.iter().all(|requests| *requests > EXCHANGES), "{requests:?}");
    let log = exporter.stop();
    // Both files change at once, so there is no moment at which they do not belong together.
    assert!(log.iter().all(|line| !line.contains("tls_server_config")), "{log:#?}");
}

fn exchange_secret(secret: &Path, number: usize, pair: &Pair) {
    let directory = secret.join(format!("..{number}"));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("tls.crt"), &pair.certificate).unwrap();
    fs::write(directory.join("tls.key"), &pair.key).unwrap();
    symlink(format!("..{number}"), secret.join("..data_tmp")).unwrap();
    fs::rename(secret.join("..data_tmp"), secret.join("..data")).unwrap();
    if number > 0 {
        fs::remove_dir_all(secret.join(format!("..{}", number - 1))).unwrap();
    }
}

#[test]
fn other_authorities_and_rules_end_the_connections_before() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    let old = Client::new(&site.authority.certificate);
    let config = old.config();
    let mut kept = BufReader::new(connect(&config, address).unwrap());
    old.agrees(address);
    site.configure("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt", "");
    wait_for("clients without a certificate to be refused", || old.get(address, "/metrics").is_err().then_some(()));
    let pair = site.authority.client(Vec::new());
    Client::with(&site.authority.certificate, &pair).agrees(address);
    // Who was let in without a certificate is answered no more, and not kept either.
    ends_by_itself(kept.get_mut());
    // Another authority: who was let in by the first is not let in any more, and is answered no more.
    let mut kept = Client::with(&site.authority.certificate, &pair).connect(address).unwrap();
    let other = super::lab::Authority::new("Another CA");
    site.write("ca.crt", &other.certificate);
    let refused = || Client::with(&site.authority.certificate, &pair).get(address, "/metrics").is_err();
    wait_for("the first authority's clients to be refused", || refused().then_some(()));
    ends_unanswered(&mut kept);
    Client::with(&site.authority.certificate, &other.client(Vec::new())).agrees(address);
}

/// Says nothing; the server ends the connection.
#[track_caller]
fn ends_by_itself<S: Read>(stream: &mut S) {
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said).map_err(|error| error.kind());
    assert!(!matches!(ended, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "it is kept open");
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

/// Asks once more; the server has ended the connection, or does so without the page.
#[track_caller]
fn ends_unanswered<S: Read + Write>(stream: &mut S) {
    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut said = Vec::new();
    let ended = stream.read_to_end(&mut said).map_err(|error| error.kind());
    assert!(!matches!(ended, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "it is kept open");
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 503 "), "{said}");
}

/// Passwords give way to certificates: who had neither, and kept a connection, has not got in by waiting.
#[test]
fn a_connection_without_tls_does_not_outlive_the_passwords() {
    let site = Site::new(Kind::P256);
    let hash = bcrypt::hash("right", 4).unwrap();
    site.write("web.yml", &format!("basic_auth_users: {{a: {hash}}}\n"));
    let mut exporter = Exporter::start(site.flags());
    let address = exporter.address();
    let mut stranger = BufReader::new(TcpStream::connect(address).unwrap());
    stranger.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    stranger.get_mut().write_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(read_any_answer(&mut stranger), "HTTP/1.1 401 Unauthorized\r\n");
    site.configure("client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: ca.crt", "");
    exporter.signal("HUP");
    let pair = site.authority.client(Vec::new());
    let let_in = || Client::with(&site.authority.certificate, &pair).get(address, "/metrics").ok();
    wait_for("TLS", let_in);
    ends_unanswered(stranger.get_mut());
    exporter.stop();
}
