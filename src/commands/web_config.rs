//! `--web.config.file`, read again as it changes.
//!
//! Its contents and those of every file that it names are looked at every few seconds, and when a reload is
//! asked for. By their contents, since links that Kubernetes exchanges keep their names, and copies may keep
//! their times. What cannot be used leaves the one before in force.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Failure;
use crate::config::{self, PemSource, WebConfig};
use crate::metrics::Own;
use crate::web::{Access, AccessError};

/// Time between two looks: a certificate is in use before whoever put it there looks, and four small files
/// cost next to nothing. Well below the time of a health check, which waits for it.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Keeps the web configuration in force that the file holds.
pub(super) struct WebConfigWatch {
    /// The file; nothing to watch where there is none.
    path: Option<PathBuf>,
    access: Arc<Access>,
    asked: Arc<Notify>,
    seen: Seen,
    /// Why the last load failed, if it did.
    refused: Option<String>,
}

/// What was seen of the file and of those that it names; `None` for one that has to be looked at anew.
type Seen = BTreeMap<PathBuf, Option<u64>>;

/// What came of a look: what is seen now, and the outcome of a load where there was a reason for one.
type Looked = (Seen, Option<Result<(), WebConfigError>>);

/// Why the one before stays in force. One line.
#[derive(Debug, thiserror::Error)]
enum WebConfigError {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("{}: {error}", path.display())]
    Access { path: PathBuf, error: AccessError },
    #[error("it could not be read by a defect of the exporter; please report it with what standard error says")]
    Defect,
}

impl WebConfigWatch {
    /// Puts the file in force with which `serve` and `demo` start; all is open where there is none. A load
    /// is asked for by `asked`.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(super) fn start(path: Option<&Path>, asked: Arc<Notify>) -> Result<Self, Failure> {
        let access = Arc::new(Access::default());
        let mut seen = Seen::new();
        if let Some(path) = path {
            let files = put_in_force(path, &access).map_err(|error| match error {
                WebConfigError::Config(error) => Failure::Config(error),
                other => Failure::Usage(other.to_string()),
            })?;
            seen.extend(files.into_iter().chain([path.to_owned()]).map(|file| (file, None)));
        }
        Ok(Self { path: path.map(Path::to_owned), access, asked, seen, refused: None })
    }

    /// What is in force, for the web server.
    pub(super) fn access(&self) -> Arc<Access> {
        self.access.clone()
    }

    /// Looks again and again until the stop.
    pub(super) async fn run(mut self, own: Own, stop: CancellationToken) {
        let Some(path) = self.path.take() else { return stop.cancelled().await };
        own.web_config_loaded(self.access.certificate_expiry());
        // What has changed since the start is seen by the first look; else it has nothing to tell.
        let mut asked = false;
        let mut first = true;
        loop {
            // A file that is named by what was refused may have been mended.
            let again = asked || self.refused.is_some();
            let look = look(path.clone(), self.access.clone(), self.seen.clone(), again);
            let (seen, outcome) = tokio::select! {
                () = stop.cancelled() => return,
                looked = tokio::task::spawn_blocking(look) => {
                    looked.unwrap_or_else(|_| (self.seen.clone(), Some(Err(WebConfigError::Defect))))
                }
            };
            self.seen = seen;
            match outcome {
                Some(Ok(())) => {
                    self.refused = None;
                    own.web_config_loaded(self.access.certificate_expiry());
                    if !first {
                        info!("Reloaded the web configuration");
                    }
                }
                Some(Err(error)) => self.refuse(&error, asked, &own),
                None => {}
            }
            first = false;
            asked = tokio::select! {
                () = stop.cancelled() => return,
                () = time::sleep(LOOK_INTERVAL) => false,
                () = self.asked.notified() => true,
            };
        }
    }

    /// Tells of a failure once, and again if asked.
    fn refuse(&mut self, error: &WebConfigError, asked: bool, own: &Own) {
        let refused = error.to_string();
        if asked || self.refused.as_ref() != Some(&refused) {
            own.web_config_refused();
            error!(error = refused, "Cannot reload the web configuration; the one before stays in force");
        }
        self.refused = Some(refused);
    }
}

/// Reads and checks the file, and puts it in force; the files that it names.
fn put_in_force(path: &Path, access: &Access) -> Result<Vec<PathBuf>, WebConfigError> {
    let config = WebConfig::read(path)?;
    access.replace(&config).map_err(|error| WebConfigError::Access { path: path.to_owned(), error })?;
    Ok(config.files().map(Path::to_owned).collect())
}

/// One look, which may block.
fn look(path: PathBuf, access: Arc<Access>, seen: Seen, again: bool) -> impl FnOnce() -> Looked + Send {
    move || {
        // Before they are used: what changes in between is seen by the next look.
        let mut now: Seen = seen.keys().map(|file| (file.clone(), Some(fingerprint(file)))).collect();
        if now == seen && !again {
            return (seen, None);
        }
        let outcome = put_in_force(&path, &access).map(|files| {
            now.retain(|file, _| *file == path || files.contains(file));
            for file in files {
                now.entry(file).or_insert(None);
            }
        });
        (now, Some(outcome))
    }
}

/// A hash of what the file holds, or of why it cannot be read.
fn fingerprint(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let contents = PemSource::File(file.to_owned()).read();
    contents.map_err(|error| error.kind()).hash(&mut hasher);
    hasher.finish()
}
