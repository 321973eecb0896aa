//! `serve`: polls the tenants and serves metrics until a signal.

use std::path::Path;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::exporter::{BUILD, Exporter};
use super::progress::Display;
use super::{Failure, configuration, signals};
use crate::cli::Cli;
use crate::config::Config;
use crate::{clock, poll, web};

/// Runs the command.
pub(super) async fn run(cli: &Cli, display: &Display) -> Result<(), Failure> {
    let config = configuration(cli)?;
    let listeners = bind(cli)?;
    let stop = signals::stop()?;
    serve(cli, &config, &cli.storage_path(), display, listeners, stop).await
}

/// Binds the addresses first: a port that is taken must not cost a look at the ledger.
pub(super) fn bind(cli: &Cli) -> Result<Vec<TcpListener>, Failure> {
    let addresses: Vec<_> = cli.listen_addresses().iter().map(ToString::to_string).collect();
    web::bind(&addresses).map_err(Failure::other)
}

/// Polls and serves until the stop; then what is under way ends, and the ledger closes.
pub(super) async fn serve(
    cli: &Cli,
    config: &Config,
    storage: &Path,
    display: &Display,
    listeners: Vec<TcpListener>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    info!(version = BUILD.version, revision = BUILD.revision, "Starting remote-assistance-exporter");
    let exporter = Exporter::open(config, storage, display)?;
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        info!(%address, telemetry_path = cli.telemetry_path(), "Listening");
    }
    let state = web::State {
        exposition: exporter.exposition,
        http: exporter.http,
        status: exporter.status.clone(),
        version: BUILD.version,
        started: clock::now(),
        now: clock::now,
        telemetry_path: cli.telemetry_path().to_owned(),
        max_requests: cli.max_requests(),
        limits: web::Limits::default(),
    };
    let polls = poll::run(exporter.tenants, exporter.writer, exporter.status, stop.clone());
    tokio::join!(web::serve(listeners, stop.clone(), state), polls);
    exporter.ledger.closed().await;
    info!("Stopped");
    Ok(())
}
