//! A connection to one of a host's addresses, found as the client of the polls finds it (RFC 8305, "happy
//! eyeballs"): a machine whose IPv6 leads nowhere is no failure.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// After how long without a connection the addresses of the other family are tried beside: as the client.
const FALLBACK: Duration = Duration::from_millis(300);

/// Connects to one of `addresses`, those of the first one's family first. `patience` is the caller's for
/// all of them: it bounds how long one address may keep the next one waiting, and the caller the whole.
pub(super) async fn connect(addresses: &[SocketAddr], patience: Duration) -> Result<TcpStream, Error> {
    race(addresses, patience, TcpStream::connect).await
}

/// The error is that of the family that is preferred.
async fn race<T, F>(addresses: &[SocketAddr], patience: Duration, dial: impl Fn(SocketAddr) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let ipv6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| address.is_ipv6() == ipv6_first);
    let mut preferred = pin!(one_of(&preferred, patience, &dial));
    let mut other = pin!(one_of(&other, patience, &dial));
    match timeout(FALLBACK, &mut preferred).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) => return other.await.map_err(|_| error),
        Err(_) => {}
    }
    tokio::select! {
        result = &mut preferred => match result {
            Ok(connection) => Ok(connection),
            Err(error) => other.await.map_err(|_| error),
        },
        result = &mut other => match result {
            Ok(connection) => Ok(connection),
            Err(_) => preferred.await,
        },
    }
}

/// One after the other. None but the last takes more than its share of the patience.
async fn one_of<T, F>(addresses: &[SocketAddr], patience: Duration, dial: impl Fn(SocketAddr) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let Some((last, before)) = addresses.split_last() else { return Err(ErrorKind::AddrNotAvailable.into()) };
    let share = patience.div_f64(addresses.len() as f64);
    for address in before {
        if let Ok(Ok(connection)) = timeout(share, dial(*address)).await {
            return Ok(connection);
        }
    }
    dial(*last).await
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn addresses(list: &str) -> Vec<SocketAddr> {
        list.split(' ').map(|address| address.parse().unwrap()).collect()
    }

    /// Port 1 never answers, port 2 refuses at once, port 3 refuses after a second, any other answers.
    async fn dial(address: SocketAddr) -> Result<SocketAddr, Error> {
        match address.port() {
            1 => pending().await,
            2 => Err(Error::new(ErrorKind::ConnectionRefused, address.to_string())),
            3 => {
                sleep(Duration::from_secs(1)).await;
                Err(Error::new(ErrorKind::ConnectionRefused, address.to_string()))
            }
            _ => Ok(address),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_other_family_is_tried_while_the_first_one_is_silent_and_addresses_have_their_share() {
        for (list, found, milliseconds) in [
            ("[::1]:9 127.0.0.1:9", "[::1]:9", 0),
            ("127.0.0.1:9 [::1]:9", "127.0.0.1:9", 0),
            ("[::1]:1 [::2]:1 127.0.0.1:9", "127.0.0.1:9", 300),
            ("127.0.0.1:1 [::1]:9", "[::1]:9", 300),
            ("[::1]:2 127.0.0.1:9", "127.0.0.1:9", 0),
            // The other family fails first, and the first one goes on.
            ("[::1]:3 [::1]:9 127.0.0.1:2", "[::1]:9", 1_000),
            // The first fails while the other one is under way.
            ("[::1]:3 127.0.0.1:1 127.0.0.1:9", "127.0.0.1:9", 5_300),
            // A silent address leaves time for the next one, as it does in a poll.
            ("127.0.0.1:1 127.0.0.2:9", "127.0.0.2:9", 5_000),
        ] {
            let started = Instant::now();
            let connection = race(&addresses(list), PATIENCE, dial).await;
            assert_eq!(connection.unwrap().to_string(), found, "{list}");
            // A timer may be a tick late.
            let took = started.elapsed().as_millis();
            assert!((milliseconds..milliseconds + 5).contains(&took), "{list}: {took} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_is_why_the_first_family_failed() {
        for (list, told) in [
            ("[::1]:2 127.0.0.1:2", "[::1]:2"),
            ("[::1]:3 127.0.0.1:2", "[::1]:3"),
            ("127.0.0.1:3 [::1]:3", "127.0.0.1:3"),
            ("127.0.0.1:2 127.0.0.2:2", "127.0.0.2:2"),
        ] {
            assert_eq!(race(&addresses(list), PATIENCE, dial).await.unwrap_err().to_string(), told, "{list}");
        }
    }
}
