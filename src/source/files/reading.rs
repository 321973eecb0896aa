//! One reading of a directory: the files that are new or have changed, a page at a time.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;
use tracing::warn;

use super::Directory;
use super::content::{self, Fault};
use super::listener::{self, Listener, Teller, Told};
use super::look::{self, Seen};
use super::state::{Done, News, Outcome, State};
use crate::source::reading::Pages;
use crate::source::{Page, SetAside, SourceError};
use crate::status::FailureReason;

/// Between the two looks that a new file has to stay unchanged for. Whoever writes slower than this
/// has a part read; it is read whole when it has changed.
const SETTLING: Duration = Duration::from_secs(1);
/// How long a file system may take for a look, or to give the next bytes of a file. One that hangs
/// longer, as a network share may, fails the poll instead of holding it for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much of a file's name a line shows.
const MAX_NAME_CHARS: usize = 100;

/// A reading of a directory.
pub(in crate::source) struct Files {
    directory: Arc<Directory>,
    step: Step,
    /// What became of each file that was read so far.
    done: HashMap<OsString, Done>,
    set_aside: Option<SetAside>,
}

enum Step {
    Look,
    Read { plan: Arc<Vec<Seen>>, ended: usize, told: Listener },
    Finished,
}

impl Files {
    pub fn new(directory: Arc<Directory>) -> Self {
        Self { directory, step: Step::Look, done: HashMap::new(), set_aside: None }
    }

    /// The files to read, oldest first.
    async fn plan(&self) -> Result<Vec<Seen>, SourceError> {
        let files = self.look().await?;
        let is_settled = {
            let state = self.directory.state();
            state.unread(&files).iter().all(|file| state.is_settled(file))
        };
        if is_settled {
            return Ok(self.settle(&files));
        }
        self.directory.state().look(&files);
        tokio::time::sleep(SETTLING).await;
        let files = self.look().await?;
        Ok(self.settle(&files))
    }

    async fn look(&self) -> Result<Vec<Seen>, SourceError> {
        let (directory, thread) = (self.directory.clone(), self.directory.thread().await?);
        let looking = tokio::task::spawn_blocking(move || {
            let _thread = thread;
            look::look(&directory.path)
        });
        match tokio::time::timeout(PATIENCE, looking).await {
            Ok(Ok(files)) => files,
            Ok(Err(_)) => Err(SourceError::new(FailureReason::Internal, "looking at the directory failed")),
            Err(_) => Err(self.directory.hangs()),
        }
    }

    /// Those to read that look as they did the last time.
    fn settle(&self, files: &[Seen]) -> Vec<Seen> {
        let mut state = self.directory.state();
        let (settled, restless): (Vec<_>, Vec<_>) =
            state.unread(files).into_iter().partition(|file| state.is_settled(file));
        state.look(files);
        restless.into_iter().for_each(|file| unread(&mut state, file));
        settled.into_iter().cloned().collect()
    }

    /// Takes what the thread says of a file.
    fn end(&mut self, file: &Seen, result: Result<(), Fault>) {
        let outcome = match &result {
            Ok(()) => Outcome::Read,
            Err(fault) if fault.may_pass() => Outcome::Unreadable,
            Err(_) => Outcome::SetAside,
        };
        if let Err(fault) = result {
            if self.directory.state().is_news(file, News::Fault) {
                warn!(file = shown(&file.name), error = %fault, "A file is set aside; mend it or take it away");
            }
            let first = || SetAside { files: 0, first: format!("{}: {fault}", shown(&file.name)) };
            self.set_aside.get_or_insert_with(first).files += 1;
        }
        self.directory.state().rests(file);
        self.done.insert(file.name.clone(), Done { stamp: file.stamp.clone(), outcome });
    }
}

#[async_trait]
impl Pages for Files {
    async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        loop {
            let (plan, told) = match &mut self.step {
                Step::Finished => return Ok(None),
                Step::Look => {
                    let plan = Arc::new(self.plan().await?);
                    let page = self.directory.state().in_progress(&plan);
                    let told = self.directory.start(plan.clone()).await?;
                    self.step = Step::Read { plan, ended: 0, told };
                    if page.rows() > 0 {
                        return Ok(Some(page));
                    }
                    continue;
                }
                Step::Read { plan, ended, told } => {
                    let next = told.next(PATIENCE).await.map_err(|_| self.directory.hangs())?;
                    *ended += usize::from(matches!(next, Some(Told::End(..) | Told::Changed(_))));
                    if next.is_none() && *ended < plan.len() {
                        return Err(SourceError::new(FailureReason::Internal, "reading a file failed"));
                    }
                    (plan.clone(), next)
                }
            };
            match told {
                None => self.step = Step::Finished,
                Some(Told::Page(place, mut page)) => {
                    let file = &plan[place];
                    self.directory.state().note(file, &page);
                    let name = shown(&file.name);
                    if let Some(first) = page.rejects.first()
                        && self.directory.state().is_news(file, News::Rejected)
                    {
                        warn!(
                            file = name,
                            session = first.id.as_deref().unwrap_or("unknown"),
                            error = %first,
                            "Rows of a file could not be read, this one first; they count when the file is mended"
                        );
                    }
                    for reject in &mut page.rejects {
                        reject.detail = format!("{name}, {}", reject.detail).into();
                    }
                    return Ok(Some(page));
                }
                Some(Told::End(place, result)) => self.end(&plan[place], result),
                Some(Told::Changed(place)) => unread(&mut self.directory.state(), &plan[place]),
            }
        }
    }

    fn date(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn written(&self) -> Option<DateTime<Utc>> {
        Some(self.directory.state().newest().map_or(DateTime::UNIX_EPOCH, DateTime::from))
    }

    fn rows_missing(&self) -> u64 {
        0
    }

    fn set_aside(&self) -> Option<SetAside> {
        self.set_aside.clone()
    }

    fn tells_rejects(&self) -> bool {
        true
    }

    fn is_finished(&self) -> bool {
        matches!(self.step, Step::Finished)
    }

    fn committed(&mut self) {
        let set_aside = self.directory.state().commit(self.done.drain());
        self.directory.observer.files_set_aside(set_aside);
    }
}

impl Directory {
    /// The state; whoever panicked while holding it left whole entries behind.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hangs(&self) -> SourceError {
        let message = format!(
            "the directory {} does not answer within {} s; is its file system there?",
            self.path.display(),
            PATIENCE.as_secs()
        );
        SourceError::new(FailureReason::Timeout, message)
    }

    /// The right to have a thread wait for the file system, once no other has.
    async fn thread(&self) -> Result<OwnedMutexGuard<()>, SourceError> {
        let free = self.thread.clone().lock_owned();
        tokio::time::timeout(PATIENCE, free).await.map_err(|_| self.hangs())
    }

    /// Starts a thread that reads the files of a plan one after the other. It ends when nobody listens.
    async fn start(self: &Arc<Self>, plan: Arc<Vec<Seen>>) -> Result<Listener, SourceError> {
        let (teller, told) = listener::pair();
        let (directory, thread) = (self.clone(), self.thread().await?);
        tokio::task::spawn_blocking(move || {
            let _thread = thread;
            for (place, file) in plan.iter().enumerate() {
                let told = directory.read_file(place, file, &teller);
                if !teller.tell(told) {
                    break;
                }
            }
        });
        Ok(told)
    }

    fn read_file(&self, place: usize, seen: &Seen, teller: &Teller) -> Told {
        let file = match look::open(&self.path, seen) {
            Ok(Some(file)) => file,
            Ok(None) => return Told::Changed(place),
            Err(fault) => return Told::End(place, Err(fault)),
        };
        let mut give = |page| teller.tell(Told::Page(place, page));
        let result = content::read(teller.watch(&file), &self.columns, &mut give);
        if look::is_unchanged(&file, seen) { Told::End(place, result) } else { Told::Changed(place) }
    }
}

/// A file is not read, as it changes.
fn unread(state: &mut State, file: &Seen) {
    if state.is_restless(file) {
        warn!(
            file = shown(&file.name),
            "A file changes at every look and is not read; write it elsewhere, and rename it into the directory"
        );
    }
}

/// A name as a line shows it: whoever drops files chooses it.
fn shown(name: &OsStr) -> String {
    name.to_string_lossy().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}
