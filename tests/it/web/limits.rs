//! What one client may hold, and how the server treats bytes that are no proper request.

use std::time::Duration;

use prometheus::{GaugeVec, Opts};

use super::crowds::connect_from;
use super::{Gate, Server, until, within};

/// Short enough to wait for.
const SOON: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request() {
    let server = Server::start();
    let mut client = server.connect().await;
    for _ in 0..3 {
        assert_eq!(client.request("GET", "/metrics").await.status, 200);
    }
    let last = client.request_with("GET", "/metrics", "Connection: close\r\n").await;
    assert_eq!(last.header("connection"), Some("close"));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let server = Server::start();
    let mut client = server.connect().await;
    client.send("GET /-/healthy HTTP/1.0\r\n\r\n").await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nHealthy.\n"), "{answer}");
}

#[tokio::test]
async fn requests_in_one_packet_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.connect().await;
    let paths = ["/-/healthy", "/nowhere", "/metrics", "/-/ready", "/status"];
    let requests = paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: exporter\r\n\r\n"));
    client.send(&requests.concat()).await;
    let mut answers = Vec::new();
    for _ in paths {
        answers.push(client.response_to("GET").await.status);
    }
    assert_eq!(answers, [200, 404, 200, 503, 200]);
}

#[tokio::test]
async fn a_client_that_closed_its_side_still_gets_its_answer() {
    let server = Server::start();
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    client.close_writing().await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with('\n'), "{answer}");
}

#[tokio::test]
async fn a_request_that_does_not_end_is_dropped() {
    let server = Server::with(|state| state.limits.request = SOON);
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nHost: exp").await;
    assert_eq!(client.rest().await, "");
    // Also the second on a connection.
    let mut client = server.connect().await;
    client.request("GET", "/-/healthy").await;
    client.send("GET /metrics HTTP/1.1\r\n").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_idle_connection_is_dropped() {
    let server = Server::with(|state| state.limits.idle = SOON);
    let mut silent = server.connect().await;
    assert_eq!(silent.rest().await, "");
    let mut client = server.connect().await;
    client.request("GET", "/-/healthy").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_dropped() {
    // More than the buffers of both systems hold.
    const BYTES: usize = 16 << 20;
    let server = Server::with(|state| state.limits.response = SOON);
    let large = GaugeVec::new(Opts::new("large", "Large."), &["label"]).unwrap();
    large.with_label_values(&["x".repeat(BYTES)]).set(1.0);
    server.registry.register(Box::new(large.clone())).unwrap();
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    client.send("GET /nowhere HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    let answered = || server.sample("http_requests_total{code=\"200\",path=\"/metrics\"}");
    until(|| answered() == Some(1.0)).await;
    server.registry.unregister(Box::new(large)).unwrap();
    until(|| server.sample("http_requests_in_flight") == Some(0.0)).await;
    assert!(client.rest().await.len() < BYTES);
    assert_eq!(server.sample("http_requests_total{code=\"404\",path=\"other\"}"), Some(0.0), "it is not answered");
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let server = Server::start();
    let many: String = (0..150).map(|n| format!("X-{n}: {n}\r\n")).collect();
    assert_eq!(first_line(&server, &format!("GET / HTTP/1.1\r\nHost: exporter\r\n{many}\r\n")).await, REFUSED);
    let large = format!("X-Large: {}\r\n", "x".repeat(20 * 1024));
    assert_eq!(first_line(&server, &format!("GET / HTTP/1.1\r\nHost: exporter\r\n{large}\r\n")).await, REFUSED);
    let usual: String = (0..90).map(|n| format!("X-{n}: {}\r\n", "x".repeat(100))).collect();
    assert_eq!(server.connect().await.request_with("GET", "/", &usual).await.status, 200);
}

const REFUSED: &str = "HTTP/1.1 431 Request Header Fields Too Large";

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = Server::start();
    for bytes in [
        "\x16\x03\x01\x02\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nbad header: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ] {
        assert_eq!(first_line(&server, bytes).await, "HTTP/1.1 400 Bad Request", "{bytes:?}");
    }
}

async fn first_line(server: &Server, request: &str) -> String {
    let mut client = server.connect().await;
    client.send(request).await;
    client.close_writing().await;
    client.rest().await.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn bodies_are_not_read() {
    let server = Server::start();
    // What has come already is skipped.
    let mut client = server.connect().await;
    client.send("GET /-/healthy HTTP/1.1\r\nHost: exporter\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.response_to("GET").await.status, 200);
    assert_eq!(client.request("GET", "/-/healthy").await.status, 200);
    // What is yet to come is not asked for, and ends the connection.
    let mut client = server.connect().await;
    client.send("POST /metrics HTTP/1.1\r\nHost: exporter\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.response_to("POST").await.status, 405);
    assert_eq!(client.rest().await, "");
    let mut client = server.connect().await;
    client.send("POST /metrics HTTP/1.1\r\nHost: exporter\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\nx").await;
    assert_eq!(client.response_to("POST").await.status, 405);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn scrapes_beyond_the_cap_are_refused_and_pages_are_not() {
    let server = Server::with(|state| state.max_requests = 2);
    let mut gate = Gate::install(&server.registry);
    // One address has half of them.
    let mut scrapes = [server.connect().await, connect_from([127, 0, 0, 2], &server).await];
    scrapes[0].send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    gate.holds(1).await;
    let refused = server.get("/metrics").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.text(), "1 scrapes of this address are being served; try again later.\n");
    scrapes[1].send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    gate.holds(2).await;
    let refused = server.get("/metrics").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.text(), "2 scrapes are being served already; try again later.\n");
    assert_eq!(server.get("/-/healthy").await.status, 200);
    gate.open();
    for client in &mut scrapes {
        assert_eq!(client.response_to("GET").await.status, 200);
    }
    until(|| server.sample("http_requests_in_flight") == Some(0.0)).await;
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_scrape_whose_client_hung_up_counts_until_it_ends() {
    let server = Server::with(|state| state.max_requests = 1);
    let mut gate = Gate::install(&server.registry);
    let mut client = server.connect().await;
    client.send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    gate.holds(1).await;
    drop(client);
    assert_eq!(server.get("/metrics").await.status, 503);
    gate.open();
    within(async { while server.get("/metrics").await.status != 200 {} }).await;
}

#[tokio::test]
async fn no_cap_is_no_cap() {
    let server = Server::with(|state| state.max_requests = 0);
    assert_eq!(server.get("/metrics").await.status, 200);
}
