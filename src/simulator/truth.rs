//! What really happened, in numbers: the oracle of the tests.

use std::collections::BTreeMap;

use serde::Serialize;

use super::session::Session;

/// The totals of the sessions that were shown as ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// How many there were.
    pub ended: u64,
    /// The same by the type's name; `unreported` for none.
    pub by_type: BTreeMap<String, TypeTruth>,
}

/// The totals of one session type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TypeTruth {
    /// How many sessions ended.
    pub sessions: u64,
    /// How many of them have a start that is not after their end.
    pub durations: u64,
    /// The sum of those durations, in ticks of 100 ns.
    pub duration_ticks: u64,
}

impl Truth {
    /// Adds a session that has ended.
    pub(super) fn add(&mut self, session: &Session) {
        self.ended += 1;
        let name = session.session_type.as_deref().unwrap_or("unreported");
        let of_type = self.by_type.entry(name.to_owned()).or_default();
        of_type.sessions += 1;
        if let Some(ticks) = session.duration_ticks() {
            of_type.durations += 1;
            of_type.duration_ticks += ticks;
        }
    }
}
