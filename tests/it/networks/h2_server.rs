//! A collection over HTTP/2, on connections that break.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;
use http::Response;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The server leaves the connection: GOAWAY.
    GoAway,
    /// Its stream is refused: nothing was done.
    Refused,
    /// Its stream is reset.
    Reset,
    /// The server is gone without a word: no answer, no acknowledgement of anything.
    Dead,
}

/// A page with one session, and the last.
const PAGE: &str = r#"{"value":[{"id":"s-1","endDateTime":"2026-03-19T12:00:00Z"}]}"#;

/// A running server. It ends with its runtime.
pub struct H2Server {
    pub url: String,
    pub directory: tempfile::TempDir,
    connections: Arc<Mutex<Vec<usize>>>,
}

impl H2Server {
    /// Requests meet these faults, one after the other; the rest are answered.
    pub async fn start(faults: &[Fault]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let directory = tempfile::tempdir().unwrap();
        let acceptor = acceptor(directory.path().join("ca.pem"));
        let faults = Arc::new(Mutex::new(VecDeque::from(faults.to_vec())));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let record = connections.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, faults, record) = (acceptor.clone(), faults.clone(), record.clone());
                tokio::spawn(async move { serve(stream, acceptor, number, &faults, &record).await });
            }
        });
        Self { url, directory, connections }
    }

    /// The connection of each request, by number.
    pub fn connections(&self) -> Vec<usize> {
        self.connections.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    number: usize,
    faults: &Mutex<VecDeque<Fault>>,
    record: &Mutex<Vec<usize>>,
) {
    let stream = acceptor.accept(stream).await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        record.lock().unwrap().push(number);
        let fault = faults.lock().unwrap().pop_front();
        match fault {
            Some(Fault::GoAway) => connection.abrupt_shutdown(Reason::NO_ERROR),
            Some(Fault::Refused) => respond.send_reset(Reason::REFUSED_STREAM),
            Some(Fault::Reset) => respond.send_reset(Reason::INTERNAL_ERROR),
            Some(Fault::Dead) => std::future::pending().await,
            None => {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(PAGE.as_bytes()), true).unwrap();
            }
        }
    }
}

/// TLS that speaks nothing but HTTP/2. The authority goes into a file.
fn acceptor(ca_file: PathBuf) -> TlsAcceptor {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    std::fs::write(ca_file, params.self_signed(&ca_key).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&params, &ca_key)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
