//! What a stop does to connections.

use std::time::Duration;

use tokio::net::TcpStream;

use super::{Gate, Server, within};

#[tokio::test]
async fn answers_in_flight_go_out_and_everything_else_closes() {
    let server = Server::start();
    let mut gate = Gate::install(&server.registry);
    let mut idle = server.connect().await;
    idle.request("GET", "/-/healthy").await;
    let mut fresh = server.connect().await;
    let mut busy = [server.connect().await, server.connect().await];
    for client in &mut busy {
        client.send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    }
    gate.holds(2).await;
    server.stop.cancel();
    assert_eq!(idle.rest().await, "");
    assert_eq!(fresh.rest().await, "");
    // The listener is closed with the first of them.
    within(async { while TcpStream::connect(server.address).await.is_ok() {} }).await;
    assert!(!server.task.is_finished());
    gate.open();
    for client in &mut busy {
        let answer = client.response_to("GET").await;
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("\ngate 0\n"), "{}", answer.text());
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(client.rest().await, "");
    }
    server.ended().await;
}

#[tokio::test]
async fn under_load_every_answer_that_begins_is_whole() {
    let server = Server::start();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let address = server.address;
            tokio::spawn(async move {
                let mut answers = 0;
                while let Ok(stream) = TcpStream::connect(address).await {
                    drop(stream);
                    let Ok(stream) = TcpStream::connect(address).await else { break };
                    answers += usize::from(whole_answer(stream).await);
                }
                answers
            })
        })
        .collect();
    let answered = || server.sample("http_requests_total{code=\"200\",path=\"/metrics\"}") > Some(50.0);
    super::until(answered).await;
    server.stop.cancel();
    server.ended().await;
    for client in clients {
        assert!(within(client).await.unwrap() > 0);
    }
}

/// Whether there was an answer. Connections that the stop met in the system's queue have none.
async fn whole_answer(mut stream: TcpStream) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let request = b"GET /metrics HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    let sent = stream.write_all(request).await;
    let _ = within(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    if answer.is_empty() {
        return false;
    }
    assert!(sent.is_ok());
    let (headers, body) = answer.split_once("\r\n\r\n").expect("the headers are whole");
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(body.len(), length.parse::<usize>().unwrap());
    true
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut() {
    let server = Server::with(|state| state.limits.drain = Duration::from_millis(100));
    let mut gate = Gate::install(&server.registry);
    let mut stuck = server.connect().await;
    stuck.send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    gate.holds(1).await;
    let mut halfway = server.connect().await;
    halfway.send("GET /metrics HTTP/1.1\r\nHo").await;
    server.stop.cancel();
    server.ended().await;
    assert_eq!(stuck.rest().await, "");
    assert_eq!(halfway.rest().await, "");
    gate.open();
}
