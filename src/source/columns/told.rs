//! What the log hears of configured columns that a report does not have.

use std::sync::{Mutex, PoisonError};

/// The columns that the last answer did not have, so that they are told when that changes and not with
/// each answer.
#[derive(Debug, Default)]
pub(in crate::source) struct Told(Mutex<Vec<String>>);

impl Told {
    /// An answer came without these columns.
    pub fn unmatched(&self, unmatched: Vec<String>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for column in unmatched.iter().filter(|column| !told.contains(column)) {
            tracing::warn!(column, "The report has no such column; check source.columns");
        }
        *told = unmatched;
    }
}
