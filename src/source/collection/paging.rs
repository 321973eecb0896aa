//! A collection by its address.

use std::sync::Arc;

use url::Url;

use crate::source::Endpoint;
use crate::source::graph::below;
use crate::source::odata::Links;
use crate::source::reading::{Decoded, Decoder, Paging, Unreadable};

/// A collection by its address.
pub struct Collection {
    first: Url,
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
        Box::new(Links::new(Endpoint::Collection, self.first.clone(), Arc::new(PageDecoder)))
    }
}

impl Decoder for PageDecoder {
    fn decode(&self, body: &[u8]) -> Result<Decoded, Unreadable> {
        let decoded = super::decode(body).map_err(|error| Unreadable::from_json(&error, "an OData collection"))?;
        Ok(Decoded { page: decoded.page, total: decoded.count, next_link: decoded.next_link, ..Decoded::default() })
    }
}
