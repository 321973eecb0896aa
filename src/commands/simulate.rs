//! `simulate`: the simulated Graph alone, for trying out configurations and dashboards.

use std::io::Write;
use std::net::{Ipv4Addr, ToSocketAddrs};
use std::path::Path;

use tracing::info;

use super::{Failure, signals};
use crate::cli::{ListenAddress, Simulate};
use crate::clock;
use crate::simulator::{Options, Scenario, Simulator, TenantOptions};

/// The tenants that there are.
const TENANTS: &[&str] = &["contoso", "fabrikam"];
/// Sessions that end per second and tenant at `--simulate.speed=1`.
const LIVE_PER_SECOND: f64 = 0.1;

/// Runs the command.
pub(super) async fn run(flags: &Simulate) -> Result<(), Failure> {
    let stop = signals::stop()?;
    let scenarios = flags.scenarios.iter().map(|text| scenario(text)).collect::<Result<Vec<_>, _>>()?;
    let tenant =
        |name: &&str| TenantOptions { live_per_second: LIVE_PER_SECOND * flags.speed, ..TenantOptions::new(name) };
    let options = Options {
        seed: flags.seed,
        port: loopback_port(&flags.listen_address)?,
        ..Options::new(clock::now, TENANTS.iter().map(tenant).collect())
    };
    let simulator = Simulator::start(options)
        .await
        .map_err(|error| Failure::Other(format!("--simulate.listen-address {}: {error}", flags.listen_address)))?;
    for (tenant, scenario) in scenarios {
        for name in TENANTS.iter().filter(|name| tenant.as_deref().is_none_or(|tenant| tenant == **name)) {
            simulator.tenant(name).map_err(Failure::other)?.set_scenario(scenario);
        }
    }
    std::fs::write(&flags.ca_file, simulator.ca_pem()).map_err(|error| {
        Failure::Other(format!("{}: {error}; choose another --simulate.ca-file", flags.ca_file.display()))
    })?;
    info!(address = %simulator.address(), "Simulating Microsoft Graph");
    let configuration = configuration(&simulator, &flags.ca_file)?;
    std::io::stdout().write_all(configuration.as_bytes()).map_err(Failure::other)?;
    stop.cancelled().await;
    simulator.stop().await;
    Ok(())
}

/// The configuration with which an exporter reads this simulator.
fn configuration(simulator: &Simulator, ca_file: &Path) -> Result<String, Failure> {
    let ca_file = std::path::absolute(ca_file).map_err(Failure::other)?;
    let ca_file = serde_json::to_string(&ca_file).map_err(Failure::other)?;
    let url = simulator.url();
    let mut yaml = format!("global:\n  graph_url: {url}\n  authority_url: {url}\n  ca_file: {ca_file}\ntenants:\n");
    for name in TENANTS {
        yaml += &tenant(simulator, name)?;
    }
    Ok(yaml)
}

/// The lines under `tenants` with which an exporter reads this one, but for its `source`.
pub(super) fn tenant(simulator: &Simulator, name: &str) -> Result<String, Failure> {
    let tenant = simulator.tenant(name).map_err(Failure::other)?;
    let options = tenant.options();
    Ok(format!(
        "  - name: {name}\n    tenant_id: {}\n    credential: {{kind: client_secret, client_id: {}, client_secret: {}}}\n",
        options.tenant_id, options.client_id, options.client_secret
    ))
}

/// `[TENANT=]SCENARIO`.
fn scenario(text: &str) -> Result<(Option<String>, Scenario), Failure> {
    let usage = |problem: String| Failure::Usage(format!("--simulate.scenario {text}: {problem}"));
    let (tenant, name) = match text.split_once('=') {
        Some((tenant, name)) if TENANTS.contains(&tenant) => (Some(tenant.to_owned()), name),
        Some((tenant, _)) => {
            return Err(usage(format!("no tenant is named {tenant:?}; there are {}", TENANTS.join(", "))));
        }
        None => (None, text),
    };
    let names = || Scenario::ALL.iter().map(|scenario| scenario.as_str()).collect::<Vec<_>>().join(", ");
    let scenario = name.parse().map_err(|error| usage(format!("{error}; there are {}", names())))?;
    Ok((tenant, scenario))
}

/// The simulator accepts everybody's secrets and takes orders: it is for this machine alone.
fn loopback_port(address: &ListenAddress) -> Result<u16, Failure> {
    let loopback = |host: &str| {
        (host, address.port)
            .to_socket_addrs()
            .is_ok_and(|mut addresses| addresses.any(|address| address.ip() == Ipv4Addr::LOCALHOST))
    };
    match address.host.as_deref() {
        Some(host) if loopback(host) => Ok(address.port),
        _ => Err(Failure::Usage(format!(
            "--simulate.listen-address {address}: the simulator listens on 127.0.0.1 only; write 127.0.0.1:port"
        ))),
    }
}
