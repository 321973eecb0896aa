//! Addresses to listen on, as Go's exporters take them.

use std::net::Ipv6Addr;
use std::str::FromStr;

/// `:port`, `host:port` or `[::1]:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// A name or an address without brackets; all interfaces where absent.
    pub host: Option<String>,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl ListenAddress {
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
}
