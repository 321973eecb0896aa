//! One GET over one connection, by HTTP/1.1.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::trust::{self, OtherCertificate};
use crate::commands::Failure;
use crate::config::HttpClientConfig;

/// What is asked with.
pub(super) struct Client {
    tls: Arc<ClientConfig>,
    server_name: Option<String>,
    authorization: Option<HeaderValue>,
}

/// Why there is no answer, on one line.
pub(super) struct Problem {
    pub(super) text: String,
    /// The server shows another certificate than its own file has.
    pub(super) other_certificate: bool,
}

impl Client {
    /// `own` is the certificate of the exporter itself, where that is asked.
    pub(super) fn new(http: &HttpClientConfig, own: Option<CertificateDer<'static>>) -> Result<Self, Failure> {
        Ok(Self {
            tls: Arc::new(trust::client(&http.tls, own)?),
            server_name: http.tls.server_name.clone(),
            authorization: http.authorization.clone(),
        })
    }

    /// The status of one GET.
    pub(super) async fn get(&self, uri: &Uri) -> Result<StatusCode, Problem> {
        let secure = uri.scheme_str() == Some("https");
        // HTTP's own.
        let default_port = if secure { 443 } else { 80 };
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = (host, uri.port_u16().unwrap_or(default_port));
        let stream = TcpStream::connect(address).await.map_err(|error| explain(&error))?;
        if !secure {
            return self.exchange(uri, stream).await;
        }
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| explain(&error))?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await;
        self.exchange(uri, stream.map_err(|error| explain(&error))?).await
    }

    async fn exchange<T>(&self, uri: &Uri, stream: T) -> Result<StatusCode, Problem>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| explain(&error))?;
        let mut request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| explain(&error))?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
        }
        let answer = sender.send_request(request);
        tokio::pin!(connection, answer);
        // The connection does the work, and may end together with the answer.
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        };
        answer.map(|answer| answer.status()).map_err(|error| explain(&error))
    }
}

fn explain(error: &(dyn Error + 'static)) -> Problem {
    let mut other_certificate = false;
    let text = match tls_error(error) {
        Some(tls) => {
            let remedy = match tls {
                rustls::Error::InvalidCertificate(CertificateError::Other(other))
                    if other.0.downcast_ref::<OtherCertificate>().is_some() =>
                {
                    other_certificate = true;
                    return Problem { text: other.to_string(), other_certificate };
                }
                rustls::Error::InvalidCertificate(_) => {
                    "; give its authority as ca_file in tls_config of --healthcheck.config.file"
                }
                rustls::Error::InvalidMessage(_) => "; where it speaks plain HTTP, ask with http://",
                rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
                    "; give a client certificate as cert_file and key_file in tls_config of --healthcheck.config.file"
                }
                _ => "",
            };
            format!("{tls}{remedy}")
        }
        None => error.to_string(),
    };
    Problem { text, other_certificate }
}

/// The error of TLS that stands behind this one.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // What an I/O error holds is not its source but itself.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = held.and_then(|held| held.downcast_ref()).or_else(|| error.downcast_ref());
        if tls.is_some() {
            return tls;
        }
        next = error.source();
    }
    None
}
