//! Paging of OData collections: `@odata.nextLink` is followed until there is none.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use super::graph::{Request, follow};
use super::reading::{Decoded, Decoder, Paging};
use super::{Endpoint, Page, SourceError};
use crate::status::FailureReason;

/// A reading of a collection.
pub(super) struct Links<P = Page> {
    endpoint: Endpoint,
    decoder: Arc<dyn Decoder<P>>,
    url: Url,
    /// Hashes of the links that were followed: a link may have kilobytes, and there may be thousands.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl<P> Links<P> {
    /// Starts at the first page.
    pub fn new(endpoint: Endpoint, first: Url, decoder: Arc<dyn Decoder<P>>) -> Self {
        let hasher = RandomState::new();
        let seen = HashSet::from([hasher.hash_one(&first)]);
        Self { endpoint, decoder, url: first, seen, hasher }
    }
}

impl<P> Paging<P> for Links<P> {
    fn request(&self) -> Request {
        // Asked for on each page: a link does not carry it along.
        let prefer = HeaderValue::from_static("include-unknown-enum-members");
        Request {
            endpoint: self.endpoint,
            method: Method::GET,
            url: self.url.clone(),
            headers: HeaderMap::from_iter([(HeaderName::from_static("prefer"), prefer)]),
            body: None,
        }
    }

    fn decoder(&self) -> Arc<dyn Decoder<P>> {
        self.decoder.clone()
    }

    fn advance(&mut self, read: &Decoded<P>, _: Option<u64>) -> Result<bool, SourceError> {
        let Some(link) = &read.next_link else { return Ok(false) };
        let next = follow(link, &self.url)?;
        if !self.seen.insert(self.hasher.hash_one(&next)) {
            let message = "the answer's nextLink is refused: it leads to a page that was read already";
            return Err(SourceError::new(FailureReason::Paging, message));
        }
        self.url = next;
        Ok(true)
    }
}
