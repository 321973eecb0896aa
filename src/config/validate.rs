//! From what was typed to [`Config`]: each layer's keys by their rules, then a tenant's own keys
//! over those of `global`, then defaults and the rules between keys.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_saphyr::Spanned;
use url::Url;

use super::block::{self, Place};
use super::cloud::Cloud;
use super::proxy::{NoProxy, Proxy, ProxyUrl};
use super::raw::{self, Key};
use super::{
    Around, Config, Credential, DEFAULT_ENROLLMENT_REFRESH_INTERVAL, DEFAULT_LOOKBACK, DEFAULT_PAGE_SIZE,
    DEFAULT_POLL_INTERVAL, DEFAULT_REQUESTS_PER_MINUTE, Error, FirstRun, LogLevel, MAX_EXPORT_JOBS, MAX_TENANTS,
    Metrics, SESSIONS_REPORT_PATH, Source, Tenant, duration, environment, files, rules,
};

/// Applies every rule.
pub(super) fn document(raw: &raw::Document, around: &Around<'_>) -> Result<Config, Error> {
    let root = Place { key: String::new(), line: 0 };
    let log_level = log_level(&raw.log, &root)?;
    let metrics = metrics(&raw.metrics, &root)?;
    let global = raw.global.as_ref().map_or(Ok(Keys::default()), |block| {
        let place = root.child("global", block);
        no_identity_in_global(&block.value, &place)?;
        Keys::read(&block.value, &place, around)
    })?;
    let Some(list) = raw.tenants.as_ref().filter(|list| !list.value.is_empty()) else {
        return Err(root.missing("tenants", "list at least one tenant with a name and a credential"));
    };
    if list.value.len() > MAX_TENANTS {
        let problem = format!("{} tenants; one exporter takes {MAX_TENANTS}, run several", list.value.len());
        return Err(root.child("tenants", list).error(problem));
    }
    let mut names = HashMap::new();
    let mut tenants = Vec::with_capacity(list.value.len());
    for (index, block) in list.value.iter().enumerate() {
        let place = Place { key: format!("tenants[{index}]"), line: block.referenced.line() };
        let name = unique_name(&block.value, &place, &mut names)?;
        let keys = Keys::read(&block.value, &place, around)?;
        let tenant_id = place.optional("tenant_id", &block.value.tenant_id, |id| rules::tenant_id(id))?;
        let keys = keys.over(&global);
        let tenant_id = match (&keys.credential, tenant_id) {
            (Some(Credential::WorkloadIdentity { .. }), None) => environment::tenant_id(around)?,
            (_, tenant_id) => tenant_id,
        };
        tenants.push(keys.complete(name, tenant_id, &place)?);
    }
    Ok(Config::new(log_level, metrics, tenants))
}

/// These tell tenants apart, so they have no meaning for all of them.
fn no_identity_in_global(global: &raw::Tenant, place: &Place) -> Result<(), Error> {
    let given = [("name", &global.name), ("tenant_id", &global.tenant_id)];
    match given.into_iter().find_map(|(name, key)| key.as_ref().map(|value| place.child(name, value))) {
        Some(place) => Err(place.error("belongs to one tenant; move it to an item of tenants")),
        None => Ok(()),
    }
}

/// The tenant's name. `lines` holds the names before it, and where they stand.
fn unique_name<'a>(raw: &'a raw::Tenant, place: &Place, lines: &mut HashMap<&'a str, u64>) -> Result<&'a str, Error> {
    let name = place.required("name", &raw.name, |name| rules::tenant_name(name))?;
    let place =
        raw.name.as_ref().map_or(Place { key: place.key.clone(), line: place.line }, |key| place.child("name", key));
    match lines.insert(name, place.line) {
        None => Ok(name),
        Some(line) => {
            Err(place.error(format!("taken by the tenant on line {line}; names tell tenants apart, choose another")))
        }
    }
}

fn log_level(raw: &Key<raw::Log>, root: &Place) -> Result<Option<LogLevel>, Error> {
    let Some(block) = raw else { return Ok(None) };
    root.child("log", block).optional("level", &block.value.level, |level| rules::log_level(level))
}

fn metrics(raw: &Key<raw::Metrics>, root: &Place) -> Result<Metrics, Error> {
    let mut metrics = Metrics::default();
    let Some(block) = raw else { return Ok(metrics) };
    let place = root.child("metrics", block);
    let plain = |bounds: &Vec<Spanned<f64>>| bounds.iter().map(|bound| bound.value).collect::<Vec<_>>();
    if let Some(bounds) =
        place.optional("duration_buckets", &block.value.duration_buckets, |bounds| rules::buckets(&plain(bounds)))?
    {
        metrics.duration_buckets = bounds;
    }
    if let Some(label) =
        place.optional("helper_label", &block.value.helper_label, |label| rules::helper_label(label))?
    {
        metrics.helper_label = label;
    }
    if let Some(native) = &block.value.native_histograms {
        metrics.native_histograms = native.value;
    }
    Ok(metrics)
}

/// The three keys are one setting: whoever gives one of them gives all of it.
fn proxy(raw: &raw::Tenant, place: &Place) -> Result<Option<Proxy>, Error> {
    let url = place.optional("proxy_url", &raw.proxy_url, |url| ProxyUrl::parse(url))?;
    let no_proxy = place.optional("no_proxy", &raw.no_proxy, |list| match url {
        None => Err("there is no proxy_url beside it; add it, or set NO_PROXY in the environment".to_owned()),
        Some(_) => NoProxy::parse(list),
    })?;
    let environment = place.optional("proxy_from_environment", &raw.proxy_from_environment, |wanted| match url {
        Some(_) if *wanted => Err("proxy_url is given as well; remove one of the two".to_owned()),
        _ => Ok(*wanted),
    })?;
    Ok(match (url, environment) {
        (Some(url), _) => Some(Proxy::Via { url, no_proxy: no_proxy.unwrap_or_default() }),
        (None, Some(true)) => Some(Proxy::Environment),
        (None, Some(false)) => Some(Proxy::Direct),
        (None, None) => None,
    })
}

/// The keys that both `global` and a tenant may have, each by its rule.
#[derive(Default)]
pub(super) struct Keys {
    pub cloud: Option<Cloud>,
    pub graph_url: Option<Url>,
    pub authority_url: Option<Url>,
    pub ca_file: Option<PathBuf>,
    pub proxy: Option<Proxy>,
    pub requests_per_minute: Option<u32>,
    pub credential: Option<Credential>,
    pub source: Option<Source>,
    pub enrollment_lookup: Option<bool>,
    pub enrollment_refresh_interval: Option<Duration>,
    pub poll_interval: Option<Duration>,
    pub lookback: Option<Duration>,
    pub first_run: Option<FirstRun>,
}

impl Keys {
    fn read(raw: &raw::Tenant, place: &Place, around: &Around<'_>) -> Result<Self, Error> {
        let credential = raw.credential.as_ref();
        let source = raw.source.as_ref();
        Ok(Self {
            cloud: place.optional("cloud", &raw.cloud, |name| Cloud::parse(name))?,
            graph_url: place.optional("graph_url", &raw.graph_url, |url| rules::graph_url(url))?,
            authority_url: place.optional("authority_url", &raw.authority_url, |url| rules::authority_url(url))?,
            ca_file: place.optional("ca_file", &raw.ca_file, |name| files::certificates(name, around.base))?,
            proxy: proxy(raw, place)?,
            requests_per_minute: place.optional("requests_per_minute", &raw.requests_per_minute, |number| {
                rules::requests_per_minute(*number)
            })?,
            credential: credential
                .map(|raw| block::credential(&raw.value, &place.child("credential", raw), around))
                .transpose()?,
            source: source
                .map(|raw| block::source(&raw.value, &place.child("source", raw), around.base))
                .transpose()?,
            enrollment_lookup: place.optional("enrollment_lookup", &raw.enrollment_lookup, |wanted| Ok(*wanted))?,
            enrollment_refresh_interval: place.optional(
                "enrollment_refresh_interval",
                &raw.enrollment_refresh_interval,
                |text| rules::enrollment_refresh_interval(text),
            )?,
            poll_interval: place.optional("poll_interval", &raw.poll_interval, |text| rules::poll_interval(text))?,
            lookback: place.optional("lookback", &raw.lookback, |text| rules::lookback(text))?,
            first_run: place.optional("first_run", &raw.first_run, |text| rules::first_run(text))?,
        })
    }

    /// These keys, and `global`'s where they are absent. Blocks are taken whole.
    fn over(self, global: &Self) -> Self {
        Self {
            cloud: self.cloud.or(global.cloud),
            graph_url: self.graph_url.or_else(|| global.graph_url.clone()),
            authority_url: self.authority_url.or_else(|| global.authority_url.clone()),
            ca_file: self.ca_file.or_else(|| global.ca_file.clone()),
            proxy: self.proxy.or_else(|| global.proxy.clone()),
            requests_per_minute: self.requests_per_minute.or(global.requests_per_minute),
            credential: self.credential.or_else(|| global.credential.clone()),
            source: self.source.or_else(|| global.source.clone()),
            enrollment_lookup: self.enrollment_lookup.or(global.enrollment_lookup),
            enrollment_refresh_interval: self.enrollment_refresh_interval.or(global.enrollment_refresh_interval),
            poll_interval: self.poll_interval.or(global.poll_interval),
            lookback: self.lookback.or(global.lookback),
            first_run: self.first_run.or(global.first_run),
        }
    }

    /// Fills in defaults and applies the rules between keys.
    pub(super) fn complete(self, name: &str, tenant_id: Option<String>, place: &Place) -> Result<Tenant, Error> {
        let credential = match (self.credential, &self.source) {
            // Nobody is asked, so nobody has to be told who asks; one of `global` is for other tenants.
            (_, Some(Source::Files { .. })) if !self.enrollment_lookup.unwrap_or_default() => Credential::None,
            (Some(credential), _) => credential,
            (None, _) => return Err(place.missing("credential", "add the block here or to global")),
        };
        if tenant_id.is_none() && credential.needs_tenant_id() {
            let remedy = format!("the credential's kind {} needs it, add it", credential.kind());
            return Err(place.missing("tenant_id", &remedy));
        }
        let poll_interval = self.poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL);
        let lookback = self.lookback.unwrap_or(DEFAULT_LOOKBACK);
        if lookback <= poll_interval {
            return Err(place.error(format!(
                "sessions would be missed between polls: lookback is {} and poll_interval {}; choose a longer lookback",
                duration::format(lookback),
                duration::format(poll_interval),
            )));
        }
        if let Some(Source::ExportJob { job_timeout, .. }) = &self.source
            && lookback <= poll_interval + *job_timeout * MAX_EXPORT_JOBS
        {
            return Err(place.error(format!(
                "sessions would be missed while a poll waits for {MAX_EXPORT_JOBS} export jobs of up to {} each: \
                 lookback is {}; choose a longer lookback or a shorter source.job_timeout",
                duration::format(*job_timeout),
                duration::format(lookback),
            )));
        }
        let cloud = self.cloud.unwrap_or_default();
        Ok(Tenant {
            name: Arc::from(name),
            tenant_id,
            graph_url: self.graph_url.map_or_else(|| place.check(rules::graph_url(cloud.graph())), Ok)?,
            authority_url: self
                .authority_url
                .map_or_else(|| place.check(rules::authority_url(cloud.authority())), Ok)?,
            ca_file: self.ca_file,
            proxy: self.proxy.unwrap_or_default(),
            requests_per_minute: self.requests_per_minute.unwrap_or(DEFAULT_REQUESTS_PER_MINUTE),
            credential,
            source: self.source.unwrap_or_else(|| Source::SessionsReport {
                page_size: DEFAULT_PAGE_SIZE,
                path: SESSIONS_REPORT_PATH.to_owned(),
                columns: Vec::new(),
            }),
            enrollment_lookup: self
                .enrollment_lookup
                .unwrap_or_default()
                .then(|| self.enrollment_refresh_interval.unwrap_or(DEFAULT_ENROLLMENT_REFRESH_INTERVAL)),
            poll_interval,
            lookback,
            first_run: self.first_run.unwrap_or_default(),
        })
    }
}
