//! What the web configuration asks of connections, requests and answers: in force as a whole, and exchanged
//! as a whole while the server runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::tls::{self, TlsError, TlsServer};
use crate::config::WebConfig;

/// The web configuration in force. The default is that of an empty file: plain HTTP, and everybody may read.
#[derive(Debug, Default)]
pub struct Access {
    current: ArcSwap<Rules>,
}

/// One web configuration, ready for use.
#[derive(Debug, Default)]
pub(super) struct Rules {
    tls: Option<TlsServer>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a web configuration cannot be put in force. One line.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// TLS cannot be served as configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Access {
    /// Puts a web configuration in force.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn new(config: &WebConfig) -> Result<Self, AccessError> {
        let access = Self::default();
        access.replace(config)?;
        Ok(access)
    }

    /// Puts another web configuration in force. Requests and connections under way keep to the one before.
    ///
    /// # Errors
    /// [`AccessError`]; then the one before stays in force.
    pub fn replace(&self, config: &WebConfig) -> Result<(), AccessError> {
        self.current.store(Arc::new(Rules::new(config)?));
        Ok(())
    }

    /// What the next connection's TLS is; `None` for plain HTTP.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.current.load().tls.as_ref().map(|tls| tls.config.clone())
    }

    /// When the first of the certificates that are shown expires; `None` without TLS.
    pub fn certificate_expiry(&self) -> Option<DateTime<Utc>> {
        self.current.load().tls.as_ref().map(|tls| tls.certificate_expiry)
    }

    /// What is in force now. One request keeps to it from its beginning to its end.
    pub(super) fn current(&self) -> Arc<Rules> {
        self.current.load_full()
    }
}

impl Rules {
    fn new(config: &WebConfig) -> Result<Self, AccessError> {
        let tls = config.tls.as_ref().map(|tls| tls::server(tls, config.http2)).transpose()?;
        Ok(Self { tls, headers: config.headers.clone() })
    }

    /// Sets the configured headers in place of the page's own.
    pub fn decorate(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}
