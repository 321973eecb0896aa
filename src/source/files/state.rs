//! What is known of a directory from one poll to the next.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::{Duration, SystemTime};

use super::look::{Seen, Stamp};
use crate::session::SessionReport;
use crate::source::Page;

/// Sessions without an end that are remembered. More of them at a time would be more helpers than
/// any help desk has; the others are missing in `sessions_in_progress` until their file changes.
const MAX_UNFINISHED: usize = 10_000;
/// A file that is older than the newest by more no longer tells what is in progress: sessions last
/// hours, and later files do not speak of it.
const MAX_AGE: Duration = Duration::from_secs(86_400);

/// A file that changed at so many polls in a row will not come to rest by itself soon.
const RESTLESS_POLLS: u32 = 3;

/// The files as they were, and the sessions in progress that they told of.
#[derive(Default)]
pub(super) struct State {
    /// As each file looked in the last look.
    seen: HashMap<OsString, Stamp>,
    /// What became of those that were read, and is durable.
    done: HashMap<OsString, Done>,
    /// What the log heard of each file.
    told: HashMap<OsString, Told>,
    /// Sessions without an end, by id.
    unfinished: HashMap<Box<str>, Unfinished>,
}

/// A file that was read, to its end or to a fault.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub stamp: Stamp,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// To its end.
    Read,
    /// To a fault of its contents.
    SetAside,
    /// It could not be read, and is tried again by the next poll.
    Unreadable,
}

/// What the log heard of a file, and as what it was then.
#[derive(Default)]
struct Told {
    fault: Option<Stamp>,
    rejected: Option<Stamp>,
    /// How many polls found it changing since it was last read.
    restless: u32,
}

/// What the log hears of a file.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// It is set aside.
    Fault,
    /// One of its rows could not be read.
    Rejected,
}

struct Unfinished {
    file: OsString,
    modified: Option<SystemTime>,
    report: SessionReport,
}

impl State {
    /// Those of the files that were not read as they are now.
    pub fn unread<'s>(&self, files: &'s [Seen]) -> Vec<&'s Seen> {
        let is_read = |file: &Seen| {
            self.done
                .get(&file.name)
                .is_some_and(|done| done.stamp == file.stamp && done.outcome != Outcome::Unreadable)
        };
        files.iter().filter(|file| !is_read(file)).collect()
    }

    /// Whether a file looked the same in the last look.
    pub fn is_settled(&self, file: &Seen) -> bool {
        self.seen.get(&file.name) == Some(&file.stamp)
    }

    /// Takes over a look, and forgets the files that are gone.
    pub fn look(&mut self, files: &[Seen]) {
        self.seen = files.iter().map(|file| (file.name.clone(), file.stamp.clone())).collect();
        self.done.retain(|name, _| self.seen.contains_key(name));
        self.told.retain(|name, _| self.seen.contains_key(name));
    }

    /// When the newest file was last written.
    pub fn newest(&self) -> Option<SystemTime> {
        self.seen.values().filter_map(|stamp| stamp.modified).max()
    }

    /// The sessions in progress that files tell of which are not read this time, as the page that
    /// stands for them.
    pub fn in_progress(&mut self, plan: &[Seen]) -> Page {
        let planned: HashSet<&OsStr> = plan.iter().map(|file| file.name.as_os_str()).collect();
        let newest = self.newest();
        let is_old = |file: Option<SystemTime>| match (newest, file) {
            (Some(newest), Some(file)) => newest.duration_since(file).is_ok_and(|age| age > MAX_AGE),
            _ => false,
        };
        self.unfinished.retain(|_, unfinished| {
            self.seen.contains_key(&unfinished.file)
                && !planned.contains(unfinished.file.as_os_str())
                && !is_old(unfinished.modified)
        });
        let reports = self.unfinished.values().map(|unfinished| unfinished.report.clone()).collect();
        Page { reports, rejects: Vec::new() }
    }

    /// Notes which sessions a page of a file shows in progress, and which at their end.
    pub fn note(&mut self, file: &Seen, page: &Page) {
        for report in &page.reports {
            if report.end.is_some() {
                self.unfinished.remove(&report.id);
            } else if self.unfinished.len() < MAX_UNFINISHED {
                let (file, modified, report) = (file.name.clone(), file.stamp.modified, report.clone());
                self.unfinished.insert(report.id.clone(), Unfinished { file, modified, report });
            }
        }
    }

    /// Whether the log has not heard this of the file as it is now.
    pub fn is_news(&mut self, file: &Seen, news: News) -> bool {
        let told = self.told.entry(file.name.clone()).or_default();
        let told = match news {
            News::Fault => &mut told.fault,
            News::Rejected => &mut told.rejected,
        };
        told.replace(file.stamp.clone()).as_ref() != Some(&file.stamp)
    }

    /// A poll does not read a file because it changes; whether the log has to hear of it now.
    pub fn is_restless(&mut self, file: &Seen) -> bool {
        let told = self.told.entry(file.name.clone()).or_default();
        told.restless = told.restless.saturating_add(1);
        told.restless == RESTLESS_POLLS
    }

    /// A file has kept still while it was read.
    pub fn rests(&mut self, file: &Seen) {
        if let Some(told) = self.told.get_mut(&file.name) {
            told.restless = 0;
        }
    }

    /// What was read is durable; how many files are set aside now.
    pub fn commit(&mut self, done: impl IntoIterator<Item = (OsString, Done)>) -> u64 {
        self.done.extend(done);
        self.done.values().filter(|done| done.outcome != Outcome::Read).count() as u64
    }
}
