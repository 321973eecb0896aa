//! The command line: flags in the ecosystem's dotted style, usable before and after the command.

mod backfill;
mod ledger;
mod listen;
mod sharding;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

pub use clap_complete::Shell;

pub use crate::config::LogLevel;
use crate::web;
pub use backfill::Backfill;
pub use ledger::{Export, Import, Ledger};
pub use listen::ListenAddress;
pub use sharding::Sharding;

/// The port that stands for this exporter unless another is chosen.
pub const DEFAULT_PORT: u16 = 10112;
/// How much faster than life sessions may happen: here, a look-back window of 30 days passes within
/// a poll interval of 5 minutes, and beyond it polls would miss sessions.
const MAX_SPEED: f64 = 10_000.0;

const VERSION: &str = concat!("version ", env!("CARGO_PKG_VERSION"));

/// What was asked for on the command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "remote-assistance-exporter",
    about = "Prometheus exporter for Microsoft Intune Remote Help sessions: counts each session exactly once.",
    version = VERSION,
    disable_version_flag = true,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Poll the tenants and serve metrics (the default)
    Serve,
    /// Serve metrics of three simulated tenants, with nothing to configure
    Demo(Demo),
    /// Look at every tenant step by step, and say what is wrong and how to mend it
    Check(Check),
    /// Poll every tenant once, print the metrics and exit
    Once,
    /// Write the counted history as OpenMetrics, for promtool tsdb create-blocks-from
    Backfill(Backfill),
    /// Move tenants with all that was counted of them from one ledger to another
    #[command(subcommand)]
    Ledger(Ledger),
    /// Serve a simulated Graph, for trying things out
    Simulate(Simulate),
    /// Ask the running exporter whether it is healthy
    Healthcheck(Healthcheck),
    /// Print the completion script of a shell
    Completion(Completion),
    /// Write the manual pages
    Manual(Manual),
}

/// Flags of every command.
#[derive(Args, Clone, Debug)]
struct Flags {
    /// Configuration file; without it, one tenant is read from the AZURE_* variables
    #[arg(long = "config.file", value_name = "FILE", global = true)]
    config_file: Option<PathBuf>,
    /// `--web.listen-address`; the help is an attribute, since rustdoc takes its brackets for links.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        help = "Address to listen on, repeatable: :port, host:port or [::1]:port [default: :10112; demo: 127.0.0.1:10112]",
        global = true
    )]
    listen_addresses: Vec<ListenAddress>,
    /// Listen on the sockets that systemd passes, not on addresses (Linux only)
    #[arg(long = "web.systemd-socket", global = true)]
    systemd_socket: bool,
    /// File with TLS, users, headers and rate limit of the web server, as other exporters take it
    #[arg(long = "web.config.file", value_name = "FILE", global = true)]
    web_config_file: Option<PathBuf>,
    /// Path under which metrics are served
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path, global = true)]
    telemetry_path: String,
    /// Reload the configuration on POST or PUT /-/reload, as on SIGHUP
    #[arg(long = "web.enable-lifecycle", global = true)]
    enable_lifecycle: bool,
    /// Most scrapes answered at the same time; 0 for no limit
    #[arg(long = "web.max-requests", value_name = "NUMBER", default_value_t = 40, global = true)]
    max_requests: usize,
    /// Directory of the ledger [default: data/; demo: data/demo/]
    #[arg(long = "storage.path", value_name = "DIRECTORY", global = true)]
    storage_path: Option<PathBuf>,
    /// Least severe level that is logged, unless the configuration names one by log.level
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, default_value_t, global = true)]
    log_level: LogLevel,
    /// Format of log lines
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, default_value_t, global = true)]
    log_format: LogFormat,
    #[command(flatten)]
    sharding: Sharding,
    /// Print the version
    #[arg(long, action = clap::ArgAction::Version, global = true)]
    version: Option<bool>,
}

/// Flags of `demo`.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// How many times as fast as in life sessions happen
    #[arg(long = "demo.speed", value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Seed of the simulated sessions: the same seed gives the same sessions
    #[arg(long = "demo.seed", value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
}

/// Flags of `check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// How the findings are written
    #[arg(long = "check.output", visible_alias = "output", value_name = "FORMAT", value_enum, default_value_t)]
    pub output: CheckOutput,
    /// Look at the configuration and its files only, and send nothing
    #[arg(long = "check.offline", visible_alias = "offline")]
    pub offline: bool,
}

/// `--check.output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it; doc comments would become help texts")]
pub enum CheckOutput {
    #[default]
    Table,
    Json,
}

/// Flags of `simulate`.
#[derive(Args, Clone, Debug)]
pub struct Simulate {
    /// Address to listen on
    #[arg(long = "simulate.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10443")]
    pub listen_address: ListenAddress,
    /// Seed of the simulated sessions: the same seed gives the same sessions
    #[arg(long = "simulate.seed", value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// How many times as fast as in life sessions happen
    #[arg(long = "simulate.speed", value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Fault to simulate, as SCENARIO for every tenant or TENANT=SCENARIO for one; repeatable
    #[arg(long = "simulate.scenario", value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// File that the simulator's CA certificate is written to
    #[arg(long = "simulate.ca-file", value_name = "FILE", default_value = "simulator-ca.pem")]
    pub ca_file: PathBuf,
}

/// Flags of `healthcheck`.
#[derive(Args, Clone, Debug)]
pub struct Healthcheck {
    /// Address to ask [default: http://127.0.0.1:10112/-/healthy, with the host and port of
    /// --web.listen-address, and https:// where --web.config.file has TLS]
    #[arg(long = "healthcheck.url", value_name = "URL")]
    pub url: Option<String>,
    /// File with tls_config and basic_auth for a server that wants them, as promtool's --http.config.file
    #[arg(long = "healthcheck.config.file", value_name = "FILE")]
    pub http_config_file: Option<PathBuf>,
}

/// Arguments of `completion`.
#[derive(Args, Clone, Debug)]
pub struct Completion {
    /// Shell that the script is for
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Arguments of `manual`.
#[derive(Args, Clone, Debug)]
pub struct Manual {
    /// Directory that the pages are written to
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,
}

/// `--log.level` has the levels of the configuration.
impl ValueEnum for LogLevel {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

/// `--log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it; doc comments would become help texts")]
pub enum LogFormat {
    #[default]
    Logfmt,
    Json,
}

/// Why there is no command to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `--help` or `--version`: the text to print.
    Answer(String),
    /// Wrong usage, on one line.
    Usage(String),
}

impl Cli {
    /// Reads the command line; the first argument is the program's name.
    ///
    /// # Errors
    /// [`Stop`], where there is no command to run.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        Self::try_parse_from(arguments).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp => Stop::Answer(error.render().to_string()),
            ErrorKind::DisplayVersion => Stop::Answer(version()),
            _ => Stop::Usage(one_line(&error.render().to_string())),
        })
    }

    /// The command line as it is declared, with everything that clap adds.
    pub fn declared() -> clap::Command {
        let mut declared = <Self as CommandFactory>::command();
        declared.build();
        declared
    }

    /// The command; `serve` where none was given.
    pub fn command(&self) -> &Command {
        self.command.as_ref().unwrap_or(&Command::Serve)
    }

    /// `--config.file`.
    pub fn config_file(&self) -> Option<&std::path::Path> {
        self.flags.config_file.as_deref()
    }

    /// `--shard`, `--total-shards` and `--pod`.
    pub fn sharding(&self) -> &Sharding {
        &self.flags.sharding
    }

    /// `--web.listen-address`, at least one. The demo shows itself to this machine only, unless told
    /// otherwise.
    pub fn listen_addresses(&self) -> Vec<ListenAddress> {
        if !self.flags.listen_addresses.is_empty() {
            return self.flags.listen_addresses.clone();
        }
        let host = matches!(self.command(), Command::Demo(_)).then(|| "127.0.0.1".to_owned());
        vec![ListenAddress { host, port: DEFAULT_PORT }]
    }

    /// `--web.systemd-socket`.
    pub fn systemd_socket(&self) -> bool {
        self.flags.systemd_socket
    }

    /// `--web.config.file`.
    pub fn web_config_file(&self) -> Option<&std::path::Path> {
        self.flags.web_config_file.as_deref()
    }

    /// `--web.telemetry-path`.
    pub fn telemetry_path(&self) -> &str {
        &self.flags.telemetry_path
    }

    /// `--web.enable-lifecycle`.
    pub fn enable_lifecycle(&self) -> bool {
        self.flags.enable_lifecycle
    }

    /// `--web.max-requests`; 0 for no limit.
    pub fn max_requests(&self) -> usize {
        self.flags.max_requests
    }

    /// `--storage.path`. The demo keeps its sessions apart from real ones.
    pub fn storage_path(&self) -> PathBuf {
        let default = if matches!(self.command(), Command::Demo(_)) { "data/demo" } else { "data" };
        self.flags.storage_path.clone().unwrap_or_else(|| PathBuf::from(default))
    }

    /// `--log.level`.
    pub fn log_level(&self) -> LogLevel {
        self.flags.log_level
    }

    /// `--log.format`.
    pub fn log_format(&self) -> LogFormat {
        self.flags.log_format
    }
}

/// As other exporters print it.
fn version() -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("remote-assistance-exporter, {VERSION}\n  platform: {os}/{arch}\n")
}

/// Clap's message without its usage block: what is wrong, then its hints.
fn one_line(message: &str) -> String {
    let parts: Vec<_> = message
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    // A colon has its list on the lines below.
    let line = parts.join("; ").replace(":; ", ": ");
    format!("{}; try --help", line.strip_prefix("error: ").unwrap_or(&line))
}

fn telemetry_path(text: &str) -> Result<String, web::InvalidTelemetryPath> {
    web::check_telemetry_path(text).map(|()| text.to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    let within = |factor: &f64| *factor > 0.0 && *factor <= MAX_SPEED;
    text.parse().ok().filter(within).ok_or_else(|| format!("choose a number above 0, up to {MAX_SPEED}"))
}
