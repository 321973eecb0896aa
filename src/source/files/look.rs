//! Looking at a directory: which files are there, and what they look like from outside. Follows no
//! link and opens nothing.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

use super::content::Fault;
use crate::source::SourceError;
use crate::status::FailureReason;

/// Files of one directory. A file a day for 27 years; more of them are likely the wrong directory.
pub(super) const MAX_FILES: usize = 10_000;
/// The largest file that is read: some ten million sessions as JSON.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// Names that programs give to files which they have not finished.
const UNFINISHED_ENDS: &[&str] = &["~", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp"];

/// What tells a file from the same file with other contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    bytes: u64,
    pub modified: Option<SystemTime>,
    /// Changes with every write, also where a tool sets the time of the last write back.
    changed: (i64, i64),
    /// The file system and the file's number in it.
    inode: (u64, u64),
}

/// A file that was seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub name: OsString,
    pub stamp: Stamp,
}

/// The regular files of a directory, oldest first, so that what a later file says comes later.
pub(super) fn look(directory: &Path) -> Result<Vec<Seen>, SourceError> {
    let failed = |error: std::io::Error| {
        let message = format!(
            "the directory {} cannot be read ({error}); check source.directory, its permissions, and that it is mounted",
            directory.display()
        );
        SourceError::new(FailureReason::Files, message)
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if is_ignored(&name) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => files.push(Seen { name, stamp: Stamp::of(&metadata) }),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        if files.len() > MAX_FILES {
            let message = format!(
                "the directory {} holds more than {MAX_FILES} files; move old ones away, what they held stays counted",
                directory.display()
            );
            return Err(SourceError::new(FailureReason::Files, message));
        }
    }
    files.sort_by(|one, other| (one.stamp.modified, &one.name).cmp(&(other.stamp.modified, &other.name)));
    Ok(files)
}

/// Opens a file that was seen, if it is still the same.
///
/// # Errors
/// Where it cannot be opened, or should not be read. `Ok(None)` where it has changed or gone.
pub(super) fn open(directory: &Path, seen: &Seen) -> Result<Option<File>, Fault> {
    if seen.stamp.bytes > MAX_FILE_BYTES {
        return Err(Fault::TooLarge(MAX_FILE_BYTES));
    }
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;

        use rustix::fs::OFlags;
        // What was a file may have become a pipe, which would wait for a writer, or a link to elsewhere.
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed());
    }
    let file = match options.open(directory.join(&seen.name)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Fault::Irregular);
    }
    Ok((Stamp::of(&metadata) == seen.stamp).then_some(file))
}

/// Whether an open file still is what it was when it was seen.
pub(super) fn is_unchanged(file: &File, seen: &Seen) -> bool {
    file.metadata().is_ok_and(|metadata| Stamp::of(&metadata) == seen.stamp)
}

fn is_ignored(name: &OsString) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    name.starts_with('.') || UNFINISHED_ENDS.iter().any(|end| name.ends_with(end))
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let (changed, inode) = {
            use std::os::unix::fs::MetadataExt as _;
            ((metadata.ctime(), metadata.ctime_nsec()), (metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let (changed, inode) = ((0, 0), (0, 0));
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), changed, inode }
    }
}
