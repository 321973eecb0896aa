//! The Azure CLI as a child process, under limits of its own: the SDK knows none.

use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use azure_identity::Executor;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::super::entra;
use super::super::errors::one_line;
use super::super::retry::{Failure, Retry};
use crate::source::SourceError;
use crate::status::FailureReason;

/// `az` starts an interpreter and may ask Entra: some seconds. What takes longer hangs.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A token and what is said of it take some KiB.
const MAX_OUTPUT_BYTES: u64 = 64 * 1024;
/// By these systemd tells its program of sockets and where to report. A program that this one starts would
/// take them for its own.
const SYSTEMD_VARIABLES: [&str; 6] =
    ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];
/// What a shell exits with when it does not find the command.
const NOT_FOUND: i32 = 127;

/// Runs `az` once and keeps what became of it. `Debug` shows nothing: the output holds a token.
pub(super) struct Cli {
    timeout: Duration,
    outcome: Mutex<Option<Outcome>>,
}

enum Outcome {
    Ended { status: ExitStatus, said: String },
    NotStarted(io::Error),
    TimedOut,
}

impl Cli {
    pub fn new() -> Self {
        Self { timeout: TIMEOUT, outcome: Mutex::new(None) }
    }

    /// Why there is no token.
    pub fn failure(&self) -> Failure {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (reason, message) = match outcome {
            None | Some(Outcome::NotStarted(_)) => {
                let why = match outcome {
                    Some(Outcome::NotStarted(error)) => format!(" ({error})"),
                    _ => String::new(),
                };
                let message = format!("az cannot be run{why}: {}", elsewhere());
                (FailureReason::Credential, message)
            }
            Some(Outcome::TimedOut) => {
                let seconds = self.timeout.as_secs_f64();
                let message = format!(
                    "az gave no token within {seconds} s and was ended: try az account get-access-token as the user \
                     that the exporter runs as"
                );
                (FailureReason::Timeout, message)
            }
            Some(Outcome::Ended { status, .. }) if status.code() == Some(NOT_FOUND) => {
                (FailureReason::Credential, format!("az was not found on the exporter's PATH: {}", elsewhere()))
            }
            Some(Outcome::Ended { status, .. }) if status.success() => {
                let message = "az answered without a token and its expiry: Azure CLI 2.54 or newer is needed";
                (FailureReason::Credential, message.to_owned())
            }
            Some(Outcome::Ended { said, .. }) => (FailureReason::Authentication, refused(&said)),
        };
        let error = SourceError::new(reason, format!("credential.kind azure_cli: {message}"));
        Failure { error, retry: Retry::Never }
    }

    async fn run_bounded(&self, program: &OsStr, arguments: &[&OsStr]) -> Result<Output, Outcome> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // What systemd tells the exporter is not for `az`.
        for variable in SYSTEMD_VARIABLES {
            command.env_remove(variable);
        }
        // A group of its own, so that what the shell starts can be ended with it.
        #[cfg(unix)]
        command.process_group(0);
        let mut group = Group(command.spawn().map_err(Outcome::NotStarted)?);
        let (stdout, stderr) = (group.0.stdout.take(), group.0.stderr.take());
        let ended = async {
            let (stdout, stderr) = tokio::join!(up_to_limit(stdout), up_to_limit(stderr));
            io::Result::Ok(Output { status: group.0.wait().await?, stdout: stdout?, stderr: stderr? })
        };
        match tokio::time::timeout(self.timeout, ended).await {
            Ok(output) => output.map_err(Outcome::NotStarted),
            Err(_) => Err(Outcome::TimedOut),
        }
    }
}

#[async_trait::async_trait]
impl Executor for Cli {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
        let (outcome, result) = match self.run_bounded(program, arguments).await {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                (Outcome::Ended { status: output.status, said }, Ok(output))
            }
            Err(outcome) => (outcome, Err(io::Error::other("no output"))),
        };
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        result
    }
}

impl std::fmt::Debug for Cli {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cli").finish_non_exhaustive()
    }
}

async fn up_to_limit(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What is left is not read: the pipe is closed, which ends whoever goes on writing.
        stream.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// A child and what it starts. Whoever stops waiting for it ends them all: the time is over, or nobody wants
/// the answer any more.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // A child that was waited for has no id any more: it may be another's.
        #[cfg(unix)]
        if let Some(id) = self.0.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // It fails where all of them have ended already.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
        let _ = self.0.start_kill();
    }
}

/// What `az` said on standard error, with the remedy.
fn refused(said: &str) -> String {
    let lines = said.lines().map(|line| line.trim().trim_start_matches("ERROR:").trim());
    let said =
        one_line(lines.clone().find(|line| line.contains("AADSTS")).unwrap_or(&lines.collect::<Vec<_>>().join(" ")));
    let remedy = match entra::remedy_in(&said) {
        Some(remedy) => remedy,
        None if said.contains("az login") => "log in as the user that the exporter runs as",
        None => "try az account get-access-token as the user that the exporter runs as",
    };
    format!("az refused: {}; {remedy}", said.trim_end_matches('.'))
}

fn elsewhere() -> &'static str {
    "this kind needs the Azure CLI beside the exporter; choose another kind for containers and services"
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// The shell's own child holds a pipe: once its other end is closed, nobody is left.
    #[tokio::test]
    async fn what_az_starts_ends_with_whoever_waits_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let script = format!("(echo started; exec sleep 1000) > '{}' & wait", pipe.display());
        let cli = Cli::new();
        let arguments = ["-c", &script].map(OsStr::new);
        let mut running = Box::pin(cli.run_bounded(OsStr::new("sh"), &arguments));
        let mut heard = Vec::new();
        let read = async {
            let mut pipe = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
            while !heard.ends_with(b"started\n") {
                tokio::select! {
                    _ = &mut running => panic!("it ended by itself"),
                    byte = pipe.read_u8() => heard.extend(byte),
                }
            }
            pipe
        };
        let mut pipe = read.await;
        drop(running);
        let rest = tokio::time::timeout(Duration::from_secs(60), pipe.read_to_end(&mut heard)).await;
        assert_eq!(rest.unwrap().unwrap(), 0, "the pipe is closed");
    }
}
