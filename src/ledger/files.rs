//! The ledger's files: `ledger.redb` and `ledger.lock` in the storage directory.
//!
//! A new ledger is made under another name and renamed when it is whole. So a `ledger.redb` that is
//! empty or has no tables is damage and never a first run.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek as _, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError};

use super::OpenError;
use super::store::{CACHE_BYTES, SCHEMA_VERSION, Store, StoreError, lay};

const LEDGER_FILE: &str = "ledger.redb";
const NEW_FILE: &str = "ledger.redb.new";
const LOCK_FILE: &str = "ledger.lock";

/// Pages kept in memory by one who reads everything once.
const READ_CACHE_BYTES: usize = 4 << 20;
/// What each commit changes of the file is in its first page.
const HEAD_BYTES: u64 = 4096;
/// How often a ledger is copied at most until no commit falls into the copying. A busy exporter commits
/// some times a second while it polls, and not at all between polls.
const COPIES: usize = 100;

/// Opens the database, which exists; a value, so that tests can put faults below it.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send>;

/// The locked directory. The lock is held as long as this lives, also while the database is closed
/// between a failed commit and the next.
pub(super) struct Files {
    path: PathBuf,
    opener: Opener,
    _lock: File,
}

impl Files {
    /// Makes the directory if need be and locks it.
    pub(super) fn lock(directory: &Path) -> Result<Self, OpenError> {
        Self::lock_with(directory, Box::new(|path| redb::Builder::new().set_cache_size(CACHE_BYTES).open(path)))
    }

    /// The same for one who reads the ledger once, from its front to its end.
    pub(super) fn lock_to_read(directory: &Path) -> Result<Self, OpenError> {
        Self::lock_with(directory, Box::new(open_to_read))
    }

    /// Where the ledger file of a directory is.
    pub(super) fn path_in(directory: &Path) -> PathBuf {
        directory.join(LEDGER_FILE)
    }

    /// The same with another way to open the database.
    pub(super) fn lock_with(directory: &Path, opener: Opener) -> Result<Self, OpenError> {
        let failed = |path: &Path, action| {
            let path = path.to_owned();
            move |source| OpenError::Io { path, action, source }
        };
        fs::create_dir_all(directory).map_err(failed(directory, "make the directory"))?;
        let path = directory.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed(&path, "open the lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { pid: holder(&mut lock), path }),
            Err(TryLockError::Error(source)) => return Err(failed(&path, "lock the file")(source)),
        }
        // Who holds the lock, for the message that the next one gets.
        lock.set_len(0)
            .and_then(|()| write!(lock, "{}", std::process::id()))
            .map_err(failed(&path, "write the lock file"))?;
        Ok(Self { path: Self::path_in(directory), opener, _lock: lock })
    }

    /// The ledger file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its size; 0 if that cannot be told.
    pub(super) fn size_bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Opens the ledger file, or makes it.
    pub(super) fn open(&self) -> Result<Store, OpenError> {
        if !self.path.exists() {
            self.make()?;
        }
        self.reopen().map_err(|error| self.explain(error))
    }

    fn make(&self) -> Result<(), OpenError> {
        let failed = |action| {
            let path = self.path.clone();
            move |source| OpenError::Io { path, action, source }
        };
        let new = self.path.with_file_name(NEW_FILE);
        // What an earlier start left half made.
        if new.exists() {
            fs::remove_file(&new).map_err(failed("replace what an earlier start left beside the ledger"))?;
        }
        Database::create(&new)
            .map_err(StoreError::from)
            .and_then(|database| lay(&database))
            .map_err(|error| self.explain(error))?;
        fs::rename(&new, &self.path).map_err(failed("name the new ledger"))?;
        // Without this a crash of the machine could lose the file's name with all that is in it.
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("sync the directory"))
    }

    /// Opens the ledger file, which exists; also again after a failed commit.
    pub(super) fn reopen(&self) -> Result<Store, StoreError> {
        open_store(&self.path, &*self.opener)
    }

    /// What a storage error means for the one who runs the program.
    pub(super) fn explain(&self, error: StoreError) -> OpenError {
        explain(self.path.clone(), error)
    }
}

/// A copy of a ledger that another process has open, beside it. It has no name once it is made, so nothing
/// of it is left however this process ends.
pub(super) struct Copy {
    original: PathBuf,
    file: File,
}

impl Copy {
    /// Copies the file as of one commit. `holder` is the process that has it open.
    ///
    /// The database never writes over what the last commit left: until the next one is complete, that goes
    /// to pages which the last one does not use. Each commit changes the file's head. So if the head is
    /// the same before and after, the copy holds the last commit whole; opening it repairs the rest, as
    /// after a crash.
    pub(super) fn of(original: PathBuf, holder: Option<u32>) -> Result<Self, OpenError> {
        match Self::as_of_one_commit(&original) {
            Ok(Some(file)) => Ok(Self { original, file }),
            Ok(None) => Err(OpenError::Busy { path: original, pid: holder }),
            Err(source) => {
                let action = "copy the ledger, which another process has open";
                Err(OpenError::Io { path: original, action, source })
            }
        }
    }

    fn as_of_one_commit(original: &Path) -> io::Result<Option<File>> {
        let mut name = original.as_os_str().to_owned();
        name.push(format!(".copy-{}", std::process::id()));
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&name)?;
        fs::remove_file(&name)?;
        for _ in 0..COPIES {
            let before = head(original)?;
            file.set_len(0)?;
            file.rewind()?;
            io::copy(&mut File::open(original)?, &mut file)?;
            if head(original)? == before {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Opens the copy.
    pub(super) fn open(&self) -> Result<Store, StoreError> {
        open_copy(&self.file)
    }

    /// What a storage error means for the one who runs the program.
    pub(super) fn explain(&self, error: StoreError) -> OpenError {
        explain(self.original.clone(), error)
    }
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

fn open_to_read(path: &Path) -> Result<Database, DatabaseError> {
    redb::Builder::new().set_cache_size(READ_CACHE_BYTES).open(path)
}

fn open_store(path: &Path, opener: &dyn Fn(&Path) -> Result<Database, DatabaseError>) -> Result<Store, StoreError> {
    guarded(fs::metadata(path), || {
        Store::refuse_newer(path)?;
        Store::open(opener(path)?)
    })
}

fn open_copy(file: &File) -> Result<Store, StoreError> {
    guarded(file.metadata(), || {
        let backend = FileBackend::new(file.try_clone().map_err(redb::StorageError::Io)?)?;
        Store::open(redb::Builder::new().set_cache_size(READ_CACHE_BYTES).create_with_backend(backend)?)
    })
}

/// Opens what is not empty. A damaged file can make redb panic where it trusts what it once wrote.
fn guarded(
    metadata: io::Result<Metadata>,
    open: impl FnOnce() -> Result<Store, StoreError>,
) -> Result<Store, StoreError> {
    // Why there is no metadata, the opening will tell.
    if metadata.is_ok_and(|metadata| metadata.len() == 0) {
        return Err(StoreError::Corrupt("the file is empty".into()));
    }
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(StoreError::Corrupt("its pages do not fit together".into())))
}

fn explain(path: PathBuf, error: StoreError) -> OpenError {
    match error {
        StoreError::Newer(found) => OpenError::Newer { path, found, supported: SCHEMA_VERSION },
        StoreError::Corrupt(detail) => OpenError::Corrupt { path, detail },
        source @ StoreError::Moved { .. } => OpenError::Moved { path, source },
        StoreError::Storage(error) => match error {
            redb::Error::DatabaseAlreadyOpen => OpenError::Locked { path, pid: None },
            // What redb says of a file that is not its own.
            redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
                OpenError::Corrupt { path, detail: source.to_string() }
            }
            redb::Error::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                OpenError::Corrupt { path, detail: "the file is cut off".into() }
            }
            redb::Error::Io(source) => OpenError::Io { path, action: "open the ledger", source },
            other => OpenError::Corrupt { path, detail: other.to_string() },
        },
    }
}

/// The process that wrote the lock file.
fn holder(lock: &mut File) -> Option<u32> {
    /// The digits of the largest process id.
    const MAX_DIGITS: u64 = 10;
    let mut text = String::new();
    lock.take(MAX_DIGITS).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
