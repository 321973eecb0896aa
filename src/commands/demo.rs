//! `demo`: the simulator and the exporter together, with nothing to configure.

use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use tracing::info;

use super::progress::Display;
use super::reload::Load;
use super::serve::{self, Outside};
use super::{Failure, signals, simulate};
use crate::cli::{Cli, Demo};
use crate::clock;
use crate::config::Config;
use crate::simulator::{Options, Simulator, TenantOptions};
use crate::web::Passed;

/// How often the demo polls: what happens should be seen at once.
const POLL_INTERVAL: &str = "5s";
/// Sessions that end per second and tenant at `--demo.speed=1`: within a minute, every type rises.
const LIVE_PER_SECOND: f64 = 0.35;
/// The simulator has no limit, and the demo polls without regard to one.
const REQUESTS_PER_MINUTE: u32 = 100_000;
/// The demo's certificate authority, for the exporter to trust.
const CA_FILE: &str = "simulator-ca.pem";

/// Runs the command.
pub(super) async fn run(cli: &Cli, flags: &Demo, passed: Option<Passed>, display: &Display) -> Result<(), Failure> {
    let listeners = serve::bind(cli, passed)?;
    let stop = signals::stop()?;
    let storage = cli.storage_path();
    let simulator = Simulator::start(options(flags)).await.map_err(Failure::other)?;
    std::fs::create_dir_all(&storage)
        .and_then(|()| std::fs::write(storage.join(CA_FILE), simulator.ca_pem()))
        .map_err(|error| Failure::Other(format!("{}: {error}; choose another --storage.path", storage.display())))?;
    let config = configuration(&simulator, &storage)?;
    info!(graph = simulator.url(), storage = %storage.display(), "Simulating Microsoft Graph");
    for address in &listeners {
        info!("Open http://{address}/ in a browser; Ctrl-C ends the demo");
    }
    // Nothing to read anew, and whoever closes the demo's terminal means to end it.
    let load: Load = {
        let config = config.clone();
        Arc::new(move || Ok(config.clone()))
    };
    let outside = Outside { listeners, stop, hangups: None };
    serve::serve(cli, (config, load), &storage, display, outside).await?;
    simulator.stop().await;
    Ok(())
}

/// Three help desks on three continents, so that at every hour somebody is at work.
fn options(flags: &Demo) -> Options {
    let tenant = |name: &str, hours, sessions_per_day| TenantOptions {
        utc_offset: TimeDelta::hours(hours),
        sessions_per_day,
        live_per_second: LIVE_PER_SECOND * flags.speed,
        ..TenantOptions::new(name)
    };
    let tenants = vec![tenant("contoso", -6, 60.0), tenant("fabrikam", 1, 40.0), tenant("northwind", 9, 20.0)];
    Options { seed: flags.seed, page_size: 200, ..Options::new(clock::now, tenants) }
}

/// Contoso is read as the documented report, which has neither tenants nor enrolment states; the
/// others as a collection of the whole resource.
fn configuration(simulator: &Simulator, storage: &Path) -> Result<Config, Failure> {
    let url = simulator.url();
    let mut yaml = format!(
        "global:\n  poll_interval: {POLL_INTERVAL}\n  graph_url: {url}\n  authority_url: {url}\n  ca_file: {CA_FILE}\n  requests_per_minute: {REQUESTS_PER_MINUTE}\ntenants:\n"
    );
    for name in ["contoso", "fabrikam", "northwind"] {
        let source = match name {
            "contoso" => "{kind: sessions_report, page_size: 200}".to_owned(),
            _ => format!("{{kind: collection, page_size: 200, path: {}}}", crate::simulator::COLLECTION_PATH),
        };
        yaml += &format!("{}    source: {source}\n", simulate::tenant(simulator, name)?);
    }
    Ok(Config::from_yaml(&yaml, &storage.join("demo.yaml"))?)
}
