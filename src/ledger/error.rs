//! What can go wrong with a ledger. Each message is one line with the file and the remedy.

use std::path::PathBuf;

use super::store::StoreError;

/// A ledger that cannot be opened. The program ends with exit code 74; nothing is replaced.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{}: another process has this ledger open{}; stop it or choose another --storage.path", path.display(), by(*pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds the lock, where it said so.
        pid: Option<u32>,
    },
    /// There is nothing to read history from.
    #[error("{}: there is no ledger; give the --storage.path of an exporter that has counted sessions", path.display())]
    Missing {
        /// Where the ledger file would be.
        path: PathBuf,
    },
    /// Another process wrote it whenever it was copied.
    #[error("{}: another process{} writes this ledger too often to copy it; stop it for the moment that reading takes", path.display(), by(*pid))]
    Busy {
        /// The ledger file.
        path: PathBuf,
        /// The process that writes it, where it said so.
        pid: Option<u32>,
    },
    /// The file is not a ledger, or is damaged.
    #[error(
        "{}: the ledger is corrupt ({detail}); restore it from a backup, or move it away to start a new one, which counts the sessions of the look-back window again",
        path.display()
    )]
    Corrupt {
        /// The ledger file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// A tenant is configured whose counts went to another ledger.
    #[error("{}: {source}", path.display())]
    Moved {
        /// The ledger file.
        path: PathBuf,
        /// Which, and the remedy.
        source: StoreError,
    },
    /// A later release wrote it.
    #[error(
        "{}: the ledger has schema version {found}, this release reads up to {supported}; run the release that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The ledger file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The newest version that this release knows.
        supported: u32,
    },
    /// The file or its directory cannot be read or written.
    #[error("{}: cannot {action} ({source}); check that --storage.path is a writable directory with free space", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// A commit that failed. Nothing of it is in the ledger or in the totals.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: cannot commit ({detail}); nothing was counted and the next poll tries again: check free space and permissions", path.display())]
pub struct CommitError {
    /// The ledger file.
    pub path: PathBuf,
    /// What the storage said.
    pub detail: String,
}

/// Settings that were not taken over. Those before stay in force.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReconfigureError {
    /// What is new could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A tenant is new whose counts went to another ledger.
    #[error("{}: {detail}", path.display())]
    Moved {
        /// The ledger file.
        path: PathBuf,
        /// Which, and the remedy.
        detail: String,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
