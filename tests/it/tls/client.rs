//! A client by rustls that asks for one page, and tells what was negotiated.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};

use super::lab::Pair;
use crate::support::{Answer, PATIENCE, exchange};

/// How a client connects.
#[derive(Clone)]
pub struct Client<'a> {
    pub authority: &'a str,
    pub identity: Option<&'a Pair>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub provider: CryptoProvider,
    pub protocols: Vec<&'static str>,
}

/// What client and server agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub version: ProtocolVersion,
    pub suite: CipherSuite,
    pub group: NamedGroup,
    pub protocol: Option<String>,
    /// The certificate that the server showed.
    pub certificate: CertificateDer<'static>,
}

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

impl<'a> Client<'a> {
    pub fn new(authority: &'a str) -> Self {
        Self {
            authority,
            identity: None,
            versions: rustls::ALL_VERSIONS.to_vec(),
            provider: rustls::crypto::ring::default_provider(),
            protocols: Vec::new(),
        }
    }

    pub fn with(authority: &'a str, identity: &'a Pair) -> Self {
        Self { identity: Some(identity), ..Self::new(authority) }
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider.clone()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Shakes hands, as far as the client can see: in TLS 1.3, the server's refusal comes later.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        connect(&self.config(), address)
    }

    /// The answer to a GET, and what was agreed on.
    pub fn get(&self, address: SocketAddr, path: &str) -> io::Result<(Answer, Agreed)> {
        let mut stream = self.connect(address)?;
        let agreed = agreed(&stream);
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        exchange(&mut stream, &request).map(|answer| (answer, agreed))
    }

    /// What is agreed on, by a client that is let in.
    #[track_caller]
    pub fn agrees(&self, address: SocketAddr) -> Agreed {
        let (answer, agreed) = self.get(address, "/-/healthy").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "Healthy.\n"));
        agreed
    }

    /// Why a client gets no answer.
    #[track_caller]
    pub fn refused(&self, address: SocketAddr) -> String {
        match self.get(address, "/-/healthy") {
            Err(error) => error.to_string(),
            Ok((answer, _)) => panic!("it was let in: {}", answer.text()),
        }
    }
}

pub fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> io::Result<Stream> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

pub fn agreed(stream: &Stream) -> Agreed {
    let connection = &stream.conn;
    Agreed {
        version: connection.protocol_version().unwrap(),
        suite: connection.negotiated_cipher_suite().unwrap().suite(),
        group: connection.negotiated_key_exchange_group().unwrap().name(),
        protocol: connection.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap()),
        certificate: connection.peer_certificates().unwrap()[0].clone().into_owned(),
    }
}
