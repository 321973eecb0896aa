//! Connections that do not come about.

use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::config::Proxy;
use crate::config::proxy::{Environment, NoProxy};

/// A listener that takes no connection any more, and who waits for it.
async fn full() -> (tokio::net::TcpListener, Vec<tokio::net::TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let next = || tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address));
    while let Ok(connected) = next().await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "this machine has no bound");
    }
    (listener, waiting)
}

/// What is said of a connection to this address for which there is little patience.
async fn late(graph_url: &str, proxy: Proxy) -> String {
    let timeouts = Timeouts { connect: Duration::from_millis(50), ..Timeouts::default() };
    let policy = RetryPolicy { attempts_per_request: 2, timeouts, ..quick() };
    let mut tenant = report_tenant(&Fake::start(Vec::new()).await);
    (tenant.graph_url, tenant.proxy) = (graph_url.parse().unwrap(), proxy);
    let session = Session::with_limits(&tenant, policy, Caps::PAGE);
    let error = session.error().await;
    assert_eq!(error.reason, FailureReason::Timeout, "{error}");
    assert_eq!(session.witness.heard(), ["collection error", "retry", "collection error"]);
    error.message
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_told_as_one() {
    let (listener, _waiting) = full().await;
    let address = listener.local_addr().unwrap();
    let said = late(&format!("http://{address}"), Proxy::Direct).await.replace(&address.to_string(), "ADDRESS");
    // The client has one limit for each address and one for all: on a busy machine either comes first.
    let said = said.replace("tcp connect error: deadline has elapsed", "operation timed out");
    insta::assert_snapshot!(said, @"GET http://ADDRESS/sessions: error sending request: client error (Connect): operation timed out; nothing answers there in time: check name resolution and firewall, or whether a proxy is needed (proxy_url); gave up after 2 attempts");
}

#[tokio::test]
async fn a_proxy_that_makes_no_way_in_time_is_told_as_one() {
    let silent = Fake::start(vec![Reply::Silence; 2]).await;
    let variable = Environment::read(|_| Some(silent.url.to_string()));
    let url = variable.proxy().unwrap().unwrap().1.clone();
    let said = late("https://graph.example", Proxy::Via { url, no_proxy: NoProxy::default() }).await;
    let said = said.replace(&silent.url.port().unwrap().to_string(), "PORT");
    insta::assert_snapshot!(said, @"GET https://graph.example/sessions by the proxy http://127.0.0.1:PORT: error sending request: client error (Connect): operation timed out; no way through the proxy in time: check proxy_url and that the proxy reaches the host; gave up after 2 attempts");
}

/// The authority of another certificate is unknown; a port without TLS may have been put right a moment later.
#[tokio::test]
async fn tls_that_fails_is_told_by_what_is_wrong() {
    let service = Fake::start_tls(Vec::new()).await;
    let mut tenant = config::Tenant { ca_file: None, ..report_tenant(&service) };
    let session = Session::new(&tenant);
    let said = session.error().await.message.replace(&service.url.port().unwrap().to_string(), "PORT");
    insta::assert_snapshot!(said, @"GET https://localhost:PORT/sessions: error sending request: client error (Connect): invalid peer certificate: UnknownIssuer; if the service or a proxy has its certificate from a private authority, name that in ca_file");
    assert_eq!(session.witness.heard(), ["collection error"]);

    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    tenant.graph_url = format!("https://{address}").parse().unwrap();
    let session = Session::with_limits(&tenant, RetryPolicy { attempts_per_request: 2, ..quick() }, Caps::PAGE);
    let said = session.error().await;
    assert_eq!(said.reason, FailureReason::Connection);
    insta::assert_snapshot!(said.message.replace(&address.to_string(), "ADDRESS"), @"GET https://ADDRESS/sessions: error sending request: client error (Connect): received corrupt message of type InvalidContentType; is this the address of an https service?; gave up after 2 attempts");
    assert_eq!(session.witness.heard(), ["collection error", "retry", "collection error"]);
}
