//! A directory of reports: what the admin centre's Export button gives, or what a relay drops.
//!
//! - `look` sees which files there are, `content` tells what is in one, `json` cuts its rows out.
//! - A thread reads, and the poll hears of it by `listener`.
//!
//! A file is read once it does not change between two looks, and again when it changes. What was read
//! is remembered when it is durable, and in this process only: after a restart everything is read
//! again, and the ledger knows the sessions. A file that cannot be read is told and set aside: the
//! poll goes on with the others. No file is ever written, moved or removed.

mod content;
mod json;
mod listener;
mod look;
mod reading;
mod state;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::sync::Mutex as AsyncMutex;

use super::Observer;
use super::columns::Columns;

pub use content::{Fault, decode};
pub(super) use reading::Files;
use state::State;

/// A directory, and what was read of it.
pub(super) struct Directory {
    path: PathBuf,
    columns: Columns,
    observer: Arc<dyn Observer>,
    state: Mutex<State>,
    /// Held by the one thread that may wait for the file system. A mount that hangs never lets go of
    /// it: a thread more at each poll would in the end leave none to the ledger.
    thread: Arc<AsyncMutex<()>>,
}

impl Directory {
    pub fn new(path: PathBuf, columns: Columns, observer: Arc<dyn Observer>) -> Self {
        Self { path, columns, observer, state: Mutex::default(), thread: Arc::default() }
    }
}
