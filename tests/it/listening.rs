//! Where the program listens.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use super::support::{Exporter, get, wait_for};
use super::tls::lab::{Kind, Site};

fn addresses(exporter: &Exporter) -> Vec<SocketAddr> {
    let log = exporter.log();
    let listening = log.iter().filter_map(|line| line.split_once("msg=Listening address=")?.1.split(' ').next());
    listening.map(|address| address.parse().unwrap()).collect()
}

/// The program with these addresses, and no web configuration.
fn program(site: &Site, listening: &[String]) -> Command {
    let flags = site.flags().into_iter().filter(|flag| !flag.starts_with("--web.config.file"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
    command.args(flags).args(listening.iter().map(|address| format!("--web.listen-address={address}")));
    command
}

#[test]
fn every_address_is_served_at_once() {
    let site = Site::new(Kind::P256);
    let listening = ["127.0.0.1:0", "[::1]:0", "127.0.0.2:0"].map(str::to_owned);
    let exporter = Exporter::spawn(program(&site, &listening));
    let addresses = wait_for("three addresses", || Some(addresses(&exporter)).filter(|found| found.len() == 3));
    let hosts: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    assert_eq!(hosts, ["127.0.0.1", "::1", "127.0.0.2"]);
    for address in &addresses {
        let page = get(*address, "/metrics").unwrap();
        assert_eq!(page.status, 200, "{address}");
        assert!(page.text().contains("remote_assistance_sessions_total{"), "{address}");
    }
    exporter.stop();
    for address in addresses {
        assert!(get(address, "/metrics").is_err(), "{address} is left");
    }
}

/// None is served then, and nothing else has begun.
#[test]
fn an_address_that_is_taken_is_named_with_the_remedy() {
    let site = Site::new(Kind::P256);
    for taken in ["127.0.0.1:0", "[::1]:0"] {
        let other = TcpListener::bind(taken).unwrap();
        let taken = other.local_addr().unwrap().to_string();
        let output = program(&site, &["127.0.0.1:0".to_owned(), taken.clone()]).output().unwrap();
        let expected = format!(
            "remote-assistance-exporter: error: --web.listen-address {taken}: Address already in use (os error 98): \
             another program listens there: stop it or choose another port\n"
        );
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(1), expected));
        assert!(!site.path("data").exists(), "no ledger is made");
    }
}
