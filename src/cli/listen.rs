//! Addresses to listen on, as Go's exporters take them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that wait for being accepted: what Go and most servers ask for on Linux.
const BACKLOG: i32 = 4096;

/// `:port`, `host:port` or `[::1]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// A name or an address without brackets; all interfaces where absent.
    pub host: Option<String>,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl ListenAddress {
    /// Listens on the first of the host's addresses that can be had. Without a host, on all
    /// interfaces by IPv6 and IPv4, or by IPv4 alone where the machine has no IPv6.
    ///
    /// # Errors
    /// The system's, where no address can be had.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        let Some(host) = &self.host else {
            let all = |address: std::net::IpAddr| listen(SocketAddr::new(address, self.port));
            return match all(Ipv6Addr::UNSPECIFIED.into()) {
                // Only a machine without IPv6 is asked again: a port in use is in use.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => all(Ipv4Addr::UNSPECIFIED.into()),
                bound => bound,
            };
        };
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in tokio::net::lookup_host((host.as_str(), self.port)).await? {
            match listen(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// A host and port for reaching a server on this same machine that listens here.
    pub fn local_authority(&self) -> String {
        let host = match self.host.as_deref() {
            None | Some("0.0.0.0") => "127.0.0.1",
            Some("::") => "::1",
            Some(host) => host,
        };
        Self { host: Some(host.to_owned()), port: self.port }.to_string()
    }
}

/// Systems differ in whether `[::]` takes IPv4 as well, so it is asked for.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the last connections of the stopped process to be forgotten.
    // Elsewhere than on Unix the option would let two processes share the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const SHAPE: &str = "write it as :port, host:port or [address]:port";
        let (host, port) = text.rsplit_once(':').ok_or(SHAPE)?;
        let port = port.parse().map_err(|_| "the port is a number up to 65535")?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').ok_or(SHAPE)?;
                address.parse::<Ipv6Addr>().map_err(|_| "only an IPv6 address stands in brackets")?;
                address
            }
            None if host.contains([':', ']', '/', '@']) || host.contains(char::is_whitespace) => return Err(SHAPE),
            None => host,
        };
        Ok(Self { host: (!host.is_empty()).then(|| host.to_owned()), port })
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.as_deref() {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{}:{}", host.unwrap_or_default(), self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn the_three_forms_are_read_and_written() {
        for (text, host, local) in [
            (":10112", None, "127.0.0.1:10112"),
            ("0.0.0.0:80", Some("0.0.0.0"), "127.0.0.1:80"),
            ("[::]:80", Some("::"), "[::1]:80"),
            ("[::1]:0", Some("::1"), "[::1]:0"),
            ("exporter.example:65535", Some("exporter.example"), "exporter.example:65535"),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!((address.host.as_deref(), address.to_string().as_str()), (host, text));
            assert_eq!(address.local_authority(), local);
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "10112",
            "localhost",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[host]:80",
            "a b:80",
            "http://a:80",
            ":65536",
            ":",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn without_a_host_every_interface_is_served() {
        let listener = ListenAddress { host: None, port: 0 }.bind().await.unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.unwrap();
        if address.is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error() {
        let first = ListenAddress { host: None, port: 0 }.bind().await.unwrap();
        let port = first.local_addr().unwrap().port();
        for host in [None, Some("localhost".to_owned())] {
            let error = ListenAddress { host, port }.bind().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }
}
