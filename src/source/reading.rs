//! One reading of a source: its pages, and what was learned besides them.

mod paged;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::columns::Survey;
use super::{Page, SourceError};

pub(super) use paged::{Decoded, Decoder, Paged, Paging, Rows, Unreadable};

/// One reading of a source. Pages come by [`Reading::next_page`]; what it learned besides them is asked
/// afterwards.
pub struct Reading {
    pages: Box<dyn Pages>,
    far: Far,
    telling: Telling,
}

/// How far a reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Far {
    /// Pages read.
    pub pages: u64,
    /// Rows read, whatever becomes of them.
    pub rows: u64,
    /// Rows that there are, where the service says so.
    pub total: Option<u64>,
}

/// What a reading left out, and went on with the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// How many files.
    pub files: u64,
    /// The first of them and its fault, on one line.
    pub first: String,
}

/// Told how far a reading is, so that this room needs no bars and no log.
pub trait Progress: Send + Sync + 'static {
    /// A page was read.
    fn page(&self, far: Far);
    /// A step begins that may take long and brings no page: what it is, in a few words.
    fn step(&self, what: &'static str);
    /// The reading is over: to its last page, or before it by an error or because nobody wants it.
    fn ended(&self, whole: bool);
}

/// Told when a reading only waits for the service, so that somebody else has its place meanwhile.
#[async_trait]
pub trait Rest: Send + Sync + 'static {
    /// The reading does nothing from now on.
    fn begin(&self);
    /// The reading wants to go on; returns when it may.
    async fn end(&self);
}

/// Tells [`Progress`] of the end, once, however it comes.
struct Telling(Option<Arc<dyn Progress>>);

/// How one kind of source brings its pages.
#[async_trait]
pub(super) trait Pages: Send {
    /// As [`Reading::next_page`].
    async fn next_page(&mut self) -> Result<Option<Page>, SourceError>;
    /// As [`Reading::date`].
    fn date(&self) -> Option<DateTime<Utc>>;
    /// As [`Reading::written`].
    fn written(&self) -> Option<DateTime<Utc>> {
        None
    }
    /// As [`Reading::rows_missing`].
    fn rows_missing(&self) -> u64;
    /// As [`Reading::rows_total`].
    fn rows_total(&self) -> Option<u64> {
        None
    }
    /// As [`Reading::survey`].
    fn survey(&self) -> Option<Survey> {
        None
    }
    /// As [`Reading::set_aside`].
    fn set_aside(&self) -> Option<SetAside> {
        None
    }
    /// As [`Reading::tells_rejects`].
    fn tells_rejects(&self) -> bool {
        false
    }
    /// Whether the last page was read.
    fn is_finished(&self) -> bool;
    /// As [`Reading::committed`].
    fn committed(&mut self) {}
}

impl Reading {
    pub(super) fn new(pages: impl Pages + 'static) -> Self {
        Self { pages: Box::new(pages), far: Far::default(), telling: Telling(None) }
    }

    /// The same, telling how far it is.
    pub(super) fn told_to(self, progress: Option<Arc<dyn Progress>>) -> Self {
        Self { telling: Telling(progress), ..self }
    }

    /// The next page, `None` after the last. Dropping the future loses nothing: the next call asks for
    /// the same page again. So does a call after an error, with what is left of the retry budget.
    pub async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        let read = self.pages.next_page().await;
        match &read {
            Ok(Some(page)) => {
                self.far.pages += 1;
                self.far.rows += page.rows() as u64;
                self.far.total = self.pages.rows_total();
                self.telling.page(self.far);
            }
            Ok(None) => self.telling.end(true),
            // What was read may be asked for again; until then there is nothing to tell.
            Err(_) => self.telling.end(false),
        }
        read
    }

    /// How many rows the service last said there are, where it says so.
    pub fn rows_total(&self) -> Option<u64> {
        self.pages.rows_total()
    }

    /// What became of the columns of the last answer, also where it could not be used for want of one;
    /// `None` for a source without columns, or before any answer.
    pub fn survey(&self) -> Option<Survey> {
        self.pages.survey()
    }

    /// The newest `Date` among the answers with pages: the service's clock.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        self.pages.date()
    }

    /// When the newest of what there is to read was written, where that is known instead of a service's
    /// clock. Where there is nothing, nothing is known to have passed: the beginning of time.
    pub fn written(&self) -> Option<DateTime<Utc>> {
        self.pages.written()
    }

    /// How many rows the service promised and did not deliver; 0 before the last page. Where it
    /// promised different numbers, the last one holds.
    pub fn rows_missing(&self) -> u64 {
        self.pages.rows_missing()
    }

    /// What could not be read to its end so far, if anything.
    pub fn set_aside(&self) -> Option<SetAside> {
        self.pages.set_aside()
    }

    /// Whether the reading itself tells the log which rows could not be read, because it does not bring
    /// them a second time.
    pub fn tells_rejects(&self) -> bool {
        self.pages.tells_rejects()
    }

    /// Whether the last page was read and every promised row came.
    pub fn is_complete(&self) -> bool {
        self.pages.is_finished() && self.pages.rows_missing() == 0
    }

    /// Everything that was read is durable, so that it need not be read again; also of a reading that
    /// failed, for the pages before the failure. Without this word it is taken for lost.
    pub fn committed(mut self) {
        self.pages.committed();
    }
}

impl Telling {
    fn page(&self, far: Far) {
        if let Some(progress) = &self.0 {
            progress.page(far);
        }
    }

    fn end(&mut self, whole: bool) {
        if let Some(progress) = self.0.take() {
            progress.ended(whole);
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.end(false);
    }
}
