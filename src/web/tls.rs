//! TLS: from `tls_server_config` to what rustls serves with, as Go's `crypto/tls` would under
//! exporter-toolkit.

mod clients;
mod error;
mod handshake;
mod identity;
mod negotiation;
mod pem;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::sign::SingleCertAndKey;

use crate::config::{ClientAuth, TlsConfig};
pub use error::TlsError;
pub(super) use handshake::{accept, is_http2};

/// HTTP/2 by its name in ALPN.
pub(super) const HTTP2: &[u8] = b"h2";
/// HTTP/1.1 by its name in ALPN.
const HTTP1: &[u8] = b"http/1.1";

/// Sessions that clients may resume. Scrapers keep their connections, so this helps browsers and probes.
const MAX_SESSIONS: usize = 256;
/// Sessions that one handshake of TLS 1.3 offers: one for each of the connections that a browser opens
/// next, as rustls itself has it.
const TICKETS: usize = 2;

/// What TLS is served with.
#[derive(Clone, Debug)]
pub struct TlsServer {
    /// For each handshake.
    pub config: Arc<ServerConfig>,
    /// When the first of the certificates that are shown expires.
    pub certificate_expiry: DateTime<Utc>,
}

/// Reads certificate, key and authorities, and makes of them what TLS is served with.
///
/// # Errors
/// The first problem, on one line, with the key of the web configuration and the file, and without any
/// part of a private key.
pub fn server(tls: &TlsConfig, http2: bool) -> Result<TlsServer, TlsError> {
    let identity = identity::read(tls)?;
    let provider = Arc::new(negotiation::provider(tls, http2, identity.key.algorithm())?);
    let clients = clients::verifier(tls, &provider)?;
    let versions = negotiation::versions(tls);
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError::new("", format!("nothing can be negotiated ({error}); remove cipher_suites, curve_preferences, min_version and max_version")))?;
    let mut config = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    }
    .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified)));
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols = if http2 { vec![HTTP2.to_vec(), HTTP1.to_vec()] } else { vec![HTTP1.to_vec()] };
    config.send_tls13_tickets = TICKETS;
    config.session_storage = ServerSessionMemoryCache::new(MAX_SESSIONS);
    if tls.client_auth != ClientAuth::None {
        // A resumed session brings its client's certificate along unverified, be it expired meanwhile.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
    }
    Ok(TlsServer { config: Arc::new(config), certificate_expiry: identity.expiry })
}

/// The certificate that the server shows by this configuration, as its files are now.
///
/// # Errors
/// As [`server`].
pub fn server_certificate(tls: &TlsConfig) -> Result<CertificateDer<'static>, TlsError> {
    identity::certificate(tls)
}

#[cfg(test)]
mod tests;
