//! The steps of a look at a tenant, and what each finds.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};

use super::certificate::Certificate;
use crate::session::{Property, label};
use crate::source::SourceError;

label! {
    /// What is looked at, in this order.
    StepName("step") {
        /// The tenant's configuration, and the files that it names.
        Configuration = "configuration",
        /// The addresses of the hosts.
        NameResolution = "name_resolution",
        /// Connections to the hosts, and their certificates.
        Tls = "tls",
        /// A token by the configured credential.
        Token = "token",
        /// What the token says that it may do.
        Permission = "permission",
        /// The first page of reports.
        Read = "read",
        /// Where the properties of a session are found in it.
        Columns = "columns",
        /// The difference between the service's clock and this machine's.
        Clock = "clock",
    }
}

/// One step, and what came of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which one.
    pub name: StepName,
    /// How it went.
    pub outcome: Outcome,
    /// What was found, as far as it came.
    pub detail: Option<Detail>,
}

/// How a step went.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Well.
    Fine,
    /// Well, but something is worth a look: what, on one line, with the remedy.
    Warning(String),
    /// Not well.
    Failed(SourceError),
    /// Not done, because this step failed.
    Skipped(StepName),
    /// Not done, because this tenant has no use for it or it was not asked for: why, on one line.
    NotApplicable(String),
}

/// What a step found.
#[derive(Clone, Debug)]
pub enum Detail {
    /// Of [`StepName::Configuration`].
    Configuration(Configuration),
    /// Of [`StepName::NameResolution`].
    Hosts(Vec<Host>),
    /// Of [`StepName::Tls`].
    Connections(Vec<Connection>),
    /// Of [`StepName::Token`].
    Token(Token),
    /// Of [`StepName::Permission`].
    Permission(Permission),
    /// Of [`StepName::Read`].
    Page(PageRead),
    /// Of [`StepName::Columns`].
    Columns(Columns),
    /// Of [`StepName::Clock`].
    Clock(Clock),
}

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The source's kind.
    pub source: &'static str,
    /// The credential's kind.
    pub credential: &'static str,
    /// The origin of Graph.
    pub graph_url: String,
    /// The origin that tokens are asked from, where the credential asks there.
    pub authority_url: Option<String>,
    /// Files that the configuration names; all of them could be read.
    pub files: Vec<PathBuf>,
}

/// A host's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The key that names it.
    pub key: &'static str,
    /// Its name.
    pub name: String,
    /// The proxy that resolves it; then it has no addresses here.
    pub proxy: Option<String>,
    /// Its addresses; at most sixteen.
    pub addresses: Vec<IpAddr>,
}

/// A connection to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The key that names the host.
    pub key: &'static str,
    /// The host and the port.
    pub authority: String,
    /// The proxy that connects to it; then nothing is known here of what follows.
    pub proxy: Option<String>,
    /// The address that answered.
    pub address: Option<IpAddr>,
    /// The version of TLS; `None` where there was no handshake, as with plain http to this machine.
    pub version: Option<&'static str>,
    /// The certificate that the host showed, also where it was refused.
    pub certificate: Option<Certificate>,
    /// Who vouches for the certificate.
    pub trusted_by: Option<Trust>,
}

/// A set of trusted certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The system's.
    System,
    /// `ca_file`.
    CaFile,
}

/// A token, as it describes itself. Nobody has checked its signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// When it expires.
    pub expires: Option<DateTime<Utc>>,
    /// The application's permissions; `None` where the token is opaque.
    pub roles: Option<Vec<String>>,
    /// A person's permissions; `None` where the token is opaque.
    pub scopes: Option<Vec<String>>,
}

/// The permissions that the source and the look-up of enrolment states need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Any one of these is enough for the source; none where it needs none that is known.
    pub any_of: &'static [&'static str],
    /// All of these are needed for the look-up; none where it is off.
    pub all_of: &'static [&'static str],
    /// Those of them that the token has.
    pub found: Vec<&'static str>,
}

/// The first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRead {
    /// Its rows; `None` where they could not be read.
    pub rows: Option<u64>,
    /// Those of them that could not be read.
    pub rejected: u64,
    /// Rows that there are in all, where the service says so.
    pub total: Option<u64>,
}

/// The columns of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Whether the source has columns that are mapped; a collection has the properties themselves.
    pub mapped: bool,
    /// How many readable rows the page has.
    pub rows: u64,
    /// Every property.
    pub properties: Vec<PropertyFound>,
    /// Names of columns that hold no property.
    pub unused: Vec<String>,
}

/// A property, and what the page holds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyFound {
    /// Which one.
    pub property: Property,
    /// Whether no session can be counted without it.
    pub required: bool,
    /// The columns that it is read from, best first.
    pub columns: Vec<String>,
    /// In how many of the readable rows it is reported.
    pub reported: u64,
    /// Of a property with a closed set of values: how often each came; `other` is all that are not known.
    pub values: BTreeMap<&'static str, u64>,
}

/// Two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The service's, in whole seconds.
    pub service: DateTime<Utc>,
    /// This machine's when the answer came.
    pub machine: DateTime<Utc>,
}

impl Clock {
    /// How far this machine's clock is ahead; negative where it is behind.
    pub fn ahead(self) -> TimeDelta {
        self.machine - self.service
    }
}
