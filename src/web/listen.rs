//! Listening sockets, bound before anything else starts.

#[cfg(not(target_os = "linux"))]
#[path = "listen/no_systemd.rs"]
mod systemd;
#[cfg(target_os = "linux")]
mod systemd;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::{fmt, io};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
#[cfg(unix)]
use tokio_util::either::Either;

/// Connections that the system keeps waiting. More than scrapers and browsers ever open at once.
const BACKLOG: i32 = 1024;

pub use systemd::{Passed, SocketError};

/// A socket that connections come from.
#[derive(Debug)]
pub enum Listener {
    /// TCP, over IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix socket, which systemd may pass.
    #[cfg(unix)]
    Unix(UnixListener),
}

/// One connection.
#[cfg(unix)]
pub(super) type Stream = Either<TcpStream, UnixStream>;
#[cfg(not(unix))]
pub(super) type Stream = TcpStream;

impl Listener {
    /// The next connection, and where it comes from: a Unix socket has no addresses.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are written whole; waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                #[cfg(unix)]
                let stream = Either::Left(stream);
                Ok((stream, Some(address.ip())))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok((Either::Right(listener.accept().await?.0), None)),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// `address:port`, or the path of a Unix socket.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("unknown"),
            },
            #[cfg(unix)]
            Self::Unix(listener) => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => path.display().fmt(f),
                    None => f.write_str("unnamed"),
                },
                Err(_) => f.write_str("unknown"),
            },
        }
    }
}

/// Binds every address: `host:port`, or `:port` for every interface, IPv6 and IPv4. A name is bound to
/// its first address, IPv4 before IPv6. Port 0 lets the system choose.
///
/// # Errors
/// Names the address and the remedy.
pub fn bind(addresses: &[String]) -> io::Result<Vec<TcpListener>> {
    addresses.iter().map(|address| bind_one(address).map_err(|error| explained(address, &error))).collect()
}

fn bind_one(address: &str) -> io::Result<TcpListener> {
    match address.strip_prefix(':') {
        Some(port) => {
            let port = port.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            match listen((Ipv6Addr::UNSPECIFIED, port).into()) {
                // Without IPv6 each system fails in its own way; what it says of IPv4 is the better message.
                Err(error) if !would_fail_alike(&error) => listen((Ipv4Addr::UNSPECIFIED, port).into()),
                bound => bound,
            }
        }
        None => {
            let resolved: Vec<_> = address.to_socket_addrs()?.collect();
            let first = resolved.iter().find(|address| address.is_ipv4()).or(resolved.first());
            listen(*first.ok_or(io::ErrorKind::NotFound)?)
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the system's default, as it does for every Go exporter.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait for the last one's connections to be forgotten. (Elsewhere than on Unix
    // the option means to steal the port.)
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Errors about the port, not about the family of addresses.
fn would_fail_alike(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn explained(address: &str, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse if systemd::listens() => {
            "systemd listens there for this program: add --web.systemd-socket"
        }
        io::ErrorKind::AddrInUse => "another program listens there: stop it or choose another port",
        io::ErrorKind::PermissionDenied => "ports below 1024 are reserved: choose a higher one",
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: choose one that it has, or `:port` for all"
        }
        io::ErrorKind::InvalidInput => "not an address: write host:port, such as 127.0.0.1:10112, or :10112",
        _ => "write host:port with a name or an address of this machine, or :10112 for all its addresses",
    };
    io::Error::new(error.kind(), format!("--web.listen-address {address}: {error}: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> String {
        bind(&[address.to_owned()]).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_bare_port_is_reached_by_ipv4() {
        let listeners = bind(&[":0".to_owned()]).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let (client, accepted) = tokio::join!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)), listeners[0].accept());
        assert_eq!(client.unwrap().local_addr().unwrap().port(), accepted.unwrap().1.port());
    }

    #[tokio::test]
    async fn every_address_is_bound() {
        let listeners = bind(&["127.0.0.1:0".to_owned(), "localhost:0".to_owned()]).unwrap();
        for listener in listeners {
            assert_eq!(listener.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
        }
    }

    #[tokio::test]
    async fn errors_name_the_address_and_the_remedy() {
        let taken = bind(&["127.0.0.1:0".to_owned()]).unwrap();
        let taken = taken[0].local_addr().unwrap().to_string();
        let message = refused(&taken);
        assert!(message.starts_with(&format!("--web.listen-address {taken}: ")), "{message}");
        assert!(message.ends_with("another program listens there: stop it or choose another port"), "{message}");
        assert!(refused("192.0.2.1:0").contains("no such address"), "{}", refused("192.0.2.1:0"));
        for address in ["10112", ":http", ":70000", "127.0.0.1", "127.0.0.1:-1", ""] {
            assert!(refused(address).contains("write host:port"), "{}", refused(address));
        }
    }
}
