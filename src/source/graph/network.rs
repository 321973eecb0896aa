//! What all tenants share on their way out: the certificates that are trusted, the connections, and what
//! the environment says of proxies. A thousand tenants of one provider then cost as much as one.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use url::Url;

use super::rate::{Rate, Window};
use super::retry::{RetryPolicy, Timeouts};
use super::transport::error_chain;
use super::trust;
use crate::config::proxy::{self, Environment, NoProxy};
use crate::config::{self, Proxy, ProxyUrl};
use crate::source::SourceError;
use crate::status::FailureReason;

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Connections to one host that are kept for the next request: one for each poll that goes on at a time.
/// With HTTP/2 a single one carries all of them.
const IDLE_CONNECTIONS: usize = 32;

/// What sources share. Kept for the life of the program, across reloads; what no source uses any more is
/// dropped.
pub struct Network {
    environment: Environment,
    system_roots: OnceLock<rustls::RootCertStore>,
    /// By the text of `ca_file`: a file that has changed is another authority.
    trusts: Shared<Option<Vec<u8>>, Trust>,
    /// By client id, or by the tenant's name where the credential has none, and by what a minute is.
    applications: Shared<(String, Duration), Window>,
    /// By tenant id, likewise.
    tenants: Shared<(String, Duration), Window>,
}

/// Clients that trust the same certificates.
struct Trust {
    tls: rustls::ClientConfig,
    pools: Shared<(Option<ProxyUrl>, Timeouts), Pools>,
}

/// Clients that take the same way.
pub(super) struct Pools {
    /// Keeps connections for the next request.
    pub pooled: reqwest::Client,
    /// Never keeps a connection: each request has its own.
    pub unpooled: reqwest::Client,
}

/// The ways that one tenant's requests may take.
pub(super) struct Routes {
    direct: Arc<Pools>,
    /// By a proxy.
    proxied: Option<Proxied>,
    no_proxy: NoProxy,
    /// Shared with others as long as somebody holds it.
    _trust: Arc<Trust>,
}

/// A way by a proxy.
pub(super) struct Proxied {
    /// What names the proxy: a key or a variable.
    pub whence: &'static str,
    /// The proxy.
    pub url: ProxyUrl,
    pools: Arc<Pools>,
}

impl Network {
    /// Reads what the environment says of proxies through `lookup`.
    pub fn new(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            environment: Environment::read(lookup),
            system_roots: OnceLock::new(),
            trusts: Shared::default(),
            applications: Shared::default(),
            tenants: Shared::default(),
        }
    }

    /// The ways of a tenant's requests. `ca_file` is read now.
    pub(super) fn routes(&self, tenant: &config::Tenant, timeouts: Timeouts) -> Result<Routes, SourceError> {
        let trust = self.trust(tenant)?;
        let (named, no_proxy) = match &tenant.proxy {
            Proxy::Direct => (None, NoProxy::default()),
            Proxy::Via { url, no_proxy } => (Some(("proxy_url", url)), no_proxy.clone()),
            Proxy::Environment => (self.named(tenant)?, self.environment.no_proxy().clone()),
        };
        let way = |(whence, url): (&'static str, &ProxyUrl)| {
            Ok(Proxied { whence, url: url.clone(), pools: trust.pools(Some(url), timeouts)? })
        };
        let proxied = named.map(way).transpose()?;
        Ok(Routes { direct: trust.pools(None, timeouts)?, proxied, no_proxy, _trust: trust })
    }

    /// The environment's proxy for a tenant. A variable that cannot be understood stops only a tenant that
    /// needs it.
    fn named(&self, tenant: &config::Tenant) -> Result<Option<(&'static str, &ProxyUrl)>, SourceError> {
        let goes = |url: &Url| goes_by_proxy(url, self.environment.no_proxy());
        // An export's file is on another host, which nobody knows yet.
        let download =
            matches!(tenant.source, config::Source::ExportJob { .. }) && !proxy::is_loopback(&tenant.graph_url);
        let needed =
            download || goes(&tenant.graph_url) || (tenant.credential.needs_tenant_id() && goes(&tenant.authority_url));
        match self.environment.proxy() {
            Err(problem) if needed => {
                Err(SourceError::new(FailureReason::Connection, format!("environment: {problem}")))
            }
            named => Ok(named.unwrap_or_default()),
        }
    }

    /// The limits of a tenant's requests.
    pub(super) fn rate(&self, tenant: &config::Tenant, policy: &RetryPolicy) -> Rate {
        let window = |windows: &Shared<_, _>, name: Option<&str>| {
            // Case makes no difference in an id. A name is never one: it stands for an application of its own.
            let key = name.map_or_else(|| format!("tenant {}", tenant.name), str::to_ascii_lowercase);
            windows.get((key, policy.minute), || Window::new(policy.minute))
        };
        let application = window(&self.applications, tenant.credential.client_id());
        Rate::new(application, window(&self.tenants, tenant.tenant_id.as_deref()), tenant.requests_per_minute)
    }

    fn trust(&self, tenant: &config::Tenant) -> Result<Arc<Trust>, SourceError> {
        let pem = tenant.ca_file.as_deref().map(trust::read).transpose()?;
        self.trusts.get_or_make(pem, |pem| {
            let roots = self.system_roots.get_or_init(system_roots).clone();
            let tls = trust::config(roots, tenant.ca_file.as_deref().zip(pem.as_deref()))?;
            Ok(Trust { tls, pools: Shared::default() })
        })
    }
}

/// Called once: a machine that trusts nobody is told so before the first request fails.
fn system_roots() -> rustls::RootCertStore {
    let roots = trust::system_roots();
    if roots.is_empty() {
        tracing::warn!(
            "This machine has no CA certificates; install them (the package ca-certificates) unless ca_file names \
             every authority"
        );
    }
    roots
}

impl Trust {
    fn pools(&self, proxy: Option<&ProxyUrl>, timeouts: Timeouts) -> Result<Arc<Pools>, SourceError> {
        self.pools.get_or_make((proxy.cloned(), timeouts), |_| Pools::new(&self.tls, proxy, timeouts))
    }
}

impl Routes {
    /// The clients for an address, and the proxy by which they go.
    pub fn to(&self, url: &Url) -> (&Pools, Option<&Proxied>) {
        match &self.proxied {
            Some(proxied) if goes_by_proxy(url, &self.no_proxy) => (&proxied.pools, Some(proxied)),
            _ => (&self.direct, None),
        }
    }
}

/// Whether a proxy is asked for an address at all. Plain http is spoken with this machine and its link only,
/// and what stays there is nobody else's business, least of all a token.
fn goes_by_proxy(url: &Url, no_proxy: &NoProxy) -> bool {
    url.scheme() == "https" && !proxy::is_local(url) && !no_proxy.matches(url)
}

impl Pools {
    fn new(tls: &rustls::ClientConfig, proxy: Option<&ProxyUrl>, timeouts: Timeouts) -> Result<Self, SourceError> {
        let failed = |error: reqwest::Error| {
            let message = format!("the HTTP client cannot be built: {}", error_chain(&error));
            SourceError::new(FailureReason::Internal, message)
        };
        let build = |idle_connections: usize| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(USER_AGENT)
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(timeouts.connect)
                .read_timeout(timeouts.read)
                .timeout(timeouts.total)
                .tcp_keepalive(timeouts.keep_alive)
                .http2_keep_alive_interval(timeouts.keep_alive)
                .http2_keep_alive_timeout(timeouts.keep_alive)
                .pool_max_idle_per_host(idle_connections)
                // The environment has been read already, and by our rules.
                .no_proxy();
            match proxy {
                None => builder.build(),
                Some(url) => builder.proxy(reqwest::Proxy::all(url.expose().clone())?).build(),
            }
        };
        Ok(Self { pooled: build(IDLE_CONNECTIONS).map_err(failed)?, unpooled: build(0).map_err(failed)? })
    }
}

/// Values that are made once for each key and live as long as somebody holds them.
struct Shared<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K: Hash + Eq, V> Shared<K, V> {
    fn get(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        match self.get_or_make(key, |_| Ok::<_, Infallible>(make())) {
            Ok(value) => value,
        }
    }

    fn get_or_make<E>(&self, key: K, make: impl FnOnce(&K) -> Result<V, E>) -> Result<Arc<V>, E> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.get(&key).and_then(Weak::upgrade) {
            return Ok(value);
        }
        values.retain(|_, value| value.strong_count() > 0);
        let value = Arc::new(make(&key)?);
        values.insert(key, Arc::downgrade(&value));
        Ok(value)
    }
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::{Fake, report_tenant};

    fn routes(network: &Network, tenant: &config::Tenant) -> Routes {
        network.routes(tenant, Timeouts::default()).unwrap()
    }

    fn proxied(url: &str) -> Proxy {
        let variable = Environment::read(|name| (name == "ALL_PROXY").then(|| url.to_owned()));
        let url = variable.proxy().unwrap().unwrap().1.clone();
        Proxy::Via { url, no_proxy: NoProxy::default() }
    }

    #[tokio::test]
    async fn what_is_the_same_is_shared_and_what_nobody_uses_is_dropped() {
        let network = Network::new(|_| None);
        let mut tenant = report_tenant(&Fake::start(Vec::new()).await);
        let first = routes(&network, &tenant);
        assert!(Arc::ptr_eq(&first.direct, &routes(&network, &tenant).direct));
        let patient = Timeouts { total: Duration::from_secs(999), ..Timeouts::default() };
        assert!(!Arc::ptr_eq(&first.direct, &network.routes(&tenant, patient).unwrap().direct));

        tenant.proxy = proxied("http://a:1@proxy.example");
        let by_proxy = routes(&network, &tenant);
        let way = |routes: &Routes| routes.proxied.as_ref().unwrap().pools.clone();
        assert!(Arc::ptr_eq(&first.direct, &by_proxy.direct), "what is local takes the same way");
        assert!(Arc::ptr_eq(&way(&by_proxy), &way(&routes(&network, &tenant))));
        tenant.proxy = proxied("http://a:2@proxy.example");
        assert!(!Arc::ptr_eq(&way(&by_proxy), &way(&routes(&network, &tenant))), "another password");

        let kept = Arc::downgrade(&first.direct);
        drop((first, by_proxy));
        assert!(kept.upgrade().is_none());
    }

    #[tokio::test]
    async fn a_window_is_the_applications_whatever_its_number_and_however_its_id_is_written() {
        let network = Network::new(|_| None);
        let mut tenant = report_tenant(&Fake::start(Vec::new()).await);
        let mut rate = |client_id: &str, requests_per_minute| {
            tenant.credential = config::Credential::ManagedIdentity { client_id: Some(client_id.to_owned()) };
            tenant.requests_per_minute = requests_per_minute;
            network.rate(&tenant, &RetryPolicy::default())
        };
        let (one, same, other) = (rate("0a-AB", 48), rate("0A-ab", 200), rate("0a-ac", 48));
        assert!(one.shares(&same) && !one.shares(&other));
    }

    #[tokio::test]
    async fn a_file_that_has_changed_is_another_authority() {
        let network = Network::new(|_| None);
        let (old, new) = (Fake::start_tls(Vec::new()).await, Fake::start_tls(Vec::new()).await);
        let tenant = report_tenant(&old);
        let before = routes(&network, &tenant);
        std::fs::copy(new.ca_file.as_ref().unwrap(), old.ca_file.as_ref().unwrap()).unwrap();
        let (after, same) = (routes(&network, &tenant), routes(&network, &report_tenant(&new)));
        assert!(Arc::ptr_eq(&after.direct, &same.direct), "the text counts, not the name");
        assert!(!Arc::ptr_eq(&before.direct, &after.direct));
    }

    #[tokio::test]
    async fn nothing_local_goes_by_a_proxy() {
        let network = Network::new(|name| (name == "ALL_PROXY").then(|| "http://proxy.example:3128".to_owned()));
        let routes = routes(&network, &report_tenant(&Fake::start(Vec::new()).await));
        let by_proxy = |url: &str| routes.to(&Url::parse(url).unwrap()).1.is_some();
        assert!(by_proxy("https://graph.microsoft.com/beta"));
        assert!(!by_proxy("https://localhost:8443") && !by_proxy("http://169.254.169.254/metadata/identity"));
        assert!(!by_proxy("http://graph.example"), "nothing in plain text");
    }

    #[tokio::test]
    async fn a_variable_that_cannot_be_understood_stops_only_who_needs_it() {
        let refusal = |variables: &'static [(&str, &str)], tenant: &config::Tenant| {
            let lookup = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
            Network::new(lookup).routes(tenant, Timeouts::default()).err().map(|error| error.message)
        };
        let socks = &[("all_proxy", "socks5h://proxy.example:1080")];
        let mut tenant = report_tenant(&Fake::start(Vec::new()).await);
        assert_eq!(refusal(socks, &tenant), None, "all of it is on this machine");
        tenant.authority_url = Url::parse("https://login.example").unwrap();
        assert_eq!(refusal(socks, &tenant), None, "without a credential nobody is asked there");
        tenant.credential = config::Credential::WorkloadIdentity { client_id: "app".into(), token_file: "x".into() };
        let refused = "environment: all_proxy: SOCKS is not supported; give the address of an HTTP proxy";
        assert_eq!(refusal(socks, &tenant).as_deref(), Some(refused));
        tenant.graph_url = Url::parse("https://graph.example").unwrap();
        assert_eq!(refusal(socks, &tenant).as_deref(), Some(refused));
        let around = &[("all_proxy", "socks5h://proxy.example:1080"), ("no_proxy", ".example")];
        assert_eq!(refusal(around, &tenant), None);
        let (select, job_timeout) = (Vec::new(), Duration::from_secs(900));
        tenant.source = config::Source::ExportJob { columns: Vec::new(), select, job_timeout };
        assert_eq!(refusal(around, &tenant).as_deref(), Some(refused), "the file is on another host");
        let other = &[("HTTPS_PROXY", "http://proxy.example"), ("ALL_PROXY", "socks5://proxy.example:1080")];
        assert_eq!(refusal(other, &tenant), None, "the other variable is never used");
    }
}
