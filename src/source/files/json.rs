//! Cuts the rows out of JSON of any length without holding more than one: arrays of resource objects,
//! OData pages, columnar report pages, single objects, and several of these one after the other. What
//! a row holds is read by the decoders of the pages that Graph delivers.

use std::io::{BufRead, ErrorKind};

use super::content::{Fault, Sink};
use crate::source::columns::{Columns, Mapping};
use crate::source::csv::MAX_ROW_BYTES;
use crate::source::wire::body_text;
use crate::source::{collection, sessions_report};

/// The longest name of a member that means something to us is shorter.
const MAX_KEY_BYTES: usize = 16;
/// Rows of a report page that stand before its `Schema` wait for it. Graph puts the schema first.
const MAX_WAITING_BYTES: usize = 16 << 20;

/// Where the rows are in what is read.
pub(super) struct Scanner<R> {
    input: R,
    /// What was passed since [`Scanner::keep`].
    kept: Vec<u8>,
    /// How much of it may be kept.
    most: usize,
    /// Whether there was more.
    overflown: bool,
}

/// What the elements of an array are.
#[derive(Clone, Copy)]
enum Rows<'m> {
    Objects,
    Cells(&'m Mapping),
}

impl<R: BufRead> Scanner<R> {
    pub fn new(input: R) -> Self {
        Self { input, kept: Vec::new(), most: 0, overflown: false }
    }

    /// Reads every document that there is.
    pub fn documents(&mut self, columns: &Columns, sink: &mut Sink<'_>) -> Result<(), Fault> {
        while sink.wanted {
            match self.next_token()? {
                None => break,
                Some(b'[') => self.elements(Rows::Objects, sink)?,
                Some(b'{') => self.object(columns, sink)?,
                Some(_) => return Err(Fault::Broken(sink.row)),
            }
        }
        Ok(())
    }

    /// An object: a page of rows if it has a member with rows, else a row itself.
    fn object(&mut self, columns: &Columns, sink: &mut Sink<'_>) -> Result<(), Fault> {
        self.keep(MAX_ROW_BYTES);
        self.pass();
        let mut page = ReportPage::default();
        let mut is_page = false;
        let mut key = Vec::new();
        let mut more = self.token(sink)? != b'}';
        while more && sink.wanted {
            if self.token(sink)? != b'"' {
                return Err(Fault::Broken(sink.row));
            }
            key.clear();
            self.string(Some(&mut key), sink)?;
            if self.token(sink)? != b':' {
                return Err(Fault::Broken(sink.row));
            }
            self.pass();
            let has_rows = self.token(sink)? == b'[' && matches!(&*key, b"value" | b"Values" | b"Schema");
            if has_rows {
                is_page = true;
                self.forget();
            }
            match &*key {
                b"value" if has_rows => self.elements(Rows::Objects, sink)?,
                b"Values" if has_rows => page.values(self, sink)?,
                b"Schema" if has_rows => page.schema(self, columns, sink)?,
                _ => self.value(sink)?,
            }
            if !sink.wanted {
                return Ok(());
            }
            match self.token(sink)? {
                b',' => self.pass(),
                b'}' => more = false,
                _ => return Err(Fault::Broken(sink.row)),
            }
        }
        self.pass();
        if is_page {
            return page.end(columns);
        }
        self.finish_row(Rows::Objects, sink);
        Ok(())
    }

    /// An array of rows.
    fn elements(&mut self, rows: Rows<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        self.pass();
        if self.token(sink)? == b']' {
            self.pass();
            return Ok(());
        }
        while sink.wanted {
            self.token(sink)?;
            self.keep(MAX_ROW_BYTES);
            self.value(sink)?;
            self.finish_row(rows, sink);
            match self.next_token()? {
                Some(b',') => self.pass(),
                Some(b']') => {
                    self.pass();
                    break;
                }
                None => return Err(Fault::Cut(sink.row)),
                Some(_) => return Err(Fault::Broken(sink.row)),
            }
        }
        Ok(())
    }

    /// Hands over what was kept as a row.
    fn finish_row(&mut self, rows: Rows<'_>, sink: &mut Sink<'_>) {
        if self.overflown {
            sink.too_long();
        } else {
            let text = body_text(&self.kept);
            sink.row(|page| match rows {
                Rows::Objects => collection::read_row(&text, page),
                Rows::Cells(mapping) => {
                    sessions_report::read_row(&text, mapping, &mut Vec::with_capacity(mapping.width), page)
                }
            });
        }
        self.forget();
    }

    /// Passes one value, whatever it holds: whether it is JSON is for whoever reads it.
    fn value(&mut self, sink: &Sink<'_>) -> Result<(), Fault> {
        let mut depth = 0_u64;
        let mut begun = false;
        while let Some(byte) = self.peek()? {
            match byte {
                b'"' => self.string(None, sink)?,
                b'{' | b'[' => {
                    self.pass();
                    depth += 1;
                }
                b'}' | b']' | b',' if depth == 0 => return Ok(()),
                b'}' | b']' => {
                    self.pass();
                    depth -= 1;
                }
                byte if depth == 0 && byte.is_ascii_whitespace() => return Ok(()),
                _ => {
                    self.pass();
                    begun = true;
                    continue;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
        if begun && depth == 0 { Ok(()) } else { Err(Fault::Cut(sink.row + 1)) }
    }

    /// Passes a string; its first bytes go to `copy`.
    fn string(&mut self, mut copy: Option<&mut Vec<u8>>, sink: &Sink<'_>) -> Result<(), Fault> {
        self.pass();
        let mut escaped = false;
        while let Some(byte) = self.peek()? {
            self.pass();
            match byte {
                b'"' if !escaped => return Ok(()),
                byte => escaped = byte == b'\\' && !escaped,
            }
            if let Some(copy) = copy.as_deref_mut().filter(|copy| copy.len() < MAX_KEY_BYTES) {
                copy.push(byte);
            }
        }
        Err(Fault::Cut(sink.row + 1))
    }

    /// One value as it stands; `None` where it has more than `most` bytes.
    fn capture(&mut self, most: usize, sink: &Sink<'_>) -> Result<Option<Vec<u8>>, Fault> {
        self.keep(most);
        self.value(sink)?;
        let (kept, overflown) = (std::mem::take(&mut self.kept), self.overflown);
        self.forget();
        Ok((!overflown).then_some(kept))
    }

    /// The next byte that is no space, which has to be there.
    fn token(&mut self, sink: &Sink<'_>) -> Result<u8, Fault> {
        self.next_token()?.ok_or(Fault::Cut(sink.row + 1))
    }

    fn next_token(&mut self) -> Result<Option<u8>, Fault> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.pass();
        }
        Ok(None)
    }

    fn peek(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            match self.input.fill_buf() {
                Ok(bytes) => return Ok(bytes.first().copied()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Goes beyond the byte that was peeked at.
    fn pass(&mut self) {
        if self.most > 0 {
            // The byte was peeked at, so it is in the buffer and this reads nothing.
            let byte = self.input.fill_buf().ok().and_then(|bytes| bytes.first().copied());
            if self.kept.len() < self.most {
                self.kept.extend(byte);
            } else {
                self.overflown = true;
            }
        }
        self.input.consume(1);
    }

    fn keep(&mut self, most: usize) {
        self.kept.clear();
        (self.most, self.overflown) = (most, false);
    }

    fn forget(&mut self) {
        self.kept.clear();
        (self.most, self.overflown) = (0, false);
    }
}

/// A columnar report page, whose members may come in any order.
#[derive(Default)]
struct ReportPage {
    mapping: Option<Mapping>,
    /// `Values` that came before `Schema`.
    waiting: Option<Vec<u8>>,
}

impl ReportPage {
    fn values<R: BufRead>(&mut self, scanner: &mut Scanner<R>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        match &self.mapping {
            Some(mapping) => scanner.elements(Rows::Cells(mapping), sink),
            None => {
                self.waiting = Some(scanner.capture(MAX_WAITING_BYTES, sink)?.ok_or(Fault::Schema)?);
                Ok(())
            }
        }
    }

    fn schema<R: BufRead>(
        &mut self,
        scanner: &mut Scanner<R>,
        columns: &Columns,
        sink: &mut Sink<'_>,
    ) -> Result<(), Fault> {
        let text = scanner.capture(MAX_ROW_BYTES, sink)?.ok_or(Fault::Schema)?;
        let schema = sessions_report::read_schema(&body_text(&text)).map_err(|_| Fault::Schema)?;
        if schema.is_empty() {
            // A report without rows may have no columns.
            return Ok(());
        }
        let names: Vec<&str> = schema.iter().map(String::as_str).collect();
        let mapping = self.mapping.insert(columns.resolve(&names)?);
        match self.waiting.take() {
            Some(values) => Scanner::new(&*values).elements(Rows::Cells(mapping), sink),
            None => Ok(()),
        }
    }

    /// Rows that still wait have no columns.
    fn end(self, columns: &Columns) -> Result<(), Fault> {
        let has_rows =
            |values: &Vec<u8>| values.iter().any(|byte| !byte.is_ascii_whitespace() && !b"[]".contains(byte));
        match self.waiting {
            Some(values) if has_rows(&values) => Err(columns.resolve(&[]).err().map_or(Fault::Schema, Fault::Columns)),
            _ => Ok(()),
        }
    }
}
