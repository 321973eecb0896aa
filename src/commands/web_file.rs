//! The web configuration while the program runs: read again as it changes.
//!
//! What the file and those that it names hold is looked at, not when they were written: Kubernetes exchanges
//! directories by links, and a copied file may be older than the one before. A change that is not valid is
//! told once and leaves everything as it was. So do a file that is gone, and one that would take away what
//! keeps strangers out: a file that is cut off must not open the server to everybody.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Failure;
use crate::clock;
use crate::config::{Error, WebConfig};
use crate::metrics::Own;
use crate::web::Access;

/// How often it is looked at. A change has to be the same in two looks, so it is in force after at most twice
/// this time. A look reads a few small files.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long a look may take. A file system that does not answer must not keep whoever asks for a reload.
const PATIENCE: Duration = Duration::from_secs(60);
/// The text of a file that is meant to open the server to everybody.
const OPEN: &str = "{}";

/// The file, and what came of it.
pub(super) struct WebFile {
    path: PathBuf,
    access: Arc<Access>,
    own: Own,
    state: Arc<Mutex<State>>,
    /// The last look did not come to an end.
    stuck: AtomicBool,
}

struct State {
    /// What is in force.
    config: WebConfig,
    /// Of the contents that are in force.
    in_force: u64,
    /// Of the contents at the last look.
    seen: u64,
    /// Why the contents of the last look are not in force.
    refused: Option<String>,
}

impl WebFile {
    /// Reads the file, which has to be valid at the start.
    pub(super) fn open(path: &Path, own: &Own) -> Result<Self, Failure> {
        let Found { config, contents, .. } = read(path)?;
        let access = Access::new(&config).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        if config == WebConfig::default() {
            warn!(file = %path.display(), "The web configuration is empty: everybody may read");
        }
        let state = State { config, in_force: contents, seen: contents, refused: None };
        let file = Self {
            path: path.to_owned(),
            access: Arc::new(access),
            own: own.clone(),
            state: Arc::new(Mutex::new(state)),
            stuck: AtomicBool::new(false),
        };
        file.tell_of_success();
        Ok(file)
    }

    pub(super) fn access(&self) -> Arc<Access> {
        self.access.clone()
    }

    /// Looks at it until the stop.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut looks = interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watch = async {
            loop {
                looks.tick().await;
                // What goes wrong has been told.
                let _ = self.look(false).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watch => {}
        }
    }

    /// Puts in force what has changed; where somebody has `asked` for it, at once and with a word about any
    /// failure.
    ///
    /// # Errors
    /// In one line why what is in force stays so.
    pub(super) async fn look(self: &Arc<Self>, asked: bool) -> Result<(), String> {
        let look = async {
            // One at a time, also where the one before took too long and was not waited for.
            let state = self.state.clone().lock_owned().await;
            let file = self.clone();
            tokio::task::spawn_blocking(move || file.reread(state, asked)).await
        };
        let problem = match timeout(PATIENCE, look).await {
            Ok(Ok(outcome)) => {
                self.stuck.store(false, Ordering::Relaxed);
                return outcome;
            }
            Ok(Err(_)) => {
                "reading the web configuration failed by a defect of the exporter; please report it".to_owned()
            }
            Err(_) => format!(
                "{}: reading the web configuration takes over {} seconds; check the file system that it is on",
                self.path.display(),
                PATIENCE.as_secs()
            ),
        };
        self.own.web_config_refused();
        if asked || !self.stuck.swap(true, Ordering::Relaxed) {
            error!(error = %problem, "Cannot look at the web configuration; the one before stays in force");
        }
        Err(problem)
    }

    fn reread(&self, mut state: OwnedMutexGuard<State>, asked: bool) -> Result<(), String> {
        let file = contents(&self.path);
        let contents = fingerprint(file.as_deref().map_err(|kind| *kind), &state.config);
        let settled = std::mem::replace(&mut state.seen, contents) == contents;
        let changed = contents != state.in_force || state.refused.is_some();
        // Whoever asks has it read whatever it looks like.
        if !(asked || changed && settled) {
            return Ok(());
        }
        match self.load(&state.config) {
            Ok(found) => {
                state.in_force = found.contents;
                state.config = found.config;
                state.refused = None;
                self.tell_of_success();
                info!(file = %self.path.display(), "Reloaded the web configuration");
                Ok(())
            }
            Err(problem) => {
                self.own.web_config_refused();
                if asked || state.refused.as_ref() != Some(&problem) {
                    error!(error = %problem, "Cannot reload the web configuration; the one before stays in force");
                }
                state.refused = Some(problem.clone());
                Err(problem)
            }
        }
    }

    fn load(&self, before: &WebConfig) -> Result<Found, String> {
        let found = read(&self.path).map_err(|error| error.to_string())?;
        if let Some(lost) = lost(before, &found.config)
            && found.text.trim() != OPEN
        {
            return Err(format!(
                "{}: {lost} is gone, which a change does not take away by itself; mend the file, \
                 write {OPEN} alone for a server that is open to everybody, or restart the exporter",
                self.path.display()
            ));
        }
        self.access.replace(&found.config).map_err(|error| format!("{}: {error}", self.path.display()))?;
        Ok(found)
    }

    fn tell_of_success(&self) {
        self.own.web_config_loaded(clock::now());
        self.own.web_certificate(self.access.certificate_expiry());
    }
}

/// What kept strangers or listeners out before, and would not any more.
fn lost(before: &WebConfig, after: &WebConfig) -> Option<&'static str> {
    if before.is_guarded() && !after.is_guarded() {
        Some("who may read")
    } else if before.tls.is_some() && after.tls.is_none() {
        Some("TLS")
    } else {
        None
    }
}

/// A configuration, and what it was made of.
struct Found {
    text: String,
    config: WebConfig,
    /// A hash of all files. Each was hashed before it was used: a change in between is seen by the next look.
    contents: u64,
}

fn read(path: &Path) -> Result<Found, Error> {
    let text = WebConfig::text(path)?;
    let config = WebConfig::from_yaml(&text, path)?;
    let contents = fingerprint(Ok(text.as_bytes()), &config);
    Ok(Found { text, config, contents })
}

/// A hash of what the file and those that the configuration names hold.
fn fingerprint(file: Result<&[u8], ErrorKind>, config: &WebConfig) -> u64 {
    let mut hasher = DefaultHasher::new();
    file.hash(&mut hasher);
    for file in config.files() {
        contents(file).hash(&mut hasher);
    }
    hasher.finish()
}

fn contents(file: &Path) -> Result<Vec<u8>, ErrorKind> {
    WebConfig::contents(file).map_err(|error| error.kind())
}
