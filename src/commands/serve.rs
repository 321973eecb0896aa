//! `serve`: polls the tenants and serves metrics until a signal.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::exporter::{BUILD, Exporter, Parts};
use super::log::Log;
use super::progress::Display;
use super::reload::{self, Load, Reloader};
use super::signals::{self, Hangups};
use super::web_file::WebFile;
use super::{Failure, configuration, systemd};
use crate::cli::Cli;
use crate::config::Config;
use crate::poll::Supervisor;
use crate::web::{Listener, Passed};
use crate::{clock, web};

/// What comes from outside: requests and signals.
pub(super) struct Outside {
    pub(super) listeners: Vec<Listener>,
    pub(super) stop: CancellationToken,
    /// `None` where SIGHUP ends the program, as it does by default.
    pub(super) hangups: Option<Hangups>,
}

/// Runs the command.
pub(super) async fn run(cli: &Cli, passed: Option<Passed>, display: &Display, log: Log) -> Result<(), Failure> {
    // First of all: whoever changed the configuration while the program starts must not end it.
    let hangups = Some(Hangups::new()?);
    let load: Load = {
        let cli = cli.clone();
        Arc::new(move || configuration(&cli))
    };
    let config = load()?;
    let outside = Outside { listeners: bind(cli, passed)?, stop: signals::stop()?, hangups };
    serve(cli, (config, load), &cli.storage_path(), (display, log), outside).await
}

/// Binds the addresses first: a port that is taken must not cost a look at the ledger. Where systemd has
/// passed sockets, they take the place of addresses.
pub(super) fn bind(cli: &Cli, passed: Option<Passed>) -> Result<Vec<Listener>, Failure> {
    if let Some(passed) = passed {
        return passed.listen().map_err(Failure::other);
    }
    let addresses: Vec<_> = cli.listen_addresses().iter().map(ToString::to_string).collect();
    let listeners = web::bind(&addresses).map_err(Failure::other)?;
    Ok(listeners.into_iter().map(Listener::from).collect())
}

/// Polls and serves until the stop; then what is under way ends, and the ledger closes. `load` gives the
/// configuration anew at a reload.
pub(super) async fn serve(
    cli: &Cli,
    (config, load): (Config, Load),
    storage: &Path,
    (display, mut log): (&Display, Log),
    Outside { listeners, stop, hangups }: Outside,
) -> Result<(), Failure> {
    log.obey(&config);
    info!(version = BUILD.version, revision = BUILD.revision, "Starting remote-assistance-exporter");
    let exporter = Exporter::open(&config, storage, display)?;
    let Parts { own, status, .. } = &exporter.parts;
    let web_file = cli.web_config_file().map(|path| WebFile::open(path, own, status)).transpose()?.map(Arc::new);
    for address in &listeners {
        info!(%address, telemetry_path = cli.telemetry_path(), "Listening");
    }
    let (reloads, requests) = reload::requests();
    let status = exporter.parts.status.clone();
    let state = web::State {
        exposition: exporter.exposition,
        http: exporter.http,
        status: status.clone(),
        access: web_file.as_ref().map(|file| file.access()).unwrap_or_default(),
        reloads: cli.enable_lifecycle().then_some(reloads),
        version: BUILD.version,
        started: clock::now(),
        now: clock::now,
        telemetry_path: cli.telemetry_path().to_owned(),
        max_requests: cli.max_requests(),
        limits: web::Limits::of_this_process(),
    };
    let supervisor = Supervisor::start(exporter.tenants, exporter.writer.clone(), stop.clone());
    let told = systemd::tell(stop.clone(), status.clone());
    let watch = supervisor.watch(status);
    let reloader = Reloader::new((load, log), &config, exporter.parts, exporter.writer, supervisor, web_file.clone());
    let reloads = reloader.run(requests, hangups, stop.clone());
    let watching = stop.clone();
    let web_file = async {
        if let Some(file) = web_file {
            file.watch(watching).await;
        }
    };
    tokio::join!(web_file, web::serve(listeners, stop, state), watch, reloads, told);
    exporter.ledger.closed().await;
    info!("Stopped");
    Ok(())
}
