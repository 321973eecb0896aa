//! The https server: connections in, answers out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{Answer, CLIENT_REQUEST_ID, Call};
use super::authority::HTTP2;
use super::body::Script;
use super::export::blob;
use super::journal::{KEPT_BODY_BYTES, Recorded};
use super::state::Shared;
use super::{control, discovery, graph, token};

/// More connections wait: no test and no demo needs as many.
const MAX_CONNECTIONS: usize = 256;
/// No request of ours is larger.
const MAX_REQUEST_BYTES: usize = 64 << 10;
/// For the handshake, and for the next request of a connection.
const PATIENCE: Duration = Duration::from_secs(60);
/// Before the next try when no connection can be accepted: open files may be short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener stands for.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// Graph, the login host, and what steers the simulator.
    Graph,
    /// The blob storage that exports are downloaded from.
    Blob,
}

/// Accepts connections until it is told to stop.
pub(super) async fn run(
    (listener, role): (TcpListener, Role),
    tls: Arc<ServerConfig>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for number in 0.. {
        let accepted = async {
            let permit = connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let Some((permit, accepted)) = stop.run_until_cancelled(accepted).await else { return };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (acceptor, shared, stop) = (acceptor.clone(), shared.clone(), stop.clone());
        tasks.spawn(async move {
            let _permit = permit;
            stop.run_until_cancelled(connection(stream, acceptor, shared, (number, role))).await;
        });
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>, (number, role): (u64, Role)) {
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, number, role, request).await) }
    });
    if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
        let _ = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        return;
    }
    // An error here is a client that went away or a body that was cut on purpose.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(shared: &Shared, connection: u64, role: Role, request: Request<Incoming>) -> Response<Script> {
    let (mut parts, body) = request.into_parts();
    // HTTP/2 has it in the address.
    if let Some(host) = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        parts.headers.insert(HOST, host);
    }
    let body = Limited::new(body, MAX_REQUEST_BYTES).collect().await.map(|body| body.to_bytes());
    let call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: body.as_ref().cloned().unwrap_or_else(|_| Bytes::new()),
        now: shared.now(),
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    if matches!(role, Role::Blob) {
        let (tenant, answer) = blob::serve(shared, &call);
        shared.record_download(tenant.as_deref(), recorded(connection, parts.version, &call, &answer));
        return answer.dress_as_blob(&call);
    }
    if call.path.starts_with(control::PREFIX) {
        return control::serve(shared, &call).dress(&call);
    }
    let (tenant, answer) = if body.is_err() {
        (None, Answer::error(&call, StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "The body is too large."))
    } else if let Some(segment) = token_endpoint(&call.path) {
        token::serve(shared, segment, &call)
    } else if let Some(segment) = discovery::segment(&call.path) {
        discovery::serve(shared, segment, &call)
    } else {
        graph::serve(shared, &call)
    };
    shared.record(tenant.as_deref(), recorded(connection, parts.version, &call, &answer));
    answer.dress(&call)
}

fn kept(body: &Bytes) -> String {
    String::from_utf8_lossy(&body[..body.len().min(KEPT_BODY_BYTES)]).into_owned()
}

fn token_endpoint(path: &str) -> Option<&str> {
    let segment = path.strip_prefix('/')?.strip_suffix("/oauth2/v2.0/token")?;
    (!segment.contains('/')).then_some(segment)
}

fn recorded(connection: u64, version: Version, call: &Call, answer: &Answer) -> Recorded {
    let header = |name: HeaderName| call.header(name).map(str::to_owned);
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    Recorded {
        at: call.now,
        connection,
        version: format!("{version:?}"),
        method: call.method.to_string(),
        path: format!("{}{query}", call.path),
        status: answer.status.as_u16(),
        authorization: call.headers.contains_key(AUTHORIZATION),
        client_request_id: header(CLIENT_REQUEST_ID),
        prefer: header(HeaderName::from_static("prefer")),
        accept_encoding: header(ACCEPT_ENCODING),
        user_agent: header(USER_AGENT),
        body: if token_endpoint(&call.path).is_some() { String::new() } else { kept(&call.body) },
        write: answer.write,
    }
}
