//! Bytes that are no proper request, or an odd one, and what they are answered.
//!
//! Behind each stands a proper request, the last one of its connection: it is answered where the server
//! still knows where requests begin, and where it does not, nothing is.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use super::{Connections, Target, connect};

const LAST: &[u8] = b"GET /-/healthy HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n";

/// A request line and headers with a Host.
fn head(line: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: e\r\n{headers}\r\n").into_bytes()
}

fn get(headers: &str) -> Vec<u8> {
    head("GET /-/healthy", headers)
}

fn get_with(headers: &str, body: &str) -> Vec<u8> {
    [get(headers), body.as_bytes().to_vec()].concat()
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    [head("POST /metrics", headers), body.as_bytes().to_vec()].concat()
}

/// The statuses of all answers until the server closes.
fn statuses(target: &Target, bytes: &[u8]) -> Vec<u16> {
    let mut stream = connect(target.address);
    let mut writer = stream.try_clone().unwrap();
    let bytes = [bytes, LAST].concat();
    // Beside the reading, and the server may close before it has seen all.
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&bytes).and_then(|()| writer.shutdown(Shutdown::Write));
    });
    let mut answer = Vec::new();
    // A reset loses nothing that was read before it.
    let _ = stream.read_to_end(&mut answer);
    writing.join().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    answer.split("HTTP/1.").skip(1).map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

#[track_caller]
fn check(shapes: &[(&str, Vec<u8>, &[u16])]) {
    let target = Target::start(1, &[]);
    let scraper = target.scraper(Connections::Kept);
    let mut wrong = Vec::new();
    for (name, bytes, expected) in shapes {
        let answered = statuses(&target, bytes);
        if answered != *expected {
            wrong.push(format!("{name}: {answered:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    scraper.end();
    target.end();
}

#[test]
fn methods_and_targets() {
    check(&[
        ("TRACE", head("TRACE /", ""), &[405, 200]),
        ("CONNECT to an authority", head("CONNECT e:80", ""), &[405, 200]),
        ("CONNECT to a page", head("CONNECT /metrics", ""), &[405, 200]),
        ("OPTIONS of the server", head("OPTIONS *", ""), &[405, 200]),
        ("OPTIONS of a page", head("OPTIONS /metrics", ""), &[405, 200]),
        ("unknown method", head("BREW /metrics", ""), &[405, 200]),
        ("lower case", head("get /metrics", ""), &[405, 200]),
        ("no method", head("G@T /", ""), &[400]),
        ("long method", head(&format!("{} /", "A".repeat(70_000)), ""), &[431]),
        ("absolute form", head("GET http://e/-/healthy", ""), &[200, 200]),
        ("absolute form of another host", head("GET http://other:1/-/healthy", ""), &[200, 200]),
        ("absolute form of another scheme", head("GET ftp://e/-/healthy", ""), &[200, 200]),
        ("authority form", head("GET e:80", ""), &[400]),
        ("asterisk form", head("GET *", ""), &[400]),
        ("no slash", head("GET metrics", ""), &[400]),
        ("two slashes", head("GET //metrics", ""), &[404, 200]),
        ("dots", head("GET /x/../metrics", ""), &[404, 200]),
        ("dots beyond the root", head("GET /../../etc/passwd", ""), &[404, 200]),
        ("escaped letter", head("GET /%6detrics", ""), &[404, 200]),
        ("escaped NUL", head("GET /metrics%00", ""), &[404, 200]),
        ("NUL", head("GET /metrics\0", ""), &[400]),
        ("UTF-8", head("GET /ä", ""), &[404, 200]),
        ("no UTF-8", b"GET /\xff HTTP/1.1\r\nHost: e\r\n\r\n".to_vec(), &[400]),
        ("a space", head("GET /met rics", ""), &[400]),
        ("two spaces", head("GET  /metrics", ""), &[400]),
        ("a tab", head("GET\t/metrics", ""), &[400]),
        ("a long path", head(&format!("GET /{}", "x".repeat(10_000)), ""), &[404, 200]),
        ("a request line beyond the limit", head(&format!("GET /{}", "x".repeat(70_000)), ""), &[431]),
    ]);
}

#[test]
fn versions() {
    let settings = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    check(&[
        ("0.9", b"GET /metrics\r\n\r\n".to_vec(), &[400]),
        ("1.0", b"GET /-/healthy HTTP/1.0\r\n\r\n".to_vec(), &[200]),
        ("1.0 kept", b"GET /-/healthy HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_vec(), &[200, 200]),
        ("1.2", b"GET /-/healthy HTTP/1.2\r\nHost: e\r\n\r\n".to_vec(), &[400]),
        ("2.0", b"GET /-/healthy HTTP/2.0\r\nHost: e\r\n\r\n".to_vec(), &[400]),
        // Only TLS agrees on HTTP/2; who speaks it unasked would not understand an answer.
        ("HTTP/2 unasked", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), &[]),
        ("upgrade to HTTP/2", get(settings), &[200, 200]),
        ("upgrade to WebSocket", get("Connection: Upgrade\r\nUpgrade: websocket\r\n"), &[200, 200]),
        ("TLS", [b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03".to_vec(), vec![1; 200]].concat(), &[400]),
        ("all bytes", (0..=255).collect(), &[400]),
        ("a bare LF", b"GET /-/healthy HTTP/1.1\nHost: e\n\n".to_vec(), &[200, 200]),
        ("a bare CR", b"GET /-/healthy HTTP/1.1\rHost: e\r\r".to_vec(), &[400]),
        ("empty lines first", [b"\r\n".repeat(5000), get("")].concat(), &[200, 200]),
    ]);
}

#[test]
fn headers() {
    // Beside `Host`.
    let more = |count| get(&(0..count).map(|n| format!("X-{n}: x\r\n")).collect::<String>());
    check(&[
        ("no Host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("two Hosts", get("Host: e\r\n"), &[400]),
        ("no host in Host", b"GET /-/healthy HTTP/1.1\r\nHost: a b/c\r\n\r\n".to_vec(), &[400]),
        ("user in Host", b"GET /-/healthy HTTP/1.1\r\nHost: u@e\r\n\r\n".to_vec(), &[400]),
        ("empty Host", b"GET /-/healthy HTTP/1.1\r\nHost:\r\n\r\n".to_vec(), &[200, 200]),
        ("as many as may be", more(99), &[200, 200]),
        ("one too many", more(100), &[431]),
        ("one too large", get(&format!("X: {}\r\n", "x".repeat(70_000))), &[431]),
        ("folded", get("X: a\r\n b\r\n"), &[400]),
        ("NUL", get("X: a\0b\r\n"), &[400]),
        ("CR", get("X: a\rb\r\n"), &[400]),
        ("space in the name", get("X y: a\r\n"), &[400]),
        ("space before the colon", get("X : a\r\n"), &[400]),
        ("no name", get(": a\r\n"), &[400]),
        ("no colon", get("X\r\n"), &[400]),
        ("space first", b"GET /-/healthy HTTP/1.1\r\n Host: e\r\n\r\n".to_vec(), &[400]),
    ]);
}

/// Bodies are not read: what has come with the request is skipped, and what has not ends the connection.
#[test]
fn bodies() {
    let (chunked, end) = ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n");
    let inner = "GET /status HTTP/1.1\r\nHost: e\r\n\r\n";
    let smuggled = format!("{end}{inner}");
    let long = format!("Content-Length: {}\r\n", smuggled.len());
    let as_body = format!("Content-Length: {}\r\n", inner.len());
    check(&[
        ("a body", get_with("Content-Length: 5\r\n", "hello"), &[200, 200]),
        ("of gigabytes", get_with("Content-Length: 9999999999\r\n", &"x".repeat(4 << 20)), &[200]),
        ("a request as a body", get_with(&as_body, inner), &[200, 200]),
        ("the same length twice", get_with("Content-Length: 1\r\nContent-Length: 1\r\n", "x"), &[200, 200]),
        ("two lengths", get_with("Content-Length: 1\r\nContent-Length: 2\r\n", "x"), &[400]),
        ("a list of lengths", get_with("Content-Length: 1, 1\r\n", "x"), &[400]),
        ("a negative length", get("Content-Length: -1\r\n"), &[400]),
        ("a signed length", get_with("Content-Length: +1\r\n", "x"), &[400]),
        ("a hexadecimal length", get_with("Content-Length: 0x1\r\n", "x"), &[400]),
        ("a length beyond numbers", get("Content-Length: 99999999999999999999999\r\n"), &[400]),
        ("chunks", post(chunked, "5\r\nhello\r\n0\r\n\r\n"), &[405, 200]),
        ("chunks and trailers", post(chunked, "5\r\nhello\r\n0\r\nX: y\r\n\r\n"), &[405, 200]),
        ("a chunk of no length", post(chunked, "zz\r\n"), &[405]),
        ("an endless extension", post(chunked, &format!("0;{}\r\n\r\n", "x".repeat(20_000))), &[405]),
        ("chunks in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(), &[400]),
        ("another encoding", post("Transfer-Encoding: gzip\r\n", ""), &[400]),
        ("another encoding last", post("Transfer-Encoding: chunked, identity\r\n", end), &[400]),
        ("nearly chunked", post("Transfer-Encoding: xchunked\r\n", end), &[400]),
        ("a space in the name", post("Transfer-Encoding : chunked\r\n", end), &[400]),
        ("expected to be asked for", post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"), &[405, 200]),
        // Whether the length or the chunks are believed: what hides behind is never answered.
        ("length before chunks", post(&format!("{long}{chunked}"), &smuggled), &[405]),
        ("chunks before length", post(&format!("{chunked}{long}"), &smuggled), &[405]),
    ]);
}

#[test]
fn hundreds_of_requests_in_one_packet_are_answered_in_order() {
    let cycle = [
        ("GET /-/healthy", 200),
        ("HEAD /metrics", 200),
        ("GET /nowhere", 404),
        ("HEAD /nowhere", 404),
        ("POST /", 405),
        ("GET /metrics", 200),
    ];
    let requests: Vec<_> = cycle.iter().cycle().take(600).collect();
    let bytes: Vec<_> = requests.iter().flat_map(|(line, _)| head(line, "")).collect();
    let expected: Vec<_> = requests.iter().map(|(_, status)| *status).chain([200]).collect();
    check(&[("six hundred requests", bytes, &expected)]);
}
