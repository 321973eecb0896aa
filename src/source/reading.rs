//! One reading of a source: its pages, and what was learned besides them.

mod paged;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{Page, SourceError};

pub(super) use paged::{Decoded, Decoder, Paged, Paging, Rows, Unreadable};

/// One reading of a source. Pages come by [`Reading::next_page`]; what it learned besides them is asked
/// afterwards.
pub struct Reading(Box<dyn Pages>);

/// How one kind of source brings its pages.
#[async_trait]
pub(super) trait Pages: Send {
    /// As [`Reading::next_page`].
    async fn next_page(&mut self) -> Result<Option<Page>, SourceError>;
    /// As [`Reading::date`].
    fn date(&self) -> Option<DateTime<Utc>>;
    /// As [`Reading::rows_missing`].
    fn rows_missing(&self) -> u64;
    /// Whether the last page was read.
    fn is_finished(&self) -> bool;
}

impl Reading {
    pub(super) fn new(pages: impl Pages + 'static) -> Self {
        Self(Box::new(pages))
    }

    /// The next page, `None` after the last. Dropping the future loses nothing: the next call asks for
    /// the same page again. So does a call after an error, with what is left of the retry budget.
    pub async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        self.0.next_page().await
    }

    /// The newest `Date` among the answers with pages: the service's clock.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        self.0.date()
    }

    /// How many rows the service promised and did not deliver; 0 before the last page. Where it
    /// promised different numbers, the last one holds.
    pub fn rows_missing(&self) -> u64 {
        self.0.rows_missing()
    }

    /// Whether the last page was read and every promised row came.
    pub fn is_complete(&self) -> bool {
        self.0.is_finished() && self.0.rows_missing() == 0
    }
}
