//! Why TLS cannot be served, on one line.

/// A key of `tls_server_config`, the file where there is one, what is wrong and the remedy. Never quotes
/// what a file holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tls_server_config{place}: {problem}")]
pub struct TlsError {
    place: String,
    problem: String,
}

impl TlsError {
    /// A problem with a key; an empty one stands for all of `tls_server_config`.
    pub(super) fn new(key: &str, problem: impl Into<String>) -> Self {
        let place = if key.is_empty() { String::new() } else { format!(".{key}") };
        Self { place, problem: problem.into() }
    }
}
