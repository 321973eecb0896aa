//! Proxies: the keys `proxy_url`, `no_proxy` and `proxy_from_environment`, and the environment's
//! variables. The keys have the names and the meaning that they have in Prometheus' own configuration.

mod no_proxy;

use std::fmt;

use url::{Host, Url};

pub use no_proxy::NoProxy;

use super::rules::{Checked, MAX_URL_BYTES};

/// `proxy_url`, `no_proxy` and `proxy_from_environment`, which are one setting together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As the environment says.
    #[default]
    Environment,
    /// None.
    Direct,
    /// This one, whatever the environment says.
    Via {
        /// `proxy_url`.
        url: ProxyUrl,
        /// `no_proxy`.
        no_proxy: NoProxy,
    },
}

/// The address of an HTTP proxy: http or https, with user and password if it wants them. Shown without
/// those two.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyUrl(Url);

/// What the environment says of proxies. A variable that cannot be understood is told when it matters.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    proxy: Variable,
    no_proxy: NoProxy,
}

/// A variable that names a proxy: its name, and what it says.
type Variable = Option<(&'static str, Checked<ProxyUrl>)>;

impl Environment {
    /// Reads `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` through `lookup`; where one is not set or empty, its
    /// name in lower case. `HTTP_PROXY` is for addresses that are never reached by a proxy. An entry of
    /// `NO_PROXY` that cannot be understood is left out.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, lookup(name).filter(|value| !value.trim().is_empty())?)))
        };
        let proxy = first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]).map(|(name, value)| {
            // As curl has it: an address without a scheme is that of an http proxy.
            let value = value.trim();
            let value = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
            (name, ProxyUrl::parse(&value))
        });
        Self {
            proxy,
            no_proxy: first(&["NO_PROXY", "no_proxy"])
                .map_or_else(NoProxy::default, |(_, list)| NoProxy::lenient(&list)),
        }
    }

    /// The proxy for https addresses, and the variable that names it.
    ///
    /// # Errors
    /// The variable's name and what is wrong with it.
    pub fn proxy(&self) -> Result<Option<(&'static str, &ProxyUrl)>, String> {
        match &self.proxy {
            None => Ok(None),
            Some((name, Ok(url))) => Ok(Some((name, url))),
            Some((name, Err(problem))) => Err(format!("{name}: {problem}")),
        }
    }

    /// `NO_PROXY`.
    pub fn no_proxy(&self) -> &NoProxy {
        &self.no_proxy
    }
}

impl ProxyUrl {
    /// The rule of `proxy_url`.
    pub(super) fn parse(text: &str) -> Checked<Self> {
        let address = (text.len() <= MAX_URL_BYTES).then(|| Url::parse(text).ok()).flatten();
        let Some(url) = address else {
            return Err("not a proxy's address; write http:// and its host and port".to_owned());
        };
        if url.scheme().starts_with("socks") {
            return Err("SOCKS is not supported; give the address of an HTTP proxy".to_owned());
        }
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("not a proxy's address; write http:// and its host and port".to_owned());
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("has more than scheme, user, host and port; remove what follows them".to_owned());
        }
        Ok(Self(url))
    }

    /// The address with user and password: for the one who connects, and nobody else.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

/// Whether the host of an address is the machine itself.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Whether an address is the machine itself or its own link, where no proxy could reach it: the cloud's
/// metadata endpoints are there.
pub fn is_local(url: &Url) -> bool {
    let link = match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_unicast_link_local(),
        Some(Host::Domain(_)) | None => false,
    };
    link || is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_user() {
        let url = ProxyUrl::parse("http://user:s3cr3t@proxy.example:3128/").unwrap();
        assert_eq!(format!("{url} {url:?}"), "http://proxy.example:3128 ProxyUrl(http://proxy.example:3128)");
        assert_eq!(url.expose().password(), Some("s3cr3t"));
        let proxy = Proxy::Via { url, no_proxy: NoProxy::default() };
        assert!(!format!("{proxy:?}").contains("s3cr3t"), "{proxy:?}");
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        let refused = |text: &str| ProxyUrl::parse(text).unwrap_err();
        insta::assert_snapshot!(refused("socks5h://s3cr3t@proxy.example:1080"), @"SOCKS is not supported; give the address of an HTTP proxy");
        insta::assert_snapshot!(refused("http://proxy.example/s3cr3t"), @"has more than scheme, user, host and port; remove what follows them");
        for text in ["", "proxy.example:3128", "ftp://proxy.example", "http://", "http://[::1", &"x".repeat(5000)] {
            assert_eq!(refused(text), "not a proxy's address; write http:// and its host and port", "{text}");
        }
    }

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_has_a_variable_for_https_and_one_for_all() {
        let proxy = |variables: &[(&str, &str)]| {
            let environment = environment(variables);
            environment.proxy().map(|proxy| proxy.map(|(name, url)| format!("{name} {url}")))
        };
        let of = |variables: &[(&str, &str)]| proxy(variables).unwrap().unwrap_or_default();
        assert_eq!(of(&[]), "");
        assert_eq!(of(&[("HTTPS_PROXY", "http://a:1")]), "HTTPS_PROXY http://a:1");
        assert_eq!(of(&[("http_proxy", "http://a:1")]), "");
        assert_eq!(of(&[("all_proxy", "http://a:1")]), "all_proxy http://a:1");
        assert_eq!(of(&[("ALL_PROXY", "http://a:1"), ("https_proxy", "b:2")]), "https_proxy http://b:2");
        assert_eq!(of(&[("HTTPS_PROXY", " "), ("https_proxy", "user:s3cr3t@b:2")]), "https_proxy http://b:2");
        let wrong = proxy(&[("HTTPS_PROXY", "socks5://s3cr3t@a:1")]).unwrap_err();
        insta::assert_snapshot!(wrong, @"HTTPS_PROXY: SOCKS is not supported; give the address of an HTTP proxy");
        for variable in ["HTTP_PROXY", "ALL_PROXY"] {
            let both = [("HTTPS_PROXY", "http://a:1"), (variable, "socks5://a:1")];
            assert_eq!(of(&both), "HTTPS_PROXY http://a:1", "it does not matter");
        }
    }

    #[test]
    fn the_machine_itself_and_its_link_are_local() {
        let local = |text: &str| is_local(&Url::parse(text).unwrap());
        for text in [
            "http://localhost:1",
            "https://127.1.2.3",
            "https://[::1]:1",
            "http://169.254.169.254/metadata",
            "http://[fe80::1]",
        ] {
            assert!(local(text), "{text}");
        }
        for text in
            ["https://graph.microsoft.com", "https://10.0.0.1", "https://localhost.example", "https://[fd00::1]"]
        {
            assert!(!local(text), "{text}");
        }
    }
}
