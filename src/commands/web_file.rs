//! The web configuration while the program runs: read again as it changes.
//!
//! What the file and those that it names hold is looked at, not when they were written: Kubernetes exchanges
//! directories by links, and a copied file may be older than the one before. A change that is not valid is
//! told once and leaves everything as it was, and so do a file that is gone and one that is empty: a file
//! that is being written must not open the server to everybody.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::Failure;
use crate::clock;
use crate::config::WebConfig;
use crate::metrics::Own;
use crate::web::Access;

/// How often it is looked at. A change has to be the same in two looks, so it is in force after at most twice
/// this time. A look reads a few small files.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long a look may take. A file system that does not answer must not keep whoever asks for a reload.
const PATIENCE: Duration = Duration::from_secs(60);

/// The file, and what came of it.
pub(super) struct WebFile {
    path: PathBuf,
    access: Arc<Access>,
    own: Own,
    state: Arc<Mutex<State>>,
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
        let config = WebConfig::read(path)?;
        let contents = fingerprint(path, &config);
        let access = Access::new(&config).map_err(|error| Failure::Usage(error.to_string()))?;
        let state = State { config, in_force: contents, seen: contents, refused: None };
        let file = Self {
            path: path.to_owned(),
            access: Arc::new(access),
            own: own.clone(),
            state: Arc::new(Mutex::new(state)),
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
        match timeout(PATIENCE, look).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                Err("reading the web configuration failed by a defect of the exporter; please report it".to_owned())
            }
            Err(_) => Err(format!(
                "{}: reading the web configuration takes over {} seconds; check the file system that it is on",
                self.path.display(),
                PATIENCE.as_secs()
            )),
        }
    }

    fn reread(&self, mut state: OwnedMutexGuard<State>, asked: bool) -> Result<(), String> {
        let contents = fingerprint(&self.path, &state.config);
        let settled = std::mem::replace(&mut state.seen, contents) == contents;
        let changed = contents != state.in_force || state.refused.is_some();
        if !changed || !(settled || asked) {
            return Ok(());
        }
        match self.load(&state.config) {
            Ok(config) => {
                // Of what it was before it was read: a change in between is seen by the next look.
                state.in_force =
                    if config.files().eq(state.config.files()) { contents } else { fingerprint(&self.path, &config) };
                state.config = config;
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

    fn load(&self, before: &WebConfig) -> Result<WebConfig, String> {
        let config = WebConfig::read(&self.path).map_err(|error| error.to_string())?;
        if config == WebConfig::default() && *before != config && is_blank(&self.path) {
            return Err(format!("{}: empty; write {{}} to open the server to everybody", self.path.display()));
        }
        self.access.replace(&config).map_err(|error| error.to_string())?;
        Ok(config)
    }

    fn tell_of_success(&self) {
        self.own.web_config_loaded(clock::now());
        self.own.web_certificate(self.access.certificate_expiry());
    }
}

fn is_blank(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.trim_ascii().is_empty())
}

/// A hash of what the file and those that the configuration names hold.
fn fingerprint(path: &Path, config: &WebConfig) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in std::iter::once(path).chain(config.files()) {
        std::fs::read(file).map_err(|error| error.kind()).hash(&mut hasher);
    }
    hasher.finish()
}
