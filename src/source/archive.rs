//! The one file in a ZIP archive, as the Intune export delivers its CSV. Names and declared sizes are
//! not believed: what counts is what is found in reading.
//!
//! An archive is read twice: first to its end, under the limits and against its checksum, then for its
//! contents. So nothing of a damaged archive, of one that is cut off or of a bomb is ever used, and
//! memory stays the same however much it holds.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Take};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use zip::CompressionMethod;
use zip::ZipReadOptions;
use zip::read::{Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;

/// What an archive may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most bytes that its file may inflate to.
    pub inflated: u64,
    /// How many times the size in the archive it may inflate to. The first MiB is free: a short file
    /// of equal rows shrinks to next to nothing.
    pub ratio: u64,
}

impl Default for Limits {
    /// 2 GiB are some five million sessions, far more than any tenant has in the days that Intune
    /// keeps. Each row has ids, which do not shrink: a real export inflates to some 20 times its size.
    fn default() -> Self {
        Self { inflated: 2 << 30, ratio: 200 }
    }
}

/// Why an archive is not used. One line that says what to do, and quotes nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// No directory of files was found at the end.
    #[error("it is not a ZIP archive, or is cut off; fetch or copy it again")]
    NotAnArchive,
    /// It holds nothing, or directories only.
    #[error("the archive holds no file; it should hold the one CSV of an export")]
    Empty,
    /// Which of them would be the right one?
    #[error("the archive holds {0} entries; put one CSV alone into it")]
    Several(usize),
    /// A password is needed.
    #[error("the file in the archive is encrypted; pack it without a password")]
    Encrypted,
    /// Neither stored nor deflated.
    #[error("the file in the archive is compressed by the method {0}; pack it with deflate, as every ZIP tool can")]
    Compression(Method),
    /// Larger than [`Limits::inflated`].
    #[error("the file in the archive inflates to more than {} MiB, far beyond any export of sessions; see what it holds", .0 >> 20)]
    TooLarge(u64),
    /// More than [`Limits::ratio`].
    #[error("the file in the archive inflates to more than {0} times its size: that is no export but a bomb")]
    Bomb(u64),
    /// The contents are cut off, or are not what the checksum is of.
    #[error("the archive is damaged: its contents do not match its checksum; fetch or copy it again")]
    Damaged,
    /// The archive itself could not be read.
    #[error("the archive cannot be read: {0}")]
    Io(io::Error),
}

/// A method of compression, by its number in the format.
#[derive(Clone, Copy, Debug)]
pub struct Method(CompressionMethod);

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The contents of the file in an archive, inflated as they are read.
pub struct Inflated<R>(Take<Contents<R>>);

enum Contents<R> {
    Stored(Take<R>),
    Deflated(DeflateDecoder<Take<R>>),
}

/// Entries that are looked at: the file, and a few directories around it.
const MAX_ENTRIES: usize = 16;
/// See [`Limits::ratio`].
const FREE_OF_RATIO: u64 = 1 << 20;
/// The piece that is checked at a time.
const PIECE: usize = 64 * 1024;

/// Finds the one file in an archive, and reads it to its end to see that it is whole. What is returned
/// starts again at the file's first byte.
///
/// # Errors
/// See [`ArchiveError`].
pub fn open<R: Read + Seek>(mut archive: R, limits: &Limits) -> Result<Inflated<R>, ArchiveError> {
    let entry = only_file(&mut archive)?;
    let (method, size, checksum) = (entry.compression(), entry.compressed_size(), entry.crc32());
    if entry.encrypted() {
        return Err(ArchiveError::Encrypted);
    }
    if !matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err(ArchiveError::Compression(Method(method)));
    }
    let start = entry.with_reader(&mut archive, ZipReadOptions::new())?.data_start().ok_or(ArchiveError::Damaged)?;
    let mut contents = Contents::at(archive, start, method, size)?;
    let inflated = contents.check(checksum, limits)?;
    let contents = Contents::at(contents.into_inner(), start, method, size)?;
    Ok(Inflated(contents.take(inflated)))
}

fn only_file<R: Read + Seek>(archive: &mut R) -> Result<ZipFileEntry<'static>, ArchiveError> {
    let mut archive = ZipIterable::try_new(archive, Config::default())?;
    if archive.len() > MAX_ENTRIES {
        return Err(ArchiveError::Several(archive.len()));
    }
    let mut only = None;
    let mut files = 0;
    for entry in archive.files()? {
        let entry = entry?;
        // A directory has no contents; what has is a file, whatever its name says.
        if !entry.is_dir() || entry.compressed_size() > 0 {
            files += 1;
            only = Some(entry);
        }
    }
    match only {
        Some(entry) if files == 1 => Ok(entry),
        Some(_) => Err(ArchiveError::Several(files)),
        None => Err(ArchiveError::Empty),
    }
}

impl<R: Read + Seek> Contents<R> {
    fn at(mut archive: R, start: u64, method: CompressionMethod, size: u64) -> Result<Self, ArchiveError> {
        archive.seek(SeekFrom::Start(start)).map_err(ArchiveError::Io)?;
        let packed = archive.take(size);
        Ok(match method {
            CompressionMethod::Stored => Self::Stored(packed),
            _ => Self::Deflated(DeflateDecoder::new(packed)),
        })
    }

    /// Reads to the end under the limits; how many bytes there are.
    fn check(&mut self, checksum: u32, limits: &Limits) -> Result<u64, ArchiveError> {
        let mut piece = vec![0; PIECE];
        let mut found = Crc::new();
        let mut inflated = 0;
        loop {
            let read = match self.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            found.update(&piece[..read]);
            inflated += read as u64;
            if inflated > limits.inflated {
                return Err(ArchiveError::TooLarge(limits.inflated));
            }
            if inflated > FREE_OF_RATIO && inflated / limits.ratio > self.packed() {
                return Err(ArchiveError::Bomb(limits.ratio));
            }
        }
        if found.sum() == checksum { Ok(inflated) } else { Err(ArchiveError::Damaged) }
    }

    /// How many packed bytes were used so far.
    fn packed(&self) -> u64 {
        match self {
            Self::Stored(_) => u64::MAX,
            Self::Deflated(contents) => contents.total_in(),
        }
    }

    fn into_inner(self) -> R {
        match self {
            Self::Stored(contents) => contents.into_inner(),
            Self::Deflated(contents) => contents.into_inner().into_inner(),
        }
    }
}

impl<R: Read> Read for Contents<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(contents) => contents.read(buffer),
            Self::Deflated(contents) => contents.read(buffer),
        }
    }
}

impl<R: Read> Read for Inflated<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // So the inflater says that the bytes make no sense, or end too early.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged,
            _ => Self::Io(error),
        }
    }
}

impl From<ZipError> for ArchiveError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Self::Io(error),
            _ => Self::NotAnArchive,
        }
    }
}
