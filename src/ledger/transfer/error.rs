//! What can go wrong with an export or an import, and the remedies.

use std::fmt;
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::ledger::OpenError;
use crate::ledger::store::StoreError;

/// Why a tenant was not taken out of a ledger or into one.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The ledger cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has no such tenant.
    #[error("{}: no tenant is named {tenant}; there {}", path.display(), listed(held))]
    NoTenant {
        /// The ledger file.
        path: PathBuf,
        /// What was asked for.
        tenant: String,
        /// What there is.
        held: Vec<String>,
    },
    /// It is counted otherwise here.
    #[error(
        "{}: tenant {tenant} is there already with other counts: {held}, where the export has {exported}; nothing was \
         imported: let --replace --tenant={tenant} drop what is there, or name the other tenants by --tenant",
        path.display()
    )]
    Conflict {
        /// The ledger file.
        path: PathBuf,
        /// Which.
        tenant: String,
        /// What there is.
        held: Standing,
        /// What would come.
        exported: Standing,
    },
    /// The export cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The ledger cannot be written. Where the last sync is what failed, it may be changed all the same.
    #[error(
        "{}: cannot be changed ({detail}); check free space and permissions, and give the same command again: what is \
         done already stays done",
        path.display()
    )]
    Write {
        /// The ledger file.
        path: PathBuf,
        /// What its storage said.
        detail: String,
    },
    /// The ledger's storage said no: what this is to mean depends on what was tried.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

/// Where the counts of a tenant stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many sessions it counts in all.
    pub counted: u64,
    /// When the last successful poll ended.
    pub last_success: Option<DateTime<Utc>>,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions", self.counted)?;
        match self.last_success {
            Some(at) => write!(f, " up to {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
            None => f.write_str(" and no poll"),
        }
    }
}

/// What is wrong with an export. Who has it knows its name.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It does not hold a tenant that was asked for.
    #[error("the export holds no tenant named {tenant}; nothing was imported: check --tenant and the file")]
    NotExported {
        /// Which.
        tenant: String,
    },
    /// What is read is something else.
    #[error("not an export of a ledger; give a file that `ledger export` wrote")]
    NotAnExport,
    /// A later release wrote it.
    #[error(
        "the export has {what} {found}, this release reads up to {supported}; import it with the release that wrote it, {exporter}, or a later one"
    )]
    Newer {
        /// What is newer.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest that this release knows.
        supported: u32,
        /// The release that wrote it.
        exporter: String,
    },
    /// It is not as it was written.
    #[error("line {line} of the export {damage}; nothing was imported or taken out: export once more")]
    Damaged {
        /// Where.
        line: u64,
        /// How.
        damage: Damage,
    },
    /// The export cannot be read.
    #[error("the export cannot be read ({0}); nothing was imported: check the file and permissions")]
    Read(#[source] io::Error),
    /// The export cannot be written.
    #[error("the export cannot be written ({0}); the ledger is as it was: check free space and permissions")]
    Write(#[source] io::Error),
}

/// How an export is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file ends too early.
    #[error("is missing: the file is cut off")]
    CutOff,
    /// Something was changed.
    #[error("has another checksum: the file was changed")]
    Checksum,
    /// There is something that does not belong there.
    #[error("cannot be read")]
    Line,
}

fn listed(held: &[String]) -> String {
    if held.is_empty() { "is none".to_owned() } else { format!("are {}", held.join(", ")) }
}
