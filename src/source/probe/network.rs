//! Names, connections and certificates of the hosts that a tenant's requests go to.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::certificate::{self, Witness};
use super::dial;
use super::{Connection, Detail, Finding, Host, Outcome};
use crate::config;
use crate::source::SourceError;
use crate::source::graph::{Client, one_line, roots};
use crate::status::FailureReason;

/// For one name. Resolvers give up after 5 to 30 seconds.
const RESOLUTION: Duration = Duration::from_secs(15);
/// How many addresses of a host are kept: Graph has about eight.
const MAX_ADDRESSES: usize = 16;
/// A certificate with less life left is worth a look: public ones are renewed weeks before.
const RENEWAL: TimeDelta = TimeDelta::days(14);

/// A host that requests go to, by themselves or by a proxy.
pub(super) struct Target {
    key: &'static str,
    host: url::Host<String>,
    port: u16,
    encrypted: bool,
    /// The proxy that resolves and connects instead of this machine.
    proxy: Option<String>,
}

/// Who connects.
pub(super) struct Caller<'a> {
    /// Certificates that are trusted besides the system's.
    pub ca_file: Option<&'a Path>,
    /// For one connection.
    pub patience: Duration,
    /// The time by this machine's clock.
    pub now: DateTime<Utc>,
}

/// The hosts of a tenant, and the proxies on the way to them, each once.
pub(super) fn targets(tenant: &config::Tenant, client: &Client) -> Vec<Target> {
    let authority = super::access::asks_authority(&tenant.credential);
    let urls = [("graph_url", Some(&tenant.graph_url)), ("authority_url", authority.then_some(&tenant.authority_url))];
    let mut targets: Vec<Target> = Vec::new();
    for (key, url) in urls.into_iter().filter_map(|(key, url)| Some((key, url?))) {
        let proxy = client.proxy(url);
        let target = Target::new(key, url, proxy.map(|(_, proxy)| proxy.to_string()));
        // Whether a proxy's own connection is encrypted is shown by what goes through it.
        let proxy = proxy.and_then(|(whence, proxy)| Target::new(whence, proxy.expose(), None));
        let proxy = proxy.map(|target| Target { encrypted: false, ..target });
        for target in target.into_iter().chain(proxy) {
            if !targets.iter().any(|other| other.authority() == target.authority()) {
                targets.push(target);
            }
        }
    }
    targets
}

impl Target {
    fn new(key: &'static str, url: &Url, proxy: Option<String>) -> Option<Self> {
        let (host, port) = (url.host()?.to_owned(), url.port_or_known_default()?);
        Some(Self { key, host, port, encrypted: url.scheme() == "https", proxy })
    }

    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        let name = match &self.host {
            url::Host::Ipv4(address) => return Ok(vec![IpAddr::V4(*address)]),
            url::Host::Ipv6(address) => return Ok(vec![IpAddr::V6(*address)]),
            url::Host::Domain(name) => name.as_str(),
        };
        let found = tokio::time::timeout(RESOLUTION, tokio::net::lookup_host((name, self.port))).await;
        let found = found.map_err(|_| format!("no answer within {} s", RESOLUTION.as_secs()))?;
        let mut addresses = Vec::new();
        for address in found.map_err(|error| one_line(&error.to_string()))?.map(|address| address.ip()) {
            if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err("the name has no address".to_owned()) } else { Ok(addresses) }
    }
}

/// Resolves the names as the client does.
pub(super) async fn resolve(targets: &[Target]) -> Finding<Vec<Host>> {
    let (mut hosts, mut outcome) = (Vec::new(), Outcome::Fine);
    for target in targets {
        let found = if target.proxy.is_some() { Ok(Vec::new()) } else { target.addresses().await };
        if let (Err(why), Outcome::Fine) = (&found, &outcome) {
            let message = format!(
                "{} {}: {why}; check the name in the configuration and this machine's name resolution",
                target.key, target.host
            );
            outcome = Outcome::Failed(SourceError::new(FailureReason::Connection, message));
        }
        let addresses = found.unwrap_or_default();
        hosts.push(Host { key: target.key, name: target.host.to_string(), proxy: target.proxy.clone(), addresses });
    }
    Finding { outcome, detail: Some(Detail::Hosts(hosts.clone())), passed_on: hosts }
}

/// Connects to each host, and shakes hands where requests would.
pub(super) async fn connect(targets: &[Target], hosts: &[Host], caller: &Caller<'_>) -> Finding<()> {
    let (mut connections, mut outcome) = (Vec::new(), Outcome::Fine);
    for (target, host) in targets.iter().zip(hosts) {
        let (connection, result) = shake_hands(target, host, caller).await;
        match (result, &outcome) {
            (Err(error), Outcome::Fine | Outcome::Warning(_)) => outcome = Outcome::Failed(error),
            (Ok(()), Outcome::Fine) => outcome = aging(&connection, caller.now),
            _ => {}
        }
        connections.push(connection);
    }
    Finding { outcome, detail: Some(Detail::Connections(connections)), passed_on: () }
}

async fn shake_hands(target: &Target, host: &Host, caller: &Caller<'_>) -> (Connection, Result<(), SourceError>) {
    let authority = target.authority();
    let mut connection = Connection {
        key: target.key,
        authority,
        proxy: target.proxy.clone(),
        address: None,
        version: None,
        certificate: None,
        trusted_by: None,
    };
    if target.proxy.is_some() {
        return (connection, Ok(()));
    }
    let attempt = async {
        let addresses: Vec<_> = host.addresses.iter().map(|address| SocketAddr::new(*address, target.port)).collect();
        let stream = dial::connect(&addresses, caller.patience).await;
        let stream = stream.map_err(|error| unreachable(target, &error.to_string()))?;
        connection.address = stream.peer_addr().ok().map(|address| address.ip());
        if target.encrypted {
            handshake(target, caller, stream, &mut connection).await?;
        }
        Ok(())
    };
    let result = match tokio::time::timeout(caller.patience, attempt).await {
        Ok(result) => result,
        Err(_) => {
            let mut error = unreachable(target, &format!("no connection within {} s", caller.patience.as_secs()));
            error.reason = FailureReason::Timeout;
            Err(error)
        }
    };
    (connection, result)
}

async fn handshake(
    target: &Target,
    caller: &Caller<'_>,
    stream: TcpStream,
    connection: &mut Connection,
) -> Result<(), SourceError> {
    let witness = Witness::new(roots(caller.ca_file)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let internal = |why: String| SourceError::new(FailureReason::Internal, why);
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| internal(format!("TLS cannot be set up: {error}")))?
        // It judges as the client's own verifier does.
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    let name = match &target.host {
        url::Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|error| internal(error.to_string()))?,
        url::Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
        url::Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
    };
    let shaken = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await;
    connection.certificate = witness.certificate();
    let stream = shaken.map_err(|error| refused(target, &error, connection))?;
    connection.version = stream.get_ref().1.protocol_version().and_then(|version| match version {
        rustls::ProtocolVersion::TLSv1_2 => Some("TLS 1.2"),
        rustls::ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
        _ => None,
    });
    connection.trusted_by = witness.trusted_by(&name);
    Ok(())
}

fn unreachable(target: &Target, why: &str) -> SourceError {
    let message = format!(
        "{} {}: {}; check the address in the configuration, and that a firewall lets this machine reach it",
        target.key,
        target.authority(),
        one_line(why)
    );
    SourceError::new(FailureReason::Connection, message)
}

fn refused(target: &Target, error: &std::io::Error, connection: &Connection) -> SourceError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let message = match tls {
        Some(rustls::Error::InvalidCertificate(why)) => {
            format!(
                "{}: {}",
                target.key,
                certificate::refusal(why, &target.authority(), connection.certificate.as_ref())
            )
        }
        _ => format!(
            "{} {}: no TLS connection: {}; is this the address of an https service?",
            target.key,
            target.authority(),
            one_line(&error.to_string())
        ),
    };
    SourceError::new(FailureReason::Connection, message)
}

/// A warning where the certificate ends soon.
fn aging(connection: &Connection, now: DateTime<Utc>) -> Outcome {
    let Some(certificate) = &connection.certificate else { return Outcome::Fine };
    let left = certificate.not_after - now;
    if left >= RENEWAL {
        return Outcome::Fine;
    }
    Outcome::Warning(format!(
        "the certificate of {} expires in {}; whoever runs that service has to renew it",
        connection.authority,
        rough(left)
    ))
}

/// A length of time as people say it: in its largest unit.
pub(super) fn rough(length: TimeDelta) -> String {
    let seconds = length.num_seconds();
    let (number, unit) = match seconds {
        ..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}
