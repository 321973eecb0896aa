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

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Failure;
use crate::clock;
use crate::config::{Error, WebConfig};
use crate::metrics::Own;
use crate::status::Status;
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
    status: Arc<Status>,
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
    pub(super) fn open(path: &Path, own: &Own, status: &Arc<Status>) -> Result<Self, Failure> {
        let (Found { config, contents, .. }, access) = usable(path)?;
        if config == WebConfig::default() {
            warn!(file = %path.display(), "The web configuration is empty: everybody may read");
        }
        let state = State { config, in_force: contents, seen: contents, refused: None };
        let file = Self {
            path: path.to_owned(),
            access: Arc::new(access),
            own: own.clone(),
            status: status.clone(),
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
        self.tell_of_refusal(&problem);
        let told = self.stuck.swap(true, Ordering::Relaxed);
        if asked || !told {
            error!(error = %problem, "Cannot look at the web configuration; the one before stays in force");
        }
        Err(problem)
    }

    fn reread(&self, mut state: OwnedMutexGuard<State>, asked: bool) -> Result<(), String> {
        let file = contents(&self.path);
        let contents = fingerprint(file.as_deref().map_err(|kind| *kind), &state.config);
        let settled = std::mem::replace(&mut state.seen, contents) == contents;
        // After a look that came to no end, what was told of it has to be taken back.
        let changed = contents != state.in_force || state.refused.is_some() || self.stuck.load(Ordering::Relaxed);
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
                self.tell_of_refusal(&problem);
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
        let (now, expiry) = (clock::now(), self.access.certificate_expiry());
        self.status.web_configured(expiry, now);
        self.own.web_certificate(expiry);
        self.own.web_config_loaded(now);
    }

    fn tell_of_refusal(&self, problem: &str) {
        self.status.web_configuration_refused(problem.to_owned(), clock::now());
        self.own.web_config_refused();
    }
}

/// Looks at a file as at the start: what it asks for, and when the first of the server's certificates expires.
pub(super) fn examine(path: &Path) -> Result<(WebConfig, Option<DateTime<Utc>>), Failure> {
    let (found, access) = usable(path)?;
    Ok((found.config, access.certificate_expiry()))
}

/// Reads a file that has to be valid, and makes what it asks for.
fn usable(path: &Path) -> Result<(Found, Access), Failure> {
    let found = read(path)?;
    let access = Access::new(&found.config).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    Ok((found, access))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::exporter::BUILD;
    use crate::metrics::Versioned as _;

    /// The gauge, and what the pages say.
    fn told(file: &WebFile) -> (f64, Option<String>) {
        let families = file.own.part().gather();
        let family = families.iter().find(|found| found.name().ends_with("exporter_web_config_last_reload_successful"));
        let refused = file.status.web_configuration().unwrap().refused;
        (family.unwrap().get_metric()[0].get_gauge().value(), refused.map(|refused| refused.message))
    }

    /// As on a file system of the network that is away for some minutes.
    #[tokio::test(start_paused = true)]
    async fn a_look_that_does_not_end_is_told_of_until_one_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.yml");
        std::fs::write(&path, "rate_limit: {interval: 1s, burst: 9}\n").unwrap();
        let own = Own::new(&BUILD, clock::now).unwrap();
        let file = Arc::new(WebFile::open(&path, &own, &Arc::default()).unwrap());
        assert_eq!(told(&file), (1.0, None));
        for asked in [false, true] {
            let reading = file.state.clone().lock_owned().await;
            let problem = file.look(asked).await.unwrap_err();
            assert!(problem.ends_with("takes over 60 seconds; check the file system that it is on"), "{problem}");
            assert_eq!(told(&file), (0.0, Some(problem)));
            drop(reading);
            assert_eq!(file.look(false).await, Ok(()));
            assert_eq!(told(&file), (1.0, None));
        }
    }
}
