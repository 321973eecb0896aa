//! The commands, and how their failures end the process.

pub mod healthcheck;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::config::{self, Config};
use crate::logging;

/// Why a command failed: one line, without secrets, and an exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage of the command line.
    #[error("{0}")]
    Usage(String),
    /// A bad configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A ledger that cannot be used.
    #[error("{0}")]
    Ledger(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The process's exit code: `EX_USAGE` and `EX_IOERR` of `sysexits.h`, or 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Config(_) => ExitCode::from(64),
            Self::Ledger(_) => ExitCode::from(74),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

/// Runs the command to its end.
///
/// # Errors
/// The command's failure; it has not been logged.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    logging::init(cli.log_level(), cli.log_format());
    match cli.command() {
        Command::Healthcheck(flags) => healthcheck::run(flags, &cli.listen_addresses()),
        Command::Serve | Command::Demo(_) | Command::Once | Command::Simulate(_) => {
            configuration(cli)?;
            Err(Failure::Other("this command is not part of this build".to_owned()))
        }
    }
}

/// The configuration of `serve` and `once`.
///
/// # Errors
/// The first problem.
pub fn configuration(cli: &Cli) -> Result<Config, Failure> {
    let config = match cli.config_file() {
        Some(path) => Config::load(path)?,
        None => Config::from_environment(|name| std::env::var(name).ok())?,
    };
    Ok(config)
}
