//! The file: JSON Lines. A head, the sections of the tenants, an end.
//!
//! ```text
//! {"format":"remote-assistance-exporter ledger","version":1,"schema":3,"exporter":"0.1.0","exported":"…"}
//! {"tenant":{"name":"contoso","salt":"…","state":{…}}}
//! ["known","KEY","VALUE"]
//! ["session","KEY","VALUE"]
//! ["history","KEY","VALUE"]
//! {"tenant_end":{"rows":3,"sha256":"…"}}
//! {"end":{"tenants":1,"lines":6,"sha256":"…"}}
//! ```
//!
//! Keys and values are the ledger's own, in hexadecimal digits. `tenant_end` has the hash of its section's
//! lines: two ledgers count the same of a tenant if these are equal. `end` has that of all lines before it,
//! so a file that was cut off or changed is told from a whole one.

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _, Write};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Damage, FileError};
use crate::ledger::hex;
use crate::ledger::salt::Salt;
use crate::ledger::store::moving::Row;

/// What the first line says that it is.
pub const FORMAT: &str = "remote-assistance-exporter ledger";
/// The version of the lines.
pub const VERSION: u32 = 1;
/// The longest line. A tenant's state is the longest, and has some hundred kilobytes where it names as many
/// helpers as it may.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// A line that is not a row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A section begins.
    Tenant(Box<Section>),
    /// It ends.
    TenantEnd {
        /// How many rows it has.
        rows: u64,
        /// Of its lines.
        sha256: String,
    },
    /// The file ends.
    End {
        /// How many sections it has.
        tenants: u64,
        /// How many lines come before this one.
        lines: u64,
        /// Of them.
        sha256: String,
    },
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The schema version of what the rows and states hold.
    pub schema: u32,
    /// The release that wrote it.
    pub exporter: String,
    /// When.
    pub exported: DateTime<Utc>,
}

/// What there is of a tenant beside its rows.
#[derive(Debug, Serialize, Deserialize)]
pub struct Section {
    /// Its configured name.
    pub name: String,
    /// By which its hashes are made.
    pub salt: Salt,
    /// As it is stored, without the tenant's number, which is the ledger's own.
    pub state: Value,
}

/// Writes lines and hashes them.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    lines: u64,
    whole: Sha256,
    section: Sha256,
}

impl<'a> Writer<'a> {
    /// Onto `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, lines: 0, whole: Sha256::new(), section: Sha256::new() }
    }

    /// Writes a line of JSON.
    pub fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.lines += 1;
        self.whole.update(&text);
        self.section.update(&text);
        self.out.write_all(&text)
    }

    /// Begins a section.
    pub fn tenant(&mut self, section: Section) -> io::Result<()> {
        self.section = Sha256::new();
        self.line(&Line::Tenant(Box::new(section)))
    }

    /// Writes a row.
    pub fn row(&mut self, row: &Row) -> io::Result<()> {
        let (table, key, value) = match row {
            Row::Known(key, value) => ("known", hex::encode(key), hex::encode(value)),
            Row::Session(key, value) => ("session", hex::encode(key), hex::encode(value)),
            Row::History(key, value) => ("history", hex::encode(key), hex::encode(value)),
        };
        self.line(&(table, key, value))
    }

    /// Ends a section; its hash.
    pub fn tenant_end(&mut self, rows: u64) -> io::Result<String> {
        let sha256 = hex::encode(&self.section.clone().finalize());
        self.line(&Line::TenantEnd { rows, sha256: sha256.clone() })?;
        Ok(sha256)
    }

    /// Ends the file.
    pub fn end(mut self, tenants: u64) -> io::Result<()> {
        let end = Line::End { tenants, lines: self.lines, sha256: hex::encode(&self.whole.clone().finalize()) };
        self.line(&end)?;
        self.out.flush()
    }
}

/// Reads lines, and checks their hashes.
pub struct Reader<R> {
    input: R,
    lines: u64,
    text: Vec<u8>,
    whole: Sha256,
    section: Sha256,
}

/// What stands on a line of a section.
pub enum InSection {
    /// A row.
    Row(Row),
    /// The section ends, whole; its hash.
    End(String),
}

impl<R: BufRead> Reader<R> {
    /// From `input`.
    pub fn new(input: R) -> Self {
        Self { input, lines: 0, text: Vec::new(), whole: Sha256::new(), section: Sha256::new() }
    }

    /// The first line.
    pub fn head(&mut self) -> Result<Head, FileError> {
        self.next()?;
        let head: Head = serde_json::from_slice(&self.text).map_err(|_| FileError::NotAnExport)?;
        if head.format != FORMAT {
            return Err(FileError::NotAnExport);
        }
        self.take();
        Ok(head)
    }

    /// The next section, or `None` at the end of the file, which is whole then.
    pub fn tenant(&mut self) -> Result<Option<Section>, FileError> {
        self.next()?;
        match serde_json::from_slice(&self.text) {
            Ok(Line::Tenant(section)) => {
                self.section = Sha256::new();
                self.take();
                Ok(Some(*section))
            }
            Ok(Line::End { tenants: _, lines, sha256 }) => {
                if (lines, sha256) != (self.lines - 1, hex::encode(&self.whole.clone().finalize())) {
                    return Err(self.damaged(Damage::Checksum));
                }
                self.nothing_more()?;
                Ok(None)
            }
            _ => Err(self.damaged(Damage::Line)),
        }
    }

    /// The next line of a section of which `rows` were read.
    pub fn in_section(&mut self, rows: u64) -> Result<InSection, FileError> {
        self.next()?;
        if self.text.first() == Some(&b'[') {
            let row = row(&self.text).ok_or_else(|| self.damaged(Damage::Line))?;
            self.take();
            return Ok(InSection::Row(row));
        }
        match serde_json::from_slice(&self.text) {
            Ok(Line::TenantEnd { rows: promised, sha256 }) => {
                if promised != rows || sha256 != hex::encode(&self.section.clone().finalize()) {
                    return Err(self.damaged(Damage::Checksum));
                }
                self.take();
                Ok(InSection::End(sha256))
            }
            _ => Err(self.damaged(Damage::Line)),
        }
    }

    /// Damage on the line that was read last.
    pub fn damaged(&self, damage: Damage) -> FileError {
        FileError::Damaged { line: self.lines, damage }
    }

    fn next(&mut self) -> Result<(), FileError> {
        self.text.clear();
        (&mut self.input).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.text).map_err(FileError::Read)?;
        self.lines += 1;
        match self.text.last() {
            Some(b'\n') => Ok(()),
            _ if self.text.len() as u64 == MAX_LINE_BYTES => Err(self.damaged(Damage::Line)),
            _ if self.lines == 1 => Err(FileError::NotAnExport),
            _ => Err(self.damaged(Damage::CutOff)),
        }
    }

    fn take(&mut self) {
        self.whole.update(&self.text);
        self.section.update(&self.text);
    }

    fn nothing_more(&mut self) -> Result<(), FileError> {
        match self.input.fill_buf().map_err(FileError::Read)? {
            [] => Ok(()),
            _ => Err(FileError::Damaged { line: self.lines + 1, damage: Damage::Line }),
        }
    }
}

fn row(text: &[u8]) -> Option<Row> {
    let (table, key, value): (Cow<'_, str>, Cow<'_, str>, Cow<'_, str>) = serde_json::from_slice(text).ok()?;
    let row = match &*table {
        "known" => Row::Known(hex::decode(&key)?, hex::decode(&value)?),
        "session" => Row::Session(hex::decode(&key)?, hex::decode(&value)?),
        "history" => Row::History(hex::decode(&key)?, hex::decode(&value)?),
        _ => return None,
    };
    row.is_readable().then_some(row)
}
