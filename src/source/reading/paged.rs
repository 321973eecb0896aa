//! A reading of pages over HTTP, from the first to the last, trusting nothing that the service says
//! about where and when it ends.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::Pages;
use crate::source::columns::{Columns, MissingColumns, Survey};
use crate::source::graph::{Attempt, Budget, Client, Request, answer_is_html, shown};
use crate::source::{Page, SourceError};
use crate::status::FailureReason;

/// Rows of one reading. The service keeps 30 days, and a million sessions in those is one every three
/// seconds around the clock; an archive may hold some more.
const MAX_ROWS: u64 = 5_000_000;
/// Pages of one reading: at the default page size a million rows.
const MAX_PAGES: u64 = 20_000;
/// Pages without rows, one after the other. They happen, but a chain of them leads nowhere.
const MAX_EMPTY_PAGES: u32 = 100;
/// Above this, decoding takes longer than a task may keep its thread (some 100 µs) and moves to a
/// thread of its own. The default page of 50 rows stays below.
const INLINE_DECODE_BYTES: usize = 64 * 1024;

/// How one kind of source asks for its pages and finds the next one. Sends nothing itself.
pub(in crate::source) trait Paging<P = Page>: Send {
    /// The request for the page to read now.
    fn request(&self) -> Request;
    /// What decodes the answer; it may run on another thread.
    fn decoder(&self) -> Arc<dyn Decoder<P>>;
    /// The mapping of columns, where the answers have columns.
    fn columns(&self) -> Option<&Columns> {
        None
    }
    /// Moves to the page after `read`; `Ok(false)` where there is none. `total` is how many rows the
    /// service last said there are. Fails where the service names a next page that is not believed.
    fn advance(&mut self, read: &Decoded<P>, total: Option<u64>) -> Result<bool, SourceError>;
}

/// Decodes one answer: bytes in, values out.
pub(in crate::source) trait Decoder<P = Page>: Send + Sync {
    fn decode(&self, body: &[u8]) -> Result<Decoded<P>, Unreadable>;
}

/// What a page is made of: reports, unless it is a list of something else.
pub(in crate::source) trait Rows: Send + 'static {
    /// How many there are, readable or not.
    fn rows(&self) -> usize;
}

impl Rows for Page {
    fn rows(&self) -> usize {
        Self::rows(self)
    }
}

/// A decoded page of any kind.
#[derive(Default)]
pub(in crate::source) struct Decoded<P = Page> {
    /// Its rows.
    pub page: P,
    /// How many rows there are in all, where the service says so.
    pub total: Option<u64>,
    /// The service's own address of the next page.
    pub next_link: Option<String>,
    /// The service's name for the snapshot that is being read.
    pub session_id: Option<String>,
    /// The names of its columns, where it has columns.
    pub schema: Vec<String>,
}

/// A body that is not what it should be, in words that quote nothing of it.
pub(in crate::source) enum Unreadable {
    /// It ends too early: another attempt may bring the rest.
    Cut(String),
    /// Another attempt would bring the same.
    Wrong(String),
    /// Columns are missing.
    Columns(MissingColumns),
}

/// A reading by one client.
pub(in crate::source) struct Paged<P = Page> {
    client: Arc<Client>,
    budget: Budget,
    paging: Box<dyn Paging<P>>,
    state: State,
    rows: u64,
    pages: u64,
    empty_pages: u32,
    total: Option<u64>,
    date: Option<DateTime<Utc>>,
    /// The columns of the last answer that had any.
    schema: Vec<String>,
}

enum State {
    /// There is another page.
    Going,
    /// All pages were read.
    Finished,
    /// The page before this named no next page that can be believed.
    Stuck(SourceError),
}

impl<P: Rows> Paged<P> {
    /// With a poll's whole patience.
    pub fn new(client: Arc<Client>, paging: Box<dyn Paging<P>>) -> Self {
        let budget = client.budget();
        Self::within(budget, client, paging)
    }

    /// With this patience.
    pub fn within(budget: Budget, client: Arc<Client>, paging: Box<dyn Paging<P>>) -> Self {
        let state = State::Going;
        Self {
            client,
            budget,
            paging,
            state,
            rows: 0,
            pages: 0,
            empty_pages: 0,
            total: None,
            date: None,
            schema: Vec::new(),
        }
    }

    /// As [`Pages::next_page`].
    pub async fn next(&mut self) -> Result<Option<P>, SourceError> {
        match &self.state {
            State::Finished => return Ok(None),
            State::Stuck(error) => return Err(error.clone()),
            State::Going => {}
        }
        let (decoded, date) = self.fetch().await?;
        // Nothing waits from here on, so a page is taken whole or not at all.
        self.date = self.date.max(date);
        self.total = decoded.total.or(self.total);
        if !decoded.schema.is_empty() {
            self.schema.clone_from(&decoded.schema);
        }
        self.rows += decoded.page.rows() as u64;
        self.pages += 1;
        self.empty_pages = if decoded.page.rows() == 0 { self.empty_pages + 1 } else { 0 };
        self.state = match self.paging.advance(&decoded, self.total).and_then(|more| self.bounded(more)) {
            Ok(true) => State::Going,
            Ok(false) => State::Finished,
            // The rows of this page are good, so the error waits for the next call.
            Err(error) => State::Stuck(error),
        };
        Ok(Some(decoded.page))
    }

    async fn fetch(&mut self) -> Result<(Decoded<P>, Option<DateTime<Utc>>), SourceError> {
        let request = self.paging.request();
        // What failed within an attempt is charged twice then, so the reading rather ends too early.
        let mut attempt = Attempt::first();
        loop {
            let answer = self.client.send(&request, &mut self.budget).await?;
            let date = answer.date();
            let (why, cut) = match decode(self.paging.decoder(), answer.body).await? {
                Ok(decoded) => return Ok((decoded, date)),
                Err(Unreadable::Cut(why)) => (why, true),
                Err(Unreadable::Wrong(why)) => (why, false),
                Err(Unreadable::Columns(missing)) => {
                    let why = missing.to_string();
                    self.schema = missing.into_schema();
                    (why, false)
                }
            };
            let message = format!("{} {}: {why}", request.method, shown(&request.url));
            let error = SourceError::new(FailureReason::InvalidResponse, message);
            if !cut {
                return Err(error);
            }
            self.client.pause_after_cut(error, attempt, &mut self.budget).await?;
            attempt = attempt.next();
        }
    }

    /// Holds a source that would go on to its bounds.
    fn bounded(&self, more: bool) -> Result<bool, SourceError> {
        let endless = if self.rows > MAX_ROWS {
            format!("more than {MAX_ROWS} rows")
        } else if self.pages >= MAX_PAGES {
            let has_key = !self.paging.request().endpoint.lists_devices();
            let remedy = if has_key { "; a larger source.page_size makes fewer" } else { "" };
            format!("more than {MAX_PAGES} pages{remedy}")
        } else if self.empty_pages >= MAX_EMPTY_PAGES {
            format!("{MAX_EMPTY_PAGES} empty pages in a row")
        } else {
            return Ok(more);
        };
        if !more {
            return Ok(false);
        }
        Err(SourceError::new(FailureReason::Paging, format!("the paging does not end: {endless}")))
    }
}

#[async_trait]
impl Pages for Paged {
    async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        self.next().await
    }

    fn date(&self) -> Option<DateTime<Utc>> {
        self.date
    }

    fn rows_missing(&self) -> u64 {
        match self.state {
            State::Finished => self.total.map_or(0, |total| total.saturating_sub(self.rows)),
            State::Going | State::Stuck(_) => 0,
        }
    }

    fn rows_total(&self) -> Option<u64> {
        self.total
    }

    fn survey(&self) -> Option<Survey> {
        let columns = self.paging.columns().filter(|_| !self.schema.is_empty())?;
        Some(columns.survey(&self.schema))
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }
}

async fn decode<P: Rows>(
    decoder: Arc<dyn Decoder<P>>,
    body: Bytes,
) -> Result<Result<Decoded<P>, Unreadable>, SourceError> {
    if answer_is_html(&body) {
        let why = "the answer is HTML (a proxy or gateway page?); check graph_url and source.path";
        return Ok(Err(Unreadable::Wrong(why.to_owned())));
    }
    if body.len() <= INLINE_DECODE_BYTES {
        return Ok(decoder.decode(&body));
    }
    // Whoever drops the reading does not wait for this; it ends soon, as a body has a bound.
    let span = tracing::Span::current();
    let decoding = tokio::task::spawn_blocking(move || span.in_scope(|| decoder.decode(&body)));
    decoding.await.map_err(|_| SourceError::new(FailureReason::Internal, "decoding a page failed"))
}

impl Unreadable {
    /// What `serde_json` says of a body, without the values that it may quote: they can be anyone's.
    pub fn from_json(error: &serde_json::Error, expected: &str) -> Self {
        let text = error.to_string();
        let text = text.split_once(", expected ").map_or(text.clone(), |(_, rest)| format!("expected {rest}"));
        if error.is_eof() {
            Self::Cut(format!("the answer is cut off: {text}"))
        } else {
            Self::Wrong(format!("the answer is not the JSON of {expected}: {text}"))
        }
    }
}
