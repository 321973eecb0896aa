//! The file of an export: the archive as it was downloaded, checked, inflated and decoded a page at a
//! time, on a thread of its own. Memory holds the archive and one page.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::source::archive::{self, ArchiveError, Inflated, Limits};
use crate::source::columns::Columns;
use crate::source::csv::{CsvError, Rows};
use crate::source::graph::answer_is_html;
use crate::source::{Page, SourceError};
use crate::status::FailureReason;

/// A file that is read.
pub struct File {
    /// Where it came from, for messages: without the signature.
    from: String,
    state: State,
    header: Header,
}

/// What the first line of a file says.
#[derive(Clone, Default)]
pub struct Header {
    /// The names of its columns; none before it was read.
    pub schema: Vec<String>,
    /// Configured columns that it does not have.
    pub unmatched: Vec<String>,
}

type Csv = Rows<Inflated<Cursor<Bytes>>>;

/// What a step of reading gave.
struct Step {
    /// The file, where there may be more of it.
    csv: Option<Box<Csv>>,
    header: Header,
    page: Result<Option<Page>, SourceError>,
}

enum State {
    /// The archive was not opened yet.
    Packed(Bytes, Arc<Columns>),
    /// Rows of the file are to be decoded.
    Open(Box<Csv>),
    /// A thread is at it. Who stops waiting for it can wait again.
    Working(JoinHandle<Step>),
    /// There is no more of it.
    Done,
}

impl File {
    /// An archive from an address.
    pub fn new(archive: Bytes, from: String, columns: Arc<Columns>) -> Self {
        let state = State::Packed(archive, columns);
        Self { from, state, header: Header::default() }
    }

    /// Its header, also where the file cannot be read for want of a column.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next page; `None` after the last. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Where the archive or a row of it cannot be read. All rows before were given away then.
    pub async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Packed(archive, columns) => {
                    let from = self.from.clone();
                    self.work(move || match open(archive, &columns) {
                        Ok(csv) => next(csv, &from),
                        Err(error) => {
                            let page = Err(error.at(&from));
                            let header = Header { schema: error.into_schema(), unmatched: Vec::new() };
                            Step { csv: None, header, page }
                        }
                    });
                }
                State::Open(csv) => {
                    let from = self.from.clone();
                    self.work(move || next(csv, &from));
                }
                State::Working(work) => {
                    self.state = State::Working(work);
                    return self.finished().await;
                }
                State::Done => return Ok(None),
            }
        }
    }

    /// Reading an archive to its end takes too long for a task's own thread. Whoever drops the reading
    /// does not wait for this; it ends soon, as all of it has bounds.
    fn work(&mut self, step: impl FnOnce() -> Step + Send + 'static) {
        let span = tracing::Span::current();
        self.state = State::Working(tokio::task::spawn_blocking(move || span.in_scope(step)));
    }

    async fn finished(&mut self) -> Result<Option<Page>, SourceError> {
        let State::Working(work) = &mut self.state else { return Ok(None) };
        let Ok(step) = work.await else {
            self.state = State::Done;
            return Err(SourceError::new(FailureReason::Internal, "decoding the export failed"));
        };
        self.state = step.csv.map_or(State::Done, State::Open);
        self.header = step.header;
        step.page
    }
}

/// Why a file cannot be opened, or not be read to its end.
enum Unreadable {
    Html,
    Archive(ArchiveError),
    Csv(CsvError),
}

fn open(archive: Bytes, columns: &Columns) -> Result<Box<Csv>, Unreadable> {
    if answer_is_html(&archive) {
        return Err(Unreadable::Html);
    }
    let inflated = archive::open(Cursor::new(archive), &Limits::default()).map_err(Unreadable::Archive)?;
    Rows::new(inflated, columns).map(Box::new).map_err(Unreadable::Csv)
}

fn next(mut csv: Box<Csv>, from: &str) -> Step {
    let page = csv.next_page().map_err(|error| Unreadable::Csv(error).at(from));
    let header = Header { schema: csv.schema().to_vec(), unmatched: csv.unmatched().to_vec() };
    let more = matches!(page, Ok(Some(_)));
    Step { csv: more.then_some(csv), header, page }
}

impl Unreadable {
    fn at(&self, from: &str) -> SourceError {
        let (reason, why) = match self {
            Self::Html => {
                let why = "the answer is HTML (a proxy or gateway page?): let the exporter through to that host";
                (FailureReason::InvalidResponse, why.to_owned())
            }
            Self::Archive(error @ (ArchiveError::TooLarge(_) | ArchiveError::Bomb(_))) => {
                (FailureReason::TooLarge, error.to_string())
            }
            Self::Archive(error) => (FailureReason::InvalidResponse, error.to_string()),
            Self::Csv(error) => (FailureReason::InvalidResponse, error.to_string()),
        };
        SourceError::new(reason, format!("the export from {from}: {why}; the next poll asks for another export"))
    }
    fn into_schema(self) -> Vec<String> {
        match self {
            Self::Csv(CsvError::Columns(missing)) => missing.into_schema(),
            _ => Vec::new(),
        }
    }
}
