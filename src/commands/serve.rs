//! `serve`: polls the tenants and serves metrics until a signal.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::exporter::{BUILD, Exporter};
use super::progress::Display;
use super::reload::{self, Load, Reloader};
use super::signals::{self, Hangups};
use super::web_config::WebConfigWatch;
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
pub(super) async fn run(cli: &Cli, passed: Option<Passed>, display: &Display) -> Result<(), Failure> {
    // First of all: whoever changed the configuration while the program starts must not end it.
    let hangups = Some(Hangups::new()?);
    let load: Load = {
        let cli = cli.clone();
        Arc::new(move || configuration(&cli))
    };
    let config = load()?;
    let outside = Outside { listeners: bind(cli, passed)?, stop: signals::stop()?, hangups };
    serve(cli, (config, load), &cli.storage_path(), display, outside).await
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
    display: &Display,
    Outside { listeners, stop, hangups }: Outside,
) -> Result<(), Failure> {
    info!(version = BUILD.version, revision = BUILD.revision, "Starting remote-assistance-exporter");
    let asked = Arc::new(Notify::new());
    let web_config = WebConfigWatch::start(cli.web_config_file(), asked.clone())?;
    let exporter = Exporter::open(&config, storage, display)?;
    for address in &listeners {
        info!(%address, telemetry_path = cli.telemetry_path(), "Listening");
    }
    let (reloads, requests) = reload::requests();
    let (own, status) = (exporter.parts.own.clone(), exporter.parts.status.clone());
    let state = web::State {
        exposition: exporter.exposition,
        http: exporter.http,
        status: status.clone(),
        access: web_config.access(),
        reloads: cli.enable_lifecycle().then_some(reloads),
        version: BUILD.version,
        started: clock::now(),
        now: clock::now,
        telemetry_path: cli.telemetry_path().to_owned(),
        max_requests: cli.max_requests(),
        limits: web::Limits::of_this_process(),
    };
    let supervisor = Supervisor::start(exporter.tenants, exporter.writer.clone(), stop.clone());
    let watch = supervisor.watch(status);
    let reloader = Reloader::new(load, &config, exporter.parts, exporter.writer, supervisor);
    let reloads = reloader.run(requests, hangups, &asked, stop.clone());
    let web_config = web_config.run(own, stop.clone());
    tokio::join!(web::serve(listeners, stop.clone(), state), watch, reloads, web_config, systemd::tell(stop));
    exporter.ledger.closed().await;
    info!("Stopped");
    Ok(())
}
