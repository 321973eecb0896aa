//! What a simulator is started with. The defaults are believable; tests turn single knobs.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::authority::Authority;
use super::draw::{self, guid};

/// Tells the time. Given by the caller, so that a test can choose it.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// What a simulator is started with.
#[derive(Clone)]
pub struct Options {
    /// Used for the sessions, the `Date` headers and the tokens' lifetimes.
    pub clock: Clock,
    /// Two simulators with one seed agree on people, devices and history.
    pub seed: u64,
    /// The tenants that exist.
    pub tenants: Vec<TenantOptions>,
    /// The port on 127.0.0.1; 0 lets the system choose. Blob storage always has one that it chose.
    pub port: u16,
    /// Listens on `[::1]` instead.
    pub ipv6: bool,
    /// Which versions of HTTP are spoken.
    pub protocols: Protocols,
    /// Hosts besides the machine's own names that the certificate is for, such as those of Graph behind a
    /// proxy.
    pub names: Vec<String>,
    /// The certificate authority; a fresh one if `None`.
    pub authority: Option<Authority>,
    /// How far back sessions reach at the start. The service keeps them for 30 days.
    pub history: TimeDelta,
    /// How long a session that ended while the simulator ran stays in the report. The service keeps
    /// it for 30 days; a demo that makes sessions quickly would grow without bound.
    pub live_retention: TimeDelta,
    /// The share of sessions that appear, or appear as ended, only some time after their end.
    pub late_share: f64,
    /// The longest such delay.
    pub late_max: TimeDelta,
    /// The share of sessions that are shown before they end.
    pub in_progress_share: f64,
    /// How long before its end such a session is shown at most. Bounds how many there are at a time.
    pub in_progress_lead: TimeDelta,
    /// The share of rows that an answer holds twice.
    pub duplicate_share: f64,
    /// The share of sessions whose device and diagnostic code change after they were first shown.
    pub amended_share: f64,
    /// How long after their first showing.
    pub amended_after: TimeDelta,
    /// The share of a person's, device's or session's optional properties that are not reported.
    pub absent_share: f64,
    /// The share of sessions without a start, thus without a duration.
    pub missing_start_share: f64,
    /// Adds to the report columns named as the resource's properties for what the documented columns
    /// leave out: tenants, enrolment states, the helper's system and others. The service has none.
    pub extended_columns: bool,
    /// Rows of a page where the request names no number.
    pub page_size: usize,
    /// How often an export job is still in progress when it is asked about.
    pub export_looks: u32,
    /// `expires_in` of a token.
    pub token_lifetime: Duration,
    /// The other origin of `foreign-link` and `redirect`.
    pub foreign_origin: String,
    /// How long `slow` stalls in the middle of a body.
    pub stall: Duration,
    /// How many requests for reports `rate-limited` lets through for a tenant's application…
    pub limited_requests: usize,
    /// …in this time.
    pub limited_period: Duration,
}

/// Versions of HTTP, as ALPN offers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 where the client offers it, else HTTP/1.1.
    #[default]
    Both,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// One tenant of the simulator.
#[derive(Clone, Debug)]
pub struct TenantOptions {
    /// The name by which tests and the control paths know it; also its domain, `{name}.example`.
    pub name: String,
    /// Its id in the token endpoint's path.
    pub tenant_id: String,
    /// The one application that it knows.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: String,
    /// A secret of the application that has expired (AADSTS7000222).
    pub expired_secret: Option<String>,
    /// Whether the application has the role that reading sessions needs. Without it tokens are still
    /// issued, and Graph answers 403.
    pub permitted: bool,
    /// Whether it has the role that listing Autopilot's devices needs.
    pub autopilot_permitted: bool,
    /// Whether it has the role that listing managed devices needs.
    pub managed_devices_permitted: bool,
    /// Local time minus UTC; office hours follow it.
    pub utc_offset: TimeDelta,
    /// Sessions in the history on an average day.
    pub sessions_per_day: f64,
    /// Sessions that end per second from the start on.
    pub live_per_second: f64,
    /// How many people give help.
    pub helpers: usize,
    /// How many people are helped.
    pub sharers: usize,
}

impl Options {
    /// The defaults, for these tenants.
    pub fn new(clock: impl Fn() -> DateTime<Utc> + Send + Sync + 'static, tenants: Vec<TenantOptions>) -> Self {
        Self {
            clock: Arc::new(clock),
            seed: 0,
            tenants,
            port: 0,
            ipv6: false,
            protocols: Protocols::default(),
            names: Vec::new(),
            authority: None,
            history: TimeDelta::days(30),
            live_retention: TimeDelta::hours(1),
            late_share: 0.05,
            late_max: TimeDelta::minutes(2),
            in_progress_share: 0.1,
            in_progress_lead: TimeDelta::minutes(5),
            duplicate_share: 0.0,
            amended_share: 0.0,
            amended_after: TimeDelta::seconds(30),
            absent_share: 0.03,
            missing_start_share: 0.0,
            extended_columns: false,
            page_size: 50,
            export_looks: 1,
            token_lifetime: Duration::from_secs(3599),
            foreign_origin: "https://graph.foreign.example".into(),
            stall: Duration::from_secs(60),
            // What the service lets through for export jobs.
            limited_requests: 48,
            limited_period: Duration::from_secs(60),
        }
    }
}

impl TenantOptions {
    /// A tenant with a natural history and a session that ends every five seconds or so. Its ids and
    /// its secret follow from its name.
    pub fn new(name: &str) -> Self {
        let id = |what: &str| guid(&draw::digest(&[b"tenant", name.as_bytes(), what.as_bytes()]));
        Self {
            name: name.into(),
            tenant_id: id("tenant"),
            client_id: id("client"),
            client_secret: format!("{name}-secret"),
            expired_secret: None,
            permitted: true,
            autopilot_permitted: true,
            managed_devices_permitted: true,
            utc_offset: TimeDelta::zero(),
            sessions_per_day: 60.0,
            live_per_second: 0.2,
            helpers: 24,
            sharers: 600,
        }
    }

    /// A tenant whose sessions are only those that a test puts there.
    pub fn manual(name: &str) -> Self {
        Self { sessions_per_day: 0.0, live_per_second: 0.0, ..Self::new(name) }
    }
}
