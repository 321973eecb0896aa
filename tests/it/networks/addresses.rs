//! IPv6, and files with several authorities.

use std::net::Ipv6Addr;

use remote_assistance_exporter::clock;
use remote_assistance_exporter::simulator::{Options, Simulator, TenantOptions};

use crate::support::{Exporter, Lab, get, wait_for};

#[test]
fn graph_and_the_web_pages_may_be_on_ipv6_alone() {
    let lab = Lab::new(vec![TenantOptions::new("contoso")], |options| options.ipv6 = true);
    assert_eq!(lab.simulator.address().ip(), Ipv6Addr::LOCALHOST);
    let configuration = lab.configuration("poll_interval: 1h", &[("contoso", "")]);
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::write(&configuration, text.replace("https://localhost:", "https://[::1]:")).unwrap();
    let arguments = [&lab.arguments(&configuration)[..], &["--web.listen-address=[::1]:0".to_owned()]].concat();
    let mut exporter = Exporter::start(arguments);
    let line = exporter.wait_for_log(&["msg=Listening", "address=[::1]:"]);
    let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    wait_for("a poll", || {
        let page = get(address, "/metrics").unwrap().text();
        page.contains("remote_assistance_up{tenant=\"contoso\"} 1\n").then_some(())
    });
    exporter.stop();
}

#[test]
fn a_file_may_hold_several_authorities() {
    let lab = Lab::new(vec![TenantOptions::new("contoso")], |_| {});
    let others = (0..2).map(|_| {
        let options = Options::new(clock::now, vec![TenantOptions::manual("other")]);
        lab.runtime.block_on(Simulator::start(options)).unwrap().ca_pem().to_owned()
    });
    let pem: Vec<_> = others.chain([lab.simulator.ca_pem().to_owned()]).collect();
    let configuration = lab.configuration("poll_interval: 1h", &[("contoso", "")]);
    std::fs::write(lab.directory.path().join("ca.pem"), format!("# Ours\r\n{}", pem.join("\n# another\n"))).unwrap();
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    exporter.wait_for_scrape("a poll", |scrape| scrape.samples.get("up{tenant=\"contoso\"}") == Some(&1.0));
    exporter.stop();
}
