//! `/status`: what the landing page shows, for programs. Its schema is `docs/status.schema.json`; a test
//! holds it.

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

use super::State;
use crate::session::Label as _;
use crate::status::{Condition, Refused, Sharding, TenantStatus, WebConfigurationStatus};

/// The document.
#[derive(Serialize)]
pub(super) struct StatusPage {
    /// Rises when a key disappears or changes its meaning.
    schema_version: u32,
    version: &'static str,
    started: DateTime<Utc>,
    /// When this was written, by the exporter's clock: ages are from here.
    time: DateTime<Utc>,
    ready: bool,
    /// Loops that have not been heard of for too long; the exporter is healthy where there are none.
    stalled: Vec<&'static str>,
    configuration: Option<Configuration>,
    web_configuration: Option<WebConfigurationStatus>,
    shard: Option<Sharding>,
    tenants: Vec<Tenant>,
}

#[derive(Serialize)]
struct Configuration {
    loaded: DateTime<Utc>,
    /// Why the last reload left it in force.
    refused: Option<Refused>,
}

#[derive(Serialize)]
struct Tenant {
    #[serde(serialize_with = "word")]
    condition: Condition,
    /// Whether the last success is longer ago than three poll intervals.
    stale: bool,
    #[serde(flatten)]
    row: TenantStatus,
}

impl StatusPage {
    /// What is so now.
    pub fn new(state: &State, ready: bool) -> Self {
        let time = (state.now)();
        let tenant = |row: TenantStatus| Tenant { condition: row.condition(time), stale: row.is_stale(time), row };
        let configuration = state.status.configuration();
        Self {
            schema_version: 1,
            version: state.version,
            started: state.started,
            time,
            ready,
            stalled: state.status.stalled(),
            configuration: configuration
                .map(|configuration| Configuration { loaded: configuration.loaded, refused: configuration.refused }),
            web_configuration: state.status.web_configuration(),
            shard: state.status.sharding(),
            tenants: state.status.tenants().into_iter().map(tenant).collect(),
        }
    }
}

fn word<S: Serializer>(condition: &Condition, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(condition.as_str())
}
