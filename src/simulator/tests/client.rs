//! An https client that takes what comes: no redirects, no decompression, no retries.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::*;

/// Longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A clock that a test moves.
#[derive(Clone)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    /// Noon of a Wednesday.
    pub fn start() -> Self {
        Self(Arc::new(AtomicI64::new(1_773_835_200)))
    }

    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.0.load(Ordering::Relaxed), 0).unwrap()
    }

    pub fn pass(&self, time: TimeDelta) {
        self.0.fetch_add(time.num_seconds(), Ordering::Relaxed);
    }

    pub fn options(&self, tenants: Vec<TenantOptions>) -> Options {
        let clock = self.clone();
        Options::new(move || clock.now(), tenants)
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body came to its announced end.
    pub whole: bool,
}

impl Reply {
    pub fn json(&self) -> Value {
        assert!(self.whole, "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn inflated(&self) -> Vec<u8> {
        assert_eq!(self.header("content-encoding"), Some("gzip"));
        let mut inflated = Vec::new();
        flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut inflated).unwrap();
        inflated
    }
}

/// A client of one simulator.
pub struct Client {
    tls: TlsConnector,
    address: SocketAddr,
    /// How much of a body is read at most.
    pub patience: usize,
}

impl Client {
    pub fn new(simulator: &Simulator) -> Self {
        Self::trusting(simulator.ca_pem(), simulator.address())
    }

    pub fn trusting(ca_pem: &str, address: SocketAddr) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)), address, patience: usize::MAX }
    }

    pub async fn connect(&self, name: &'static str) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        self.tls.connect(ServerName::try_from(name).unwrap(), stream).await
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let exchange = self.exchange(method, path, headers, body);
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| panic!("{method} {path} took too long"))
    }

    async fn exchange(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let io = TokioIo::new(self.connect("localhost").await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let connection = tokio::spawn(connection);
        let host = format!("localhost:{}", self.address.port());
        let mut request = Request::builder().method(method).uri(path).header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(bytes::Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let (parts, mut incoming) = sender.send_request(request).await.unwrap().into_parts();
        let (mut body, mut whole) = (Vec::new(), true);
        while let Some(frame) = incoming.frame().await {
            match frame {
                Ok(frame) => body.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => whole = false,
            }
            if !whole || body.len() > self.patience {
                whole = false;
                break;
            }
        }
        connection.abort();
        Reply { status: parts.status, headers: parts.headers, body, whole }
    }

    pub async fn ask_token(&self, tenant: &TenantOptions) -> Reply {
        let form = token_form(self.address.port(), tenant);
        self.post_form(&format!("/{}/oauth2/v2.0/token", tenant.tenant_id), &form).await
    }

    pub async fn post_form(&self, path: &str, form: &str) -> Reply {
        self.send("POST", path, &[("content-type", "application/x-www-form-urlencoded")], form).await
    }

    pub async fn token(&self, tenant: &TenantOptions) -> String {
        self.ask_token(tenant).await.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub async fn report(&self, token: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        self.send("POST", REPORT, &headers, body).await
    }

    pub async fn get(&self, token: &str, path: &str) -> Reply {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    /// Reads a whole report as the facts say it is to be read; rows by column name.
    pub async fn read_report(&self, token: &str, top: usize) -> Vec<serde_json::Map<String, Value>> {
        let mut rows = Vec::new();
        let mut session_id = Value::Null;
        loop {
            let request = serde_json::json!({"skip": rows.len(), "top": top, "sessionId": session_id});
            let page = self.report(token, &request.to_string()).await.json();
            let columns: Vec<_> = page["Schema"].as_array().unwrap().iter().map(|c| c["Column"].clone()).collect();
            let values = page["Values"].as_array().unwrap();
            for row in values {
                let cells = row.as_array().unwrap().iter().cloned();
                rows.push(columns.iter().map(|name| name.as_str().unwrap().to_owned()).zip(cells).collect());
            }
            session_id = page["SessionId"].clone();
            if values.is_empty() || rows.len() as u64 >= page["TotalRowCount"].as_u64().unwrap() {
                return rows;
            }
        }
    }
}

pub const REPORT: &str = "/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport";
pub const COLLECTION: &str = "/beta/deviceManagement/remoteAssistanceSessions";

pub fn token_form(port: u16, tenant: &TenantOptions) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", &tenant.client_id)
        .append_pair("client_secret", &tenant.client_secret)
        .append_pair("grant_type", "client_credentials")
        .append_pair("scope", &format!("https://localhost:{port}/.default"))
        .finish()
}

/// A session that ended a minute ago.
pub fn session(clock: &TestClock, id: &str) -> Session {
    let end = clock.now() - TimeDelta::minutes(1);
    Session {
        id: id.into(),
        start: Some(end - TimeDelta::minutes(9)),
        end: Some(end),
        session_type: Some("viewOnly".into()),
        ..Session::default()
    }
}

/// A simulator with one tenant and so many scripted sessions, and a token for it.
pub async fn scripted(sessions: usize) -> (TestClock, Simulator, Tenant, Client, String) {
    let clock = TestClock::start();
    let simulator = Simulator::start(clock.options(vec![TenantOptions::manual("contoso")])).await.unwrap();
    let tenant = simulator.tenant("contoso").unwrap();
    tenant.set_sessions((0..sessions).map(|number| session(&clock, &format!("s-{number}"))).collect());
    let client = Client::new(&simulator);
    let token = client.token(tenant.options()).await;
    (clock, simulator, tenant, client, token)
}
