//! Microsoft Graph, or what stands in for it, over HTTP.
//!
//! `network` has the ways out, which tenants share; `transport` makes one attempt under every limit;
//! `retry` decides whether another follows, `rate` when; `auth` gets the token; [`Client`] joins them.
//! The token goes to the configured origin only; a download goes to another and takes no token.

mod auth;
mod body;
mod claims;
mod client;
mod entra;
mod errors;
mod metadata;
mod network;
mod rate;
mod retry;
#[cfg(test)]
mod tests;
mod token_wire;
mod transport;
mod trust;
mod url;

pub use claims::Claims;
pub use client::{Client, DownloadError, Request};
pub use errors::error_text;
pub use network::Network;
pub use retry::{Budget, RetryPolicy, Timeouts, retry_after};
pub use transport::Answer;

pub(super) use errors::{answer_is_html, one_line};
pub(super) use retry::Attempt;
pub(super) use trust::{certificate_remedy, roots};
pub(super) use url::{below, download, follow, shown};
