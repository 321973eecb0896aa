//! The CSV of the Intune export, decoded a page at a time by the names in its header. Memory stays the
//! same however long it is, and whatever is in it.

#[cfg(test)]
mod tests;

use std::io::{self, Read};

use ::csv::{ByteRecord, Reader, ReaderBuilder};

use super::Page;
use super::columns::{Columns, Mapping, MissingColumns};
use crate::session::{Cell, Reject, RejectReason};

/// Rows of one page: enough to make its cost small, few enough that pages of the longest rows take
/// some ten MiB.
pub const PAGE_ROWS: usize = 500;
/// The longest row. Real ones have up to some kilobytes; a quote that is never closed makes a row of
/// all that follows.
pub const MAX_ROW_BYTES: usize = 64 * 1024;

/// Why a CSV cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// There is nothing in it.
    #[error("it has no header and no rows; export it again")]
    Empty,
    /// A column that no session can do without is not there.
    #[error(transparent)]
    Columns(#[from] MissingColumns),
    /// A row of more than [`MAX_ROW_BYTES`].
    #[error("row {row} has more than {} KiB; is a quote before it not closed?", MAX_ROW_BYTES >> 10)]
    RowTooLong {
        /// Its number; the header is row 0.
        row: u64,
    },
    /// What it is read from failed.
    #[error("row {row} cannot be read: {error}")]
    Io {
        /// Its number; the header is row 0.
        row: u64,
        /// The cause.
        error: io::Error,
    },
}

/// Decodes a whole CSV: bytes in, values out. Reads to the first fault, which comes beside the rows
/// before it.
pub fn decode(body: &[u8], columns: &Columns) -> (Page, Option<CsvError>) {
    let mut page = Page::default();
    let mut rows = match Rows::new(body, columns) {
        Ok(rows) => rows,
        Err(error) => return (page, Some(error)),
    };
    loop {
        match rows.next_page() {
            Ok(Some(next)) => {
                page.reports.extend(next.reports);
                page.rejects.extend(next.rejects);
            }
            Ok(None) => return (page, None),
            Err(error) => return (page, Some(error)),
        }
    }
}

/// The rows of a CSV.
pub struct Rows<R> {
    reader: Reader<Metered<R>>,
    mapping: Mapping,
    schema: Vec<String>,
    record: ByteRecord,
    /// The number of the row to read next; the header is row 0.
    next: u64,
    /// Why there are no more rows: told when those before it were given away.
    fault: Option<CsvError>,
}

impl<R: Read> Rows<R> {
    /// Reads the header, with or without a byte-order mark before it.
    ///
    /// # Errors
    /// Where there is none, or where it lacks a column that no session can do without.
    pub fn new(csv: R, columns: &Columns) -> Result<Self, CsvError> {
        // Rows of any width are read, so that a wrong one is a reject and not the end.
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(Metered::new(csv));
        let mut rows = Self {
            reader,
            mapping: Mapping::default(),
            schema: Vec::new(),
            record: ByteRecord::new(),
            next: 0,
            fault: None,
        };
        if !rows.read_record()? {
            return Err(CsvError::Empty);
        }
        rows.schema = rows.record.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let names: Vec<&str> = rows.schema.iter().map(String::as_str).collect();
        rows.mapping = columns.resolve(&names)?;
        Ok(rows)
    }

    /// The names of its columns.
    pub fn schema(&self) -> &[String] {
        &self.schema
    }

    /// Configured columns that it does not have.
    pub fn unmatched(&self) -> &[String] {
        &self.mapping.unmatched
    }

    /// The next rows, at most [`PAGE_ROWS`]; `None` after the last.
    ///
    /// # Errors
    /// Where there are more rows that cannot be read. All rows before them were given away then.
    pub fn next_page(&mut self) -> Result<Option<Page>, CsvError> {
        let mut page = Page::default();
        while page.rows() < PAGE_ROWS && self.fault.is_none() {
            match self.read_record() {
                Ok(true) => self.row(&mut page),
                Ok(false) => break,
                Err(error) => self.fault = Some(error),
            }
        }
        if page.rows() > 0 {
            return Ok(Some(page));
        }
        self.fault.take().map_or(Ok(None), Err)
    }

    /// Whether there was another record.
    fn read_record(&mut self) -> Result<bool, CsvError> {
        self.reader.get_mut().allow(MAX_ROW_BYTES);
        match self.reader.read_byte_record(&mut self.record) {
            Ok(more) => {
                self.next += u64::from(more);
                Ok(more)
            }
            Err(_) if self.reader.get_ref().spent => Err(CsvError::RowTooLong { row: self.next }),
            Err(error) => Err(CsvError::Io { row: self.next, error: error.into() }),
        }
    }

    fn row(&mut self, page: &mut Page) {
        let first = page.rejects.len();
        let (found, width) = (self.record.len(), self.mapping.width);
        let broken = |detail: String| Reject::anonymous(RejectReason::BrokenRow, detail);
        let cells: Result<Vec<Cell<'_>>, _> =
            self.record.iter().map(|cell| std::str::from_utf8(cell).map(Cell::from)).collect();
        match cells {
            Ok(cells) if found == width => page.push(&self.mapping.row(&cells)),
            Ok(_) => page.rejects.push(broken(format!("the row has {found} cells where the header has {width}"))),
            Err(_) => page.rejects.push(broken("the row is not UTF-8".to_owned())),
        }
        page.number_rejects(first, self.next - 1);
    }
}

/// A byte-order mark and one byte more. The reader of CSV looks for a mark in its first piece alone, and
/// takes a piece with nothing after the mark for the end.
const FIRST_BYTES: usize = 4;

/// Reads no more than what a row may have, so that none fills the memory.
struct Metered<R> {
    inner: R,
    left: usize,
    spent: bool,
    begun: bool,
}

impl<R> Metered<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: 0, spent: false, begun: false }
    }

    fn allow(&mut self, bytes: usize) {
        self.left = bytes;
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.spent = true;
            return Err(io::Error::other("the row is too long"));
        }
        let most = buffer.len().min(self.left);
        let mut read = self.inner.read(&mut buffer[..most])?;
        while !self.begun && read > 0 && read < FIRST_BYTES.min(most) {
            match self.inner.read(&mut buffer[read..most])? {
                0 => break,
                more => read += more,
            }
        }
        self.begun = true;
        self.left -= read;
        Ok(read)
    }
}
