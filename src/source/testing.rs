//! A fake service for this room's tests: it plays a list of replies, one for each request, and keeps
//! what it was sent. A request beyond the list gets status 418, which no test expects.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use super::graph::{Network, RetryPolicy};
use super::{Endpoint, Observer, Source};
use crate::config;

/// One reply, byte for byte.
#[derive(Clone)]
pub enum Reply {
    /// Sent; the connection stays open.
    Keep(Vec<u8>),
    /// Sent; then the connection is closed.
    Close(Vec<u8>),
    /// Sent after so long; the connection stays open.
    Late(Duration, Vec<u8>),
    /// Nothing is sent, ever.
    Silence,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// The request line and headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// The running fake.
pub struct Fake {
    pub url: Url,
    pub ca_file: Option<PathBuf>,
    received: Arc<Mutex<Vec<Received>>>,
    _directory: Option<tempfile::TempDir>,
}

/// A whole answer with a JSON body.
pub fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    bytes_answer(status, headers, body.as_bytes())
}

pub fn bytes_answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    Reply::Keep([text.as_bytes(), b"\r\n", body].concat())
}

pub fn ok(body: &str) -> Reply {
    answer("200 OK", &[("date", "Thu, 19 Mar 2026 12:00:00 GMT")], body)
}

impl Fake {
    pub async fn start(replies: Vec<Reply>) -> Self {
        let (listener, port) = bind().await;
        let received = Arc::default();
        let replies = Arc::new(Mutex::new(VecDeque::from(replies)));
        tokio::spawn({
            let received = Arc::clone(&received);
            async move {
                for connection in 0.. {
                    let Ok((stream, _)) = listener.accept().await else { return };
                    tokio::spawn(serve(stream, connection, replies.clone(), Arc::clone(&received)));
                }
            }
        });
        let url = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        Self { url, ca_file: None, received, _directory: None }
    }

    /// The same over TLS, with a certificate of its own authority.
    pub async fn start_tls(replies: Vec<Reply>) -> Self {
        let (listener, port) = bind().await;
        let (config, ca) = certificate();
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, ca).unwrap();
        let received = Arc::default();
        let replies = Arc::new(Mutex::new(VecDeque::from(replies)));
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn({
            let received = Arc::clone(&received);
            async move {
                for connection in 0.. {
                    let Ok((stream, _)) = listener.accept().await else { return };
                    let (acceptor, replies, received) = (acceptor.clone(), replies.clone(), Arc::clone(&received));
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, connection, replies, received).await;
                        }
                    });
                }
            }
        });
        let url = Url::parse(&format!("https://localhost:{port}")).unwrap();
        Self { url, ca_file: Some(ca_file), received, _directory: Some(directory) }
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn bind() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: usize,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    received: Arc<Mutex<Vec<Received>>>,
) {
    while let Some((head, body)) = read_request(&mut stream).await {
        received.lock().unwrap().push(Received { connection, head, body });
        let reply = replies.lock().unwrap().pop_front();
        match reply.unwrap_or_else(|| answer("418 I'm a teapot", &[], "")) {
            Reply::Keep(bytes) if stream.write_all(&bytes).await.is_ok() => {}
            Reply::Keep(_) => return,
            Reply::Late(wait, bytes) => {
                tokio::time::sleep(wait).await;
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Reply::Close(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Silence => std::future::pending().await,
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let head = head.lines().map(lower_name).collect::<Vec<_>>().join("\n");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, String::from_utf8(bytes[end..].to_vec()).unwrap()))
}

fn lower_name(line: &str) -> String {
    line.split_once(": ").map_or(line.to_owned(), |(name, value)| format!("{}: {value}", name.to_lowercase()))
}

fn certificate() -> (rustls::ServerConfig, String) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    (config, ca.pem())
}

/// An observer that keeps what it is told.
#[derive(Default)]
pub struct Witness(Mutex<Vec<String>>);

impl Witness {
    pub fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn hear(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Observer for Witness {
    fn request(&self, endpoint: Endpoint, status: Option<u16>, _: Duration) {
        let status = status.map_or("error".to_owned(), |status| status.to_string());
        self.hear(format!("{} {status}", crate::session::Label::as_str(endpoint)));
    }

    fn retry(&self) {
        self.hear("retry".to_owned());
    }

    fn throttled(&self) {
        self.hear("throttled".to_owned());
    }

    fn held_back(&self, _: Duration) {
        self.hear("held back".to_owned());
    }

    fn token_expires(&self, _: chrono::DateTime<chrono::Utc>) {
        self.hear("token".to_owned());
    }
}

/// Waits that are real and short.
pub fn quick() -> RetryPolicy {
    RetryPolicy {
        attempts_per_request: 3,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(1),
        loss_per_poll: Duration::from_secs(30),
        first_look: Duration::from_millis(1),
        longest_look: Duration::from_millis(1),
        ..RetryPolicy::default()
    }
}

/// A tenant that reads the fake's sessions report without a token.
pub fn report_tenant(fake: &Fake) -> config::Tenant {
    let path = "/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport".to_owned();
    tenant(fake, config::Source::SessionsReport { page_size: 2, path, columns: Vec::new() })
}

/// A tenant that reads the fake's collection without a token.
pub fn collection_tenant(fake: &Fake) -> config::Tenant {
    tenant(fake, config::Source::Collection { path: "/v1.0/sessions".to_owned(), page_size: None })
}

/// A tenant that reads the export of the fake without a token.
pub fn export_tenant(fake: &Fake, job_timeout: Duration) -> config::Tenant {
    let select = ["SessionId", "Sessionstart", "Sessionend"].map(str::to_owned).to_vec();
    tenant(fake, config::Source::ExportJob { columns: Vec::new(), select, job_timeout })
}

fn tenant(fake: &Fake, source: config::Source) -> config::Tenant {
    config::Tenant {
        name: "contoso".into(),
        tenant_id: Some("11111111-2222-3333-4444-555555555555".to_owned()),
        graph_url: fake.url.clone(),
        authority_url: fake.url.clone(),
        ca_file: fake.ca_file.clone(),
        proxy: config::Proxy::Environment,
        requests_per_minute: config::DEFAULT_REQUESTS_PER_MINUTE,
        credential: config::Credential::None,
        source,
        enrollment_lookup: None,
        poll_interval: Duration::from_secs(300),
        lookback: Duration::from_secs(30 * 86400),
        first_run: config::FirstRun::Count,
    }
}

/// The source of a tenant, and what its observer hears.
pub fn source(tenant: &config::Tenant) -> (Source, Arc<Witness>) {
    let witness = Arc::new(Witness::default());
    (Source::with_policy(tenant, &Network::new(|_| None), witness.clone(), quick()).unwrap(), witness)
}
