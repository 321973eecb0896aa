//! What is in a file: told by its first bytes, never by its name. Rows are given away a page at a time,
//! so memory stays the same however long a file is.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::json::Scanner;
use crate::session::{Reject, RejectReason};
use crate::source::archive::{self, ArchiveError};
use crate::source::columns::{Columns, MissingColumns};
use crate::source::csv::{CsvError, MAX_ROW_BYTES, PAGE_ROWS, Rows};
use crate::source::wire::body_text;
use crate::source::{Page, collection};

/// What is looked at to tell a format.
const HEAD_BYTES: usize = 64 * 1024;

/// Why a file, or what is left of it, is set aside. One line, which quotes nothing of its contents but
/// the names of columns.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The end comes too early.
    #[error("it is cut off in row {0}; copy it again")]
    Cut(u64),
    /// What should hold rows together does not.
    #[error("it is not JSON after row {0}; nothing behind it was read")]
    Broken(u64),
    /// The columns of a report page stand too far behind its rows, or cannot be read.
    #[error("the Schema of the report page cannot be read; save the page as it was delivered")]
    Schema,
    /// A column that no session can do without is not there.
    #[error(transparent)]
    Columns(#[from] MissingColumns),
    /// A fault of a CSV.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// A fault of a ZIP.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Two bytes a character.
    #[error("it is UTF-16; save it as UTF-8")]
    Utf16,
    /// Packed, but not as a ZIP.
    #[error("it is packed by gzip; unpack it, or pack it as ZIP")]
    Gzip,
    /// An error page, most likely.
    #[error("it is a web page and no report; export it again")]
    Html,
    /// Beyond what is read of one file.
    #[error("it is larger than {} GiB; split it", .0 >> 30)]
    TooLarge(u64),
    /// A device, a pipe or a link that came in place of a file.
    #[error("it is not a regular file")]
    Irregular,
    /// It cannot be opened or read.
    #[error("it cannot be read ({0}); check its permissions")]
    Io(#[from] io::Error),
}

impl Fault {
    /// Whether the same file may be readable at another time.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Archive(ArchiveError::Io(_)) | Self::Csv(CsvError::Io { .. }))
    }
}

/// Takes the rows of a file, and gives them away by the page.
pub(super) struct Sink<'a> {
    page: Page,
    give: &'a mut dyn FnMut(Page) -> bool,
    /// Whether anyone still wants rows.
    pub wanted: bool,
    /// The number of the last row.
    pub row: u64,
}

/// Reads a file to its end, or to its first fault: the rows before it are given away all the same.
/// `give` says whether it wants more.
///
/// # Errors
/// See [`Fault`].
pub fn read(mut file: impl Read + Seek, columns: &Columns, give: &mut dyn FnMut(Page) -> bool) -> Result<(), Fault> {
    let mut sink = Sink { page: Page::default(), give, wanted: true, row: 0 };
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    // A file's header, and the end of an archive without files.
    let result = if magic.starts_with(b"PK\x03\x04") || magic.starts_with(b"PK\x05\x06") {
        archive::open(file, &archive::Limits::default())
            .map_err(Fault::from)
            .and_then(|contents| document(contents, columns, &mut sink))
    } else {
        document(file, columns, &mut sink)
    };
    sink.flush();
    result
}

/// Decodes the bytes of a file; what could be read of it, and the fault that ended it.
pub fn decode(bytes: &[u8], columns: &Columns) -> (Page, Option<Fault>) {
    let mut whole = Page::default();
    let mut give = |page: Page| {
        whole.reports.extend(page.reports);
        whole.rejects.extend(page.rejects);
        true
    };
    let fault = read(Cursor::new(bytes), columns, &mut give).err();
    (whole, fault)
}

enum Format {
    Nothing,
    Csv,
    /// Arrays of rows, or objects that hold rows or are one.
    Json,
    /// A row a line.
    Lines,
}

fn document(mut contents: impl Read, columns: &Columns, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut head = Vec::new();
    contents.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let format = format(&head)?;
    let start = if head.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut head = Cursor::new(head);
    head.set_position(start);
    let contents = head.chain(contents);
    match format {
        Format::Nothing => Ok(()),
        Format::Csv => csv(contents, columns, sink),
        Format::Json => Scanner::new(BufReader::with_capacity(HEAD_BYTES, contents)).documents(columns, sink),
        Format::Lines => lines(BufReader::with_capacity(HEAD_BYTES, contents), sink),
    }
}

fn format(head: &[u8]) -> Result<Format, Fault> {
    if head.starts_with(b"\xFF\xFE") || head.starts_with(b"\xFE\xFF") {
        return Err(Fault::Utf16);
    }
    if head.starts_with(b"\x1F\x8B") {
        return Err(Fault::Gzip);
    }
    let text = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head).trim_ascii_start();
    match text.first() {
        None => Ok(Format::Nothing),
        Some(b'<') => Err(Fault::Html),
        Some(b'[') => Ok(Format::Json),
        Some(b'{') => Ok(if is_lines(text) { Format::Lines } else { Format::Json }),
        Some(_) => Ok(Format::Csv),
    }
}

/// Whether text that begins with an object has an object a line.
fn is_lines(text: &[u8]) -> bool {
    /// The members that make an object a page of rows and not a row.
    #[derive(Deserialize)]
    struct Members {
        value: Option<Vec<IgnoredAny>>,
        #[serde(rename = "Values")]
        values: Option<Vec<IgnoredAny>>,
    }
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else { return false };
    let (first, rest) = text.split_at(end);
    match serde_json::from_str(&body_text(first)) {
        Ok(Members { value: None, values: None }) => true,
        Ok(_) => false,
        // Either an object of several lines, or a broken first line among others.
        Err(_) => {
            let has = |name: &[u8]| first.windows(name.len()).any(|window| window == name);
            rest.trim_ascii_start().starts_with(b"{") && !has(b"\"value\"") && !has(b"\"Values\"")
        }
    }
}

fn csv(contents: impl Read, columns: &Columns, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut rows = Rows::new(contents, columns)?;
    while sink.wanted {
        let Some(page) = rows.next_page()? else { break };
        sink.wanted = (sink.give)(page);
    }
    Ok(())
}

fn lines(mut contents: impl BufRead, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut line = Vec::new();
    while sink.wanted {
        line.clear();
        let most = MAX_ROW_BYTES as u64 + 1;
        if contents.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let too_long = line.len() > MAX_ROW_BYTES && line.last() != Some(&b'\n');
        if too_long {
            contents.skip_until(b'\n')?;
        }
        if line.trim_ascii().is_empty() && !too_long {
            // Rows are told by the number of their line.
            sink.row += 1;
        } else if too_long {
            sink.too_long();
        } else {
            sink.row(|page| collection::read_row(&body_text(&line), page));
        }
    }
    Ok(())
}

impl Sink<'_> {
    /// Takes a row, which `read` adds to the page as what it turns out to be.
    pub fn row(&mut self, read: impl FnOnce(&mut Page)) {
        self.row += 1;
        let first = self.page.rejects.len();
        read(&mut self.page);
        self.page.number_rejects(first, self.row);
        if self.page.rows() >= PAGE_ROWS {
            self.flush();
        }
    }

    /// Takes a row that was not read for its length.
    pub fn too_long(&mut self) {
        let detail = format!("the row has more than {} KiB", MAX_ROW_BYTES >> 10);
        self.row(|page| page.rejects.push(Reject::anonymous(RejectReason::BrokenRow, detail)));
    }

    fn flush(&mut self) {
        if self.page.rows() > 0 && self.wanted {
            self.wanted = (self.give)(std::mem::take(&mut self.page));
        }
    }
}
