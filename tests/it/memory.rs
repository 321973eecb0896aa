//! Bodies without an end do not fill the memory.

use remote_assistance_exporter::simulator::{Scenario, TenantOptions};

use super::support::{Exporter, Lab};

/// The two caps, 64 and 128 MiB, together and twice: a buffer that grows may be there in two copies.
/// The bodies are 4 GiB each.
const MOST: u64 = 384 << 20;

#[test]
fn bodies_without_an_end_do_not_fill_the_memory() {
    let tenants = ["huge", "bomb"];
    let lab = Lab::new(tenants.map(TenantOptions::manual).into(), |_| {});
    lab.simulator.tenant("huge").unwrap().set_scenario(Scenario::HugeBody);
    lab.simulator.tenant("bomb").unwrap().set_scenario(Scenario::GzipBomb);
    let configuration = lab.configuration("poll_interval: 1s", &tenants.map(|tenant| (tenant, "")));
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    exporter.wait_for_scrape("failures of both", |scrape| {
        let failures =
            |tenant| scrape.value(&format!("poll_failures_total{{reason=\"too_large\",tenant=\"{tenant}\"}}"));
        tenants.iter().all(|tenant| failures(tenant) >= 2.0)
    });
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
    assert!(peak < MOST, "{} MiB", peak >> 20);
    exporter.stop();
}
