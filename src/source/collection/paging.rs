//! Pages of an OData collection: `@odata.nextLink` is followed until there is none.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use crate::source::graph::{Request, below, follow};
use crate::source::reading::{Decoded, Decoder, Paging, Unreadable};
use crate::source::{Endpoint, SourceError};
use crate::status::FailureReason;

/// A collection by its address.
pub struct Collection {
    first: Url,
}

/// A reading of it.
struct Pages {
    url: Url,
    /// Hashes of the links that were followed: a link may have kilobytes, and there may be thousands.
    seen: HashSet<u64>,
    hasher: RandomState,
}

struct PageDecoder;

impl Collection {
    /// The collection at a path below an origin; `page_size` is sent as `$top`.
    pub fn new(origin: &Url, path: &str, page_size: Option<u32>) -> Self {
        let mut first = below(origin, path);
        if let Some(top) = page_size {
            let query = match first.query() {
                None | Some("") => format!("$top={top}"),
                Some(query) => format!("{query}&$top={top}"),
            };
            first.set_query(Some(&query));
        }
        Self { first }
    }

    /// Starts at its first page.
    pub fn read(&self) -> Box<dyn Paging> {
        let hasher = RandomState::new();
        let seen = HashSet::from([hasher.hash_one(&self.first)]);
        Box::new(Pages { url: self.first.clone(), seen, hasher })
    }
}

impl Paging for Pages {
    fn request(&self) -> Request {
        // Asked for on each page: a link does not carry it along.
        let prefer = HeaderValue::from_static("include-unknown-enum-members");
        Request {
            endpoint: Endpoint::Collection,
            method: Method::GET,
            url: self.url.clone(),
            headers: HeaderMap::from_iter([(HeaderName::from_static("prefer"), prefer)]),
            body: None,
        }
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        Arc::new(PageDecoder)
    }

    fn advance(&mut self, read: &Decoded, _: Option<u64>) -> Result<bool, SourceError> {
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

impl Decoder for PageDecoder {
    fn decode(&self, body: &[u8]) -> Result<Decoded, Unreadable> {
        let decoded = super::decode(body).map_err(|error| Unreadable::from_json(&error, "an OData collection"))?;
        Ok(Decoded { page: decoded.page, total: decoded.count, next_link: decoded.next_link, ..Decoded::default() })
    }
}
