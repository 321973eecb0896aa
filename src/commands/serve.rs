//! `serve`: polls the tenants and serves metrics until a signal.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::exporter::{BUILD, Exporter};
use super::log::Log;
use super::progress::Display;
use super::reload::{self, Load, Reloader};
use super::signals::{self, Hangups};
use super::{Failure, configuration};
use crate::cli::Cli;
use crate::config::Config;
use crate::poll::Supervisor;
use crate::{clock, web};

/// What comes from outside: requests and signals.
pub(super) struct Outside {
    pub(super) listeners: Vec<TcpListener>,
    pub(super) stop: CancellationToken,
    /// `None` where SIGHUP ends the program, as it does by default.
    pub(super) hangups: Option<Hangups>,
}

/// Runs the command.
pub(super) async fn run(cli: &Cli, display: &Display, log: Log) -> Result<(), Failure> {
    // First of all: whoever changed the configuration while the program starts must not end it.
    let hangups = Some(Hangups::new()?);
    let load: Load = {
        let cli = cli.clone();
        Arc::new(move || configuration(&cli))
    };
    let config = load()?;
    let outside = Outside { listeners: bind(cli)?, stop: signals::stop()?, hangups };
    serve(cli, (config, load), &cli.storage_path(), (display, log), outside).await
}

/// Binds the addresses first: a port that is taken must not cost a look at the ledger.
pub(super) fn bind(cli: &Cli) -> Result<Vec<TcpListener>, Failure> {
    let addresses: Vec<_> = cli.listen_addresses().iter().map(ToString::to_string).collect();
    web::bind(&addresses).map_err(Failure::other)
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
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        info!(%address, telemetry_path = cli.telemetry_path(), "Listening");
    }
    let (reloads, requests) = reload::requests();
    let status = exporter.parts.status.clone();
    let state = web::State {
        exposition: exporter.exposition,
        http: exporter.http,
        status: status.clone(),
        reloads: cli.enable_lifecycle().then_some(reloads),
        version: BUILD.version,
        started: clock::now(),
        now: clock::now,
        telemetry_path: cli.telemetry_path().to_owned(),
        max_requests: cli.max_requests(),
        limits: web::Limits::default(),
    };
    let supervisor = Supervisor::start(exporter.tenants, exporter.writer.clone(), stop.clone());
    let watch = supervisor.watch(status);
    let reloader = Reloader::new((load, log), &config, exporter.parts, exporter.writer, supervisor);
    let reloads = reloader.run(requests, hangups, stop.clone());
    tokio::join!(web::serve(listeners, stop, state), watch, reloads);
    exporter.ledger.closed().await;
    info!("Stopped");
    Ok(())
}
