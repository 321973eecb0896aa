//! The commands, and how their failures end the process.

mod backfill;
mod check;
mod demo;
mod exporter;
mod healthcheck;
mod ledger;
mod log;
mod once;
mod progress;
mod reload;
mod serve;
mod shell;
mod signals;
mod simulate;
mod systemd;
mod web_file;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::config::{self, Config};
use crate::ledger::{OpenError, TransferError};
use crate::logging;
use crate::web::Passed;
use log::Log;
use progress::Display;

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
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// A tenant that cannot be taken out of a ledger or into one.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// An export that is not as it should be.
    #[error("{0}")]
    Export(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// The process's exit code: `EX_USAGE` and `EX_IOERR` of `sysexits.h`, or 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Config(_) => ExitCode::from(64),
            Self::Ledger(_) | Self::Transfer(_) | Self::Export(_) => ExitCode::from(74),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }

    fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// Runs the command to its end.
///
/// # Errors
/// The command's failure; it has not been logged.
pub fn run(cli: &Cli) -> Result<(), Failure> {
    match cli.command() {
        Command::Completion(flags) => return shell::completion(flags),
        Command::Manual(flags) => return shell::manual(flags),
        _ => {}
    }
    // First of all, while there is one thread.
    let passed = passed(cli)?;
    let display = Display::new();
    let level = logging::init(cli.log_level(), cli.log_format(), {
        let display = display.clone();
        move |line| display.log(line)
    });
    let mut log = Log::new(cli.log_level(), level);
    if let Command::Healthcheck(flags) = cli.command() {
        return healthcheck::run(flags, &cli.listen_addresses(), cli.web_config_file());
    }
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::other)?;
    let result = match cli.command() {
        Command::Serve => runtime.block_on(serve::run(cli, passed, &display, log)),
        Command::Demo(flags) => runtime.block_on(demo::run(cli, flags, passed, &display, log)),
        Command::Check(flags) => runtime.block_on(check::run(cli, flags, &display, &mut log)),
        Command::Once => runtime.block_on(once::run(cli, &display, &mut log)),
        Command::Backfill(flags) => runtime.block_on(backfill::run(cli, flags, &display)),
        Command::Ledger(command) => runtime.block_on(ledger::run(cli, command)),
        Command::Simulate(flags) => runtime.block_on(simulate::run(flags)),
        Command::Healthcheck(_) | Command::Completion(_) | Command::Manual(_) => Ok(()),
    };
    // What still blocks a thread, such as a name look-up, must not keep the process.
    runtime.shutdown_background();
    display.close();
    result
}

/// The sockets that systemd passed, where they are asked for and the command listens.
fn passed(cli: &Cli) -> Result<Option<Passed>, Failure> {
    let listens = matches!(cli.command(), Command::Serve | Command::Demo(_));
    let take = || Passed::take().map_err(|error| Failure::Usage(error.to_string()));
    (listens && cli.systemd_socket()).then(take).transpose()
}

/// The configuration of `serve` and `once`: this shard's tenants.
fn configuration(cli: &Cli) -> Result<Config, Failure> {
    let shard = cli.sharding().shard().map_err(Failure::Usage)?;
    Ok(whole_configuration(cli)?.of_shard(shard))
}

/// The configuration of all shards.
fn whole_configuration(cli: &Cli) -> Result<Config, Failure> {
    let config = match cli.config_file() {
        Some(path) => Config::load(path)?,
        None => Config::from_environment(|name| std::env::var(name).ok())?,
    };
    Ok(config)
}
