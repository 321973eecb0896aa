//! `once`: polls every tenant once, prints the exposition, and tells by its status whether all went
//! well.

use std::io::Write;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::exporter::Exporter;
use super::log::Log;
use super::progress::Display;
use super::{Failure, configuration, signals};
use crate::cli::Cli;
use crate::exposition::Wanted;
use crate::poll::{Lane, Lanes};

/// Runs the command.
pub(super) async fn run(cli: &Cli, display: &Display, log: &mut Log) -> Result<(), Failure> {
    let config = configuration(cli)?;
    log.obey(&config);
    let stop = signals::stop()?;
    let exporter = Exporter::open(&config, &cli.storage_path(), display)?;
    let count = exporter.tenants.len();
    let mut polls = JoinSet::new();
    let lanes = Arc::new(Lanes::default());
    for tenant in exporter.tenants {
        let (tenant, writer, lanes) = (Arc::new(tenant), exporter.writer.clone(), lanes.clone());
        polls.spawn(async move {
            // The failure itself is in the log already.
            let polled = lanes.run(Lane::Quick, tenant.turn(), tenant.poll(&writer)).await;
            polled.map_err(|_| tenant.name().to_owned())
        });
    }
    drop(exporter.writer);
    let results = tokio::select! {
        results = polls.join_all() => Some(results),
        () = stop.cancelled() => None,
    };
    exporter.ledger.closed().await;
    let results = results.ok_or_else(|| Failure::Other("stopped before every tenant was polled".to_owned()))?;
    let rendered = exporter.exposition.render(Wanted::default()).map_err(Failure::other)?;
    std::io::stdout().write_all(&rendered.bytes()).map_err(Failure::other)?;
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Other(format!("{} of {count} tenants failed: {}; the log says why", failed.len(), failed.join(", "))))
}
