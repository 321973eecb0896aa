//! `/-/reload`: who may, what it answers, and what waits how long.

use std::time::Duration;

use insta::assert_snapshot;
use remote_assistance_exporter::web::ReloadRequest;
use tokio::sync::mpsc;

use super::{Server, within};

/// A server that takes reloads, and where they arrive.
fn server(waiting: usize) -> (Server, mpsc::Receiver<ReloadRequest>) {
    let (reloads, requests) = mpsc::channel(waiting);
    (Server::with(|state| state.reloads = Some(reloads)), requests)
}

#[tokio::test]
async fn without_the_flag_it_is_forbidden() {
    let server = Server::start();
    for method in ["POST", "PUT"] {
        let response = server.connect().await.request(method, "/-/reload").await;
        assert_eq!((response.status, response.text()), (403, "Lifecycle API is not enabled.\n"), "{method}");
    }
    let response = server.get("/-/reload").await;
    assert_eq!((response.status, response.header("allow")), (405, Some("POST, PUT")));
    assert_eq!(server.sample("http_requests_total{code=\"403\",path=\"/-/reload\"}"), Some(2.0));
}

#[tokio::test]
async fn other_methods_than_post_and_put_are_told_so() {
    let (server, mut requests) = server(1);
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"] {
        let response = server.connect().await.request(method, "/-/reload").await;
        assert_eq!((response.status, response.header("allow")), (405, Some("POST, PUT")), "{method}");
    }
    assert!(requests.try_recv().is_err(), "none of them is a reload");
}

#[tokio::test]
async fn the_answer_comes_when_it_is_done_and_says_how() {
    let (server, mut requests) = server(1);
    server.get("/-/healthy").await;
    for code in [200, 500] {
        let series = format!("http_requests_total{{code=\"{code}\",path=\"/-/reload\"}}");
        assert_eq!(server.sample(&series), Some(0.0));
    }
    let mut answered = String::new();
    for (method, outcome) in [("POST", Ok(())), ("PUT", Err("exporter.yaml:7: no".to_owned()))] {
        let mut client = server.connect().await;
        // A body is no harm: deployment tools send empty JSON.
        client.send(&format!("{method} /-/reload HTTP/1.1\r\nHost: exporter\r\nContent-Length: 2\r\n\r\n{{}}")).await;
        let request = within(requests.recv()).await.unwrap();
        assert!(!request.is_closed(), "it waits");
        request.send(outcome).unwrap();
        let response = client.response_to(method).await;
        answered += &format!("{} {}", response.status, response.text());
    }
    assert_snapshot!(answered, @"
    200 Reloaded.
    500 Failed to reload the configuration: exporter.yaml:7: no
    ");
}

#[tokio::test]
async fn those_that_cannot_wait_are_refused() {
    let (server, mut requests) = server(1);
    let mut first = server.connect().await;
    first.send("POST /-/reload HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
    super::until(|| requests.len() == 1).await;
    let response = server.connect().await.request("POST", "/-/reload").await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_snapshot!(response.text(), @"Too many reloads are waiting; try again later.");
    // At a stop, whoever waits hears that it is one.
    drop(requests.recv().await);
    let response = first.response_to("POST").await;
    assert_eq!(response.status, 503);
    assert_snapshot!(response.text(), @"The exporter is stopping.");
    drop(requests);
    assert_eq!(server.connect().await.request("POST", "/-/reload").await.status, 503);
}

#[tokio::test]
async fn one_that_takes_long_is_answered_before_its_connection_is_cut() {
    let (reloads, mut requests) = mpsc::channel(1);
    let server = Server::with(|state| {
        state.reloads = Some(reloads);
        state.limits.request = Duration::from_millis(500);
    });
    let response = server.connect().await.request("POST", "/-/reload").await;
    assert_eq!(response.status, 504);
    assert_snapshot!(response.text(), @"The reload takes long and goes on; the log and remote_assistance_exporter_config_last_reload_successful tell how it ends.");
    assert!(requests.recv().await.unwrap().is_closed());
}

#[tokio::test]
async fn the_landing_page_does_not_lead_there() {
    let (server, _requests) = server(1);
    assert!(!server.get("/").await.text().contains("reload"));
}
