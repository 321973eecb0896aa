//! `no_proxy`: which addresses are reached without the proxy. The rules are those of Go's programs, so
//! that what stands in Prometheus' configuration means the same here.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::config::rules::Checked;

/// Bounds the work of each request; lists in use have some dozens.
const MAX_ENTRIES: usize = 1000;

/// A list of addresses, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// Any, where there is none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// `*`.
    All,
    /// `10.0.0.1` or `10.0.0.0/8`: hosts that are written as addresses. No name is looked up for it.
    Network(IpNet),
    /// `example.com`: the name and all below it; with a dot or `*.` before it, only those below it.
    Domain { name: String, itself: bool },
}

impl NoProxy {
    /// The rule of the key.
    pub(in crate::config) fn parse(list: &str) -> Checked<Self> {
        let entries = pieces(list).map(|entry| {
            Entry::parse(entry)
                .ok_or("holds an entry that is no host; write names, .suffixes, addresses or networks (10.0.0.0/8), each with :port if need be, separated by commas")
        });
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        if entries.len() > MAX_ENTRIES {
            return Err(format!("has {} entries; give at most {MAX_ENTRIES}", entries.len()));
        }
        Ok(Self(entries))
    }

    /// A list that others have written: what cannot be understood is left out.
    pub(super) fn lenient(list: &str) -> Self {
        Self(pieces(list).filter_map(Entry::parse).take(MAX_ENTRIES).collect())
    }

    /// Whether an address is reached without the proxy.
    pub fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let host = host.to_owned();
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|port| url.port_or_known_default() == Some(port)) && entry.hosts.contain(&host)
        })
    }
}

/// The list, as it could stand in the configuration.
impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.0.iter().enumerate() {
            write!(f, "{}{entry}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::All => f.write_str("*")?,
            // Brackets keep the colons of an address apart from that of a port.
            Hosts::Network(IpNet::V6(network)) if self.port.is_some() => write!(f, "[{network}]")?,
            Hosts::Network(network) => write!(f, "{network}")?,
            Hosts::Domain { name, itself } => write!(f, "{}{name}", if *itself { "" } else { "." })?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn pieces(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if let Some(hosts) = Hosts::address(text) {
            return Some(Self { hosts, port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        // Of an IPv6 address with a port, the brackets are left.
        let hosts = Hosts::address(host).or_else(|| Hosts::name(host))?;
        Some(Self { hosts, port })
    }
}

impl Hosts {
    fn address(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let network = bare.parse::<IpNet>().ok().or_else(|| bare.parse::<IpAddr>().ok().map(IpNet::from))?;
        Some(Self::Network(network))
    }

    fn name(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        let name = below.unwrap_or(text).trim_end_matches('.');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let valid = !name.is_empty() && name.chars().all(plain) && !name.starts_with('.');
        valid.then(|| Self::Domain { name: name.to_ascii_lowercase(), itself: below.is_none() })
    }

    fn contain(&self, host: &Host<String>) -> bool {
        match (self, host) {
            (Self::All, _) => true,
            (Self::Network(network), Host::Ipv4(address)) => network.contains(&IpAddr::V4(*address)),
            (Self::Network(network), Host::Ipv6(address)) => network.contains(&IpAddr::V6(*address)),
            // Names in addresses are lower case already.
            (Self::Domain { name, itself }, Host::Domain(host)) => {
                let rest = host.trim_end_matches('.').strip_suffix(name.as_str());
                rest.is_some_and(|rest| if rest.is_empty() { *itself } else { rest.ends_with('.') })
            }
            (Self::Network(_), Host::Domain(_)) | (Self::Domain { .. }, Host::Ipv4(_) | Host::Ipv6(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(list: &str, url: &str) -> bool {
        NoProxy::parse(list).unwrap().matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let list = "example.com,.b.example:8443,*,10.1.2.3,10.0.0.0/8:1,fd00::/8,[fd00::1]:8443,*:80";
        let read = NoProxy::parse(list).unwrap();
        let written = read.to_string();
        assert_eq!(written, "example.com,.b.example:8443,*,10.1.2.3/32,10.0.0.0/8:1,fd00::/8,[fd00::1/128]:8443,*:80");
        assert_eq!(NoProxy::parse(&written), Ok(read));
        assert_eq!(NoProxy::default().to_string(), "");
    }

    #[test]
    fn names_suffixes_addresses_networks_and_ports_are_read_as_go_reads_them() {
        for (list, yes, no) in [
            ("example.com", "https://example.com", "https://notexample.com"),
            ("example.com", "https://a.b.example.com:8443", "https://example.com.evil"),
            (".example.com", "https://a.example.com", "https://example.com"),
            ("*.example.com", "https://a.example.com", "https://example.com"),
            ("EXAMPLE.com.", "https://Example.COM", "https://example.org"),
            ("example.com:8443", "https://example.com:8443", "https://example.com"),
            ("example.com:443", "https://example.com", "https://example.com:8443"),
            ("a.example, 10.0.0.0/8 ,b.example", "https://10.1.2.3", "https://11.1.2.3"),
            ("10.1.2.3", "https://10.1.2.3:1", "https://10.1.2.4"),
            ("10.1.2.3:1", "https://10.1.2.3:1", "https://10.1.2.3:2"),
            ("fd00::/8", "https://[fd12::1]", "https://[fe80::1]"),
            ("[fd00::1]:8443", "https://[fd00::1]:8443", "https://[fd00::1]"),
            ("[fd00::1],fd00::2", "https://[fd00::2]", "https://[fd00::3]"),
            ("10.0.0.0/8,ten.example", "https://ten.example", "https://10.example"),
        ] {
            assert!(matches(list, yes), "{list}: {yes}");
            assert!(!matches(list, no), "{list}: {no}");
        }
        assert!(matches("*", "https://10.0.0.1") && matches("x,*", "https://example.com"));
        assert!(!matches("", "https://example.com") && !matches(" , ", "https://example.com"));
    }

    #[test]
    fn entries_that_are_no_hosts_are_refused_in_a_key_and_left_out_of_a_variable() {
        for list in ["https://example.com", "10.0.0.0/33", "a b", "example.com:port", "a,..", "example.com/x", "a;b"] {
            assert!(NoProxy::parse(list).unwrap_err().starts_with("holds an entry that is no host;"), "{list}");
        }
        assert!(NoProxy::parse(&"a,".repeat(1001)).unwrap_err().starts_with("has 1001 entries"));
        let lenient = NoProxy::lenient("10.0.0.0/33, https://x ,example.com");
        assert_eq!(lenient, NoProxy::parse("example.com").unwrap());
    }
}
