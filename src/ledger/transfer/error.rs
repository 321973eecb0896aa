//! What can go wrong with an export or an import, and the remedies.

use std::io;
use std::path::PathBuf;

use crate::ledger::OpenError;
use crate::ledger::store::StoreError;

/// Why a tenant was not taken out of a ledger or into one. The ledger is as it was.
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
        "{}: tenant {tenant} is there already with other counts; nothing was imported: leave it out by --tenant, or let \
         --replace drop what is there",
        path.display()
    )]
    Conflict {
        /// The ledger file.
        path: PathBuf,
        /// Which.
        tenant: String,
    },
    /// The file does not hold a tenant that was asked for.
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
    #[error("line {line} of the export {damage}; nothing was imported: export once more")]
    Damaged {
        /// Where.
        line: u64,
        /// How.
        damage: Damage,
    },
    /// The export cannot be read.
    #[error("cannot read the export ({0}); nothing was imported")]
    Read(#[source] io::Error),
    /// The export cannot be written.
    #[error("cannot write the export ({0}); the ledger is as it was")]
    Write(#[source] io::Error),
    /// The ledger's storage said no.
    #[error("{}: cannot be changed ({detail}); it is as it was: check free space and permissions", path.display())]
    Storage {
        /// The ledger file.
        path: PathBuf,
        /// What it said.
        detail: String,
    },
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        Self::Storage { path: PathBuf::new(), detail: error.to_string() }
    }
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
