//! What the web configuration asks of connections, requests and answers: in force as a whole, and exchanged
//! as a whole while the server runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::config::WebConfig;

/// The web configuration in force. The default is that of an empty file: plain HTTP, and everybody may read.
#[derive(Debug, Default)]
pub struct Access {
    current: ArcSwap<Rules>,
}

/// One web configuration, ready for use.
#[derive(Debug, Default)]
pub(super) struct Rules {
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a web configuration cannot be put in force. One line.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// TLS is asked for.
    #[error("tls_server_config: cannot be served; remove it")]
    Tls,
}

impl Access {
    /// Puts a web configuration in force.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn new(config: &WebConfig) -> Result<Self, AccessError> {
        Ok(Self { current: ArcSwap::from_pointee(Rules::new(config)?) })
    }

    /// What is in force now. One request keeps to it from its beginning to its end.
    pub(super) fn current(&self) -> Arc<Rules> {
        self.current.load_full()
    }
}

impl Rules {
    fn new(config: &WebConfig) -> Result<Self, AccessError> {
        if config.tls.is_some() {
            return Err(AccessError::Tls);
        }
        Ok(Self { headers: config.headers.clone() })
    }

    /// Sets the configured headers in place of the page's own.
    pub fn decorate(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}
