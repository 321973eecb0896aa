//! The file of an export: a ZIP archive with one CSV, UTF-8 with a byte-order mark.

use std::io::{self, Cursor, Write};
use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Crc;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::super::columns::{Shape, UNKNOWN_TYPE};
use super::super::faults::{END_OF_DEFLATE, flushed};
use super::super::row::{Broken, Shown};
use super::super::scenario::Scenario;
use super::super::session::Session;
use super::super::stream::Snapshot;
use super::super::wire::{Absence, View, Zone};

const BYTE_ORDER_MARK: &str = "\u{feff}";
const LINE_END: &str = "\r\n";
/// What stands for null.
const NULL: &str = r#""""#;

/// The sessions as CSV.
pub fn csv(snapshot: &Snapshot, columns: &[Shape], scenario: Scenario) -> Vec<u8> {
    let mut out = BYTE_ORDER_MARK.as_bytes().to_vec();
    let names: Vec<_> = columns.iter().map(|column| text(column.heading().0)).collect();
    line(&mut out, &names);
    for (number, shown) in snapshot.rows.iter().enumerate() {
        let mut cells = row(shown, columns);
        if scenario == Scenario::UnknownColumns && number == 0 {
            replace(&mut cells, columns, "Attribute", UNKNOWN_TYPE);
        }
        line(&mut out, &cells);
    }
    out
}

/// An archive of these files, by name.
pub fn zip(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in files {
        archive.start_file(*name, options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

fn row(shown: &Shown, columns: &[Shape]) -> Vec<String> {
    match shown {
        Shown::Ended(session) => cells(&View { session, end: session.end }, columns),
        Shown::Running(session) => cells(&View { session, end: None }, columns),
        Shown::Broken(Broken::NotARow) => vec![text("row")],
        Shown::Broken(broken) => {
            let session = Session { id: format!("broken-{broken:?}"), ..Session::default() };
            let mut cells = cells(&View { session: &session, end: None }, columns);
            match broken {
                Broken::Short => drop(cells.pop()),
                Broken::Long => cells.push(NULL.into()),
                Broken::MissingId => replace(&mut cells, columns, "SessionId", ""),
                Broken::UnreadableDate => replace(&mut cells, columns, "Sessionend", "yesterday"),
                Broken::NotARow => {}
            }
            cells
        }
    }
}

fn replace(cells: &mut [String], columns: &[Shape], name: &str, value: &str) {
    if let Some(place) = columns.iter().position(|column| column.heading().0 == name) {
        cells[place] = text(value);
    }
}

fn cells(view: &View<'_>, columns: &[Shape]) -> Vec<String> {
    let cell = |column: &Shape| match column {
        // What is text in JSON is the same text here; the rest is written as JSON writes it.
        Shape::Unknown((_, _, json)) => text(json.trim_matches('"')),
        Shape::Known((name, _, field)) => {
            let field = field(view);
            match field.absence(&view.session.id, name, false) {
                Some(Absence::Null | Absence::Empty | Absence::Missing) => NULL.into(),
                Some(absence) => json(|out| absence.write(out, Zone::None)),
                None => json(|out| field.write(out, Zone::None)),
            }
        }
    };
    columns.iter().map(cell).collect()
}

/// A value that is written as JSON, as a cell.
fn json(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    match serde_json::from_slice::<serde_json::Value>(&out) {
        Ok(serde_json::Value::String(value)) => text(&value),
        _ => text(&String::from_utf8_lossy(&out)),
    }
}

/// A cell, quoted where it must be. Nothing at all would be nothing, so an empty one is quoted.
fn text(value: &str) -> String {
    if value.is_empty() || value.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.into()
    }
}

fn line(out: &mut Vec<u8>, cells: &[String]) {
    out.extend_from_slice(cells.join(",").as_bytes());
    out.extend_from_slice(LINE_END.as_bytes());
}

/// A valid archive of about a MiB whose one file inflates to a GiB: a header, then spaces. In pieces, the
/// middle one to be repeated. One piece is compressed once, as for the gzip bomb.
pub struct Bomb {
    /// The archive's start.
    pub opening: Bytes,
    /// A piece, and how many there are.
    pub spaces: (Bytes, u64),
    /// The archive's end.
    pub trailer: Bytes,
}

/// See [`Bomb`].
pub static BOMB: LazyLock<Bomb> = LazyLock::new(|| {
    const NAME: &[u8] = b"RemoteAssistanceSessions.csv";
    const HEADER: &[u8] = b"SessionId,Sessionstart,Sessionend\r\n";
    const PIECE: usize = 1 << 20;
    const PIECES: u64 = 1024;
    let chunk = vec![b' '; PIECE];
    let (start, spaces) = (flushed(HEADER), flushed(&chunk));
    let (mut crc, mut piece) = (Crc::new(), Crc::new());
    crc.update(HEADER);
    piece.update(&chunk);
    (0..PIECES).for_each(|_| crc.combine(&piece));
    let length = HEADER.len() as u64 + PIECE as u64 * PIECES;
    let compressed = start.len() as u64 + spaces.len() as u64 * PIECES + END_OF_DEFLATE.len() as u64;

    /// What local and central header have in common, from the version on: deflate, no flags, no time.
    fn entry(out: &mut BytesMut, crc: u32, compressed: u64, length: u64) {
        for field in [20, 0, 8, 0, 0] {
            out.put_u16_le(field);
        }
        out.put_u32_le(crc);
        out.put_u32_le(compressed as u32);
        out.put_u32_le(length as u32);
        out.put_u16_le(NAME.len() as u16);
        out.put_u16_le(0);
    }
    let mut opening = BytesMut::new();
    opening.put_slice(b"PK\x03\x04");
    entry(&mut opening, crc.sum(), compressed, length);
    opening.put_slice(NAME);
    let directory_at = opening.len() as u64 + compressed;
    opening.put_slice(&start);

    let mut directory = BytesMut::new();
    directory.put_slice(b"PK\x01\x02");
    directory.put_u16_le(20);
    entry(&mut directory, crc.sum(), compressed, length);
    // No comment, first disk, no attributes, and the file at the archive's start.
    directory.put_bytes(0, 2 + 2 + 2 + 4 + 4);
    directory.put_slice(NAME);
    let mut trailer = BytesMut::from(&END_OF_DEFLATE[..]);
    trailer.put_slice(&directory);
    trailer.put_slice(b"PK\x05\x06");
    for field in [0, 0, 1, 1] {
        trailer.put_u16_le(field);
    }
    trailer.put_u32_le(directory.len() as u32);
    trailer.put_u32_le(directory_at as u32);
    trailer.put_u16_le(0);
    Bomb { opening: opening.freeze(), spaces: (spaces.into(), PIECES), trailer: trailer.freeze() }
});
