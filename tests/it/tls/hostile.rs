//! Clients that mean harm, at the real program: what they hold is bounded, and scrapes go on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use rustls::ClientConnection;
use rustls::version::TLS12;

use super::client::{Client, Stream};
use super::lab::{Kind, Site};
use crate::support::{Exporter, PATIENCE, wait_for};

/// More than there are slots for connections.
const CROWD: usize = 300;

fn scraped(site: &Site, address: SocketAddr) {
    let (answer, _) = Client::new(&site.authority.certificate).get(address, "/metrics").unwrap();
    assert_eq!(answer.status, 200);
}

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the server closes, in whichever way.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// A ClientHello as rustls sends it.
fn hello(site: &Site) -> Vec<u8> {
    let config = Client::new(&site.authority.certificate).config();
    let mut bytes = Vec::new();
    ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap().write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn handshakes_that_are_not_finished_keep_nobody_out() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    let hello = hello(&site);
    let crowd: Vec<_> = (0..CROWD)
        .map(|number| {
            let mut stream = dial(address);
            // Nothing, half of a ClientHello, or a whole one and no more.
            let _ = stream.write_all(&hello[..[0, hello.len() / 2, hello.len()][number % 3]]);
            stream
        })
        .collect();
    for _ in 0..20 {
        scraped(&site, address);
    }
    // Those that had to make room are closed; in ten seconds, all are.
    exporter.wait_for_log(&["No TLS on a connection", "the handshake took too long"]);
    for stream in crowd {
        rest(stream);
    }
    exporter.stop();
}

#[test]
fn garbage_ends_a_connection_at_once() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    let record_of_nothing = [&[22, 3, 1, 0xff, 0xff][..], &[0; 100]].concat();
    for garbage in [
        &b"\0\0\0\0\0\0\0\0"[..],
        b"\x16\x03\x01\x00\x05hello",
        b"\x80\x2e\x01\0\x02",
        &record_of_nothing,
        b"ssh-2.0-x\r\n",
    ] {
        let mut stream = dial(address);
        stream.write_all(garbage).unwrap();
        let _ = stream.shutdown(Shutdown::Write);
        let said = rest(stream);
        // At most an alert.
        assert!(said.is_empty() || said[0] == 21, "{garbage:?}: {said:?}");
        scraped(&site, address);
    }
    assert!(exporter.stop().iter().all(|line| !line.contains("panicked") && !line.contains("level=error")));
}

/// In TLS 1.2 a client may ask for another handshake at any time, at little cost to itself.
#[test]
fn renegotiation_is_refused() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address().to_string();
    let arguments = ["s_client", "-connect", &address, "-CAfile", "ca.crt", "-tls1_2"];
    let (_, agreed) = super::lab::run(site.directory.path(), "openssl", &arguments);
    assert!(agreed.contains("Secure Renegotiation IS supported"), "{agreed}");
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(arguments).current_dir(site.directory.path());
    let said = crate::tools::feed(&mut openssl, "R\nGET / HTTP/1.1\r\n");
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "{said}");
    scraped(&site, exporter.address());
}

/// A record that drips holds back all that is in it: neither its request nor its connection lasts.
#[test]
fn requests_have_their_deadline_over_tls() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let client = Client { versions: vec![&TLS12], ..Client::new(&site.authority.certificate) };
    let mut stream: Stream = client.connect(exporter.address()).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"");
    scraped(&site, exporter.address());
}

#[test]
fn a_flood_of_http2_leaves_memory_and_scrapes_alone() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    scraped(&site, address);
    let before = resident_bytes(&exporter);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client { protocols: vec!["h2"], ..Client::new(&site.authority.certificate) };
    let flood = runtime.spawn(reset_flood(client.config(), address));
    for _ in 0..20 {
        scraped(&site, address);
    }
    let sent = runtime.block_on(flood).unwrap();
    assert!(sent >= 10_000, "{sent}");
    let grown = resident_bytes(&exporter).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    // All that is left is the scrape itself.
    wait_for("the requests in flight to end", || {
        let (answer, _) = Client::new(&site.authority.certificate).get(address, "/metrics").unwrap();
        answer.text().contains("\nremote_assistance_exporter_http_requests_in_flight 1\n").then_some(())
    });
    exporter.stop();
}

/// Opens streams and gives each up at once, over as many connections as that takes.
async fn reset_flood(config: std::sync::Arc<rustls::ClientConfig>, address: SocketAddr) -> usize {
    let connector = tokio_rustls::TlsConnector::from(config);
    let mut sent = 0;
    while sent < 10_000 {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..1000 {
            let Ok(ready) = sender.clone().ready().await else { break };
            sender = ready;
            let request = http::Request::get("https://localhost/metrics").body(()).unwrap();
            let Ok((_, mut stream)) = sender.send_request(request, true) else { break };
            tokio::task::yield_now().await;
            stream.send_reset(h2::Reason::CANCEL);
            sent += 1;
        }
        connection.abort();
    }
    sent
}

fn resident_bytes(exporter: &Exporter) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Answers pings and reads from the socket, and lets no answer through: each holds its place until its time
/// is over.
#[test]
fn closed_windows_of_one_address_leave_scrapes_for_others() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client { protocols: vec!["h2"], ..Client::new(&site.authority.certificate) };
    let statuses = |path| {
        let connections = (0..2).map(|_| runtime.block_on(closed_windows(client.config(), address, path)));
        let statuses: Vec<u16> = connections.flatten().collect();
        let of = |status: u16| statuses.iter().filter(|found| **found == status).count();
        (of(200), of(503))
    };
    // Half of the forty scrapes, and of the thirty-two pages, that are served at a time.
    assert_eq!(statuses("/metrics"), (20, 30));
    assert_eq!(statuses("/"), (16, 34));
    for _ in 0..5 {
        scraped(&site, address);
    }
    exporter.stop();
}

/// Asks 25 times on one connection from another address of this machine; the statuses. The connection stays
/// as long as the runtime.
async fn closed_windows(config: std::sync::Arc<rustls::ClientConfig>, address: SocketAddr, path: &str) -> Vec<u16> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.1.1:0".parse().unwrap()).unwrap();
    let stream = socket.connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let closed = h2::client::Builder::new().initial_window_size(0).handshake::<_, bytes::Bytes>(stream).await;
    let (mut sender, connection) = closed.unwrap();
    tokio::spawn(connection);
    let (mut statuses, mut answers) = (Vec::new(), Vec::new());
    for _ in 0..25 {
        sender = sender.ready().await.unwrap();
        let request = http::Request::get(format!("https://localhost{path}")).body(()).unwrap();
        let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
        statuses.push(answer.status().as_u16());
        answers.push(answer);
    }
    // A dropped answer would be reset, and a connection that nobody asks on ended.
    tokio::spawn(async move {
        let _held = (sender, answers);
        std::future::pending::<()>().await;
    });
    statuses
}

#[test]
fn a_stop_does_not_wait_for_handshakes() {
    let site = Site::new(Kind::P256);
    let mut exporter = site.start("", "");
    let address = exporter.address();
    let mut silent = TcpStream::connect(address).unwrap();
    // The type of a handshake's first record, and no more.
    silent.write_all(&[22]).unwrap();
    // Whoever comes next is accepted after it.
    Client::new(&site.authority.certificate).agrees(address);
    let log = exporter.stop();
    assert!(!log.iter().any(|line| line.contains("did not end in time")), "{log:#?}");
    drop(silent);
}
