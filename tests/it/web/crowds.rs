//! More connections than there may be: who makes room, and who never does.

use std::net::SocketAddr;
use std::time::Duration;

use prometheus::{GaugeVec, Opts};
use tokio::net::{TcpSocket, TcpStream};

use super::client::Client;
use super::{Gate, Server, until, within};

/// Long enough to tell what does not happen from what is only slow.
const SOON: Duration = Duration::from_millis(150);

/// A connection from another address of this machine.
pub(super) async fn connect_from(source: [u8; 4], server: &Server) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    Client::of(within(socket.connect(server.address)).await.unwrap())
}

async fn is_open(client: &mut Client) -> bool {
    tokio::time::timeout(SOON, client.rest()).await.is_err()
}

#[tokio::test]
async fn who_has_waited_longest_makes_room_for_the_next() {
    let server = Server::with(|state| state.limits.connections = 2);
    let mut first = server.connect().await;
    first.request("GET", "/-/healthy").await;
    let mut second = server.connect().await;
    second.request("GET", "/-/healthy").await;
    first.request("GET", "/-/healthy").await;
    assert_eq!(server.get("/metrics").await.status, 200);
    assert_eq!(second.rest().await, "");
    assert_eq!(first.request("GET", "/-/healthy").await.status, 200);
}

#[tokio::test]
async fn half_a_request_is_none() {
    let server = Server::with(|state| state.limits.connections = 1);
    let mut half = server.connect().await;
    half.send("GET /metrics HTTP/1.1\r\nHo").await;
    assert_eq!(server.get("/metrics").await.status, 200);
    assert_eq!(half.rest().await, "");
}

#[tokio::test]
async fn a_crowd_from_one_address_displaces_only_itself() {
    let server = Server::with(|state| state.limits.connections = 4);
    let mut scraper = connect_from([127, 0, 0, 2], &server).await;
    assert_eq!(scraper.request("GET", "/metrics").await.status, 200);
    let mut crowd = Vec::new();
    for _ in 0..50 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
    assert_eq!(scraper.request("GET", "/metrics").await.status, 200, "on the same connection");
}

#[tokio::test]
async fn an_answer_under_way_is_not_closed_and_the_next_waits_for_it() {
    let server = Server::with(|state| state.limits.connections = 2);
    let mut gate = Gate::install(&server.registry);
    let mut slow = [server.connect().await, connect_from([127, 0, 0, 2], &server).await];
    for client in &mut slow {
        client.send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    }
    gate.holds(2).await;
    let mut next = connect_from([127, 0, 0, 3], &server).await;
    next.send("GET /-/healthy HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    assert!(is_open(&mut slow[0]).await && is_open(&mut slow[1]).await);
    gate.open();
    // One of the two makes room, once its answer is sent.
    assert_eq!(next.response_to("GET").await.status, 200);
    for client in &mut slow {
        assert_eq!(client.response_to("GET").await.status, 200);
    }
}

#[tokio::test]
async fn answers_that_one_address_does_not_read_leave_room_for_others() {
    // More than the buffers of both systems hold.
    const BYTES: usize = 16 << 20;
    let server = Server::with(|state| (state.limits.connections, state.max_requests) = (4, 0));
    let large = GaugeVec::new(Opts::new("large", "Large."), &["label"]).unwrap();
    large.with_label_values(&["x".repeat(BYTES)]).set(1.0);
    server.registry.register(Box::new(large)).unwrap();
    let mut slow = [server.connect().await, server.connect().await];
    for client in &mut slow {
        client.send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    }
    until(|| server.sample("http_requests_in_flight") == Some(2.0)).await;
    let refused = server.get("/metrics").await;
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert_eq!(connect_from([127, 0, 0, 2], &server).await.request("GET", "/metrics").await.status, 200);
    for client in &mut slow {
        assert_eq!(client.response_to("GET").await.status, 200, "whole");
    }
}
