//! The faults that a tenant's Graph can be switched to.

use std::fmt;
use std::str::FromStr;

macro_rules! scenarios {
    ($($(#[$meta:meta])* $variant:ident = $name:literal,)+) => {
        /// How a tenant's Graph behaves. The names are those of [`Scenario::as_str`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum Scenario { $($(#[$meta])* $variant,)+ }

        impl Scenario {
            /// Every scenario.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name, in kebab-case.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

scenarios! {
    /// Well.
    #[default]
    None = "none",
    /// 429 with `Retry-After` in seconds.
    Throttled = "throttled",
    /// 429 with `Retry-After: 2.128`.
    ThrottledFractional = "throttled-fractional",
    /// 429 with `Retry-After` as a date.
    ThrottledDate = "throttled-date",
    /// 429 without `Retry-After`.
    ThrottledSilent = "throttled-silent",
    /// 429 without `Retry-After` for reports beyond `Options::limited_requests` in a period.
    RateLimited = "rate-limited",
    /// 500.
    ServerError = "server-error",
    /// 503.
    Unavailable = "unavailable",
    /// 504.
    GatewayTimeout = "gateway-timeout",
    /// 502 with an HTML page, as gateways answer.
    HtmlError = "html-error",
    /// 200 with an HTML page.
    HtmlBody = "html-body",
    /// 200 whose body is shorter than its `Content-Length`; the connection is closed.
    CutBody = "cut-body",
    /// 200 whose body stalls half-way for a while, then goes on.
    Slow = "slow",
    /// 200 with an endless body, beyond any sensible cap.
    HugeBody = "huge-body",
    /// 200 with a small gzip body that inflates beyond any sensible cap.
    GzipBomb = "gzip-bomb",
    /// 302 to a foreign origin.
    Redirect = "redirect",
    /// The tokens issued so far have expired: 401 until a new one is used.
    ExpiredToken = "expired-token",
    /// 403: the application lacks the role.
    MissingRole = "missing-role",
    /// The token endpoint has a transient error (AADSTS90033). Graph is well.
    TokenTransient = "token-transient",
    /// Collection: nextLink leads to a page that was read before. The report has no links.
    Loop = "loop",
    /// Collection: nextLink leads to a foreign origin. The report has no links.
    ForeignLink = "foreign-link",
    /// More rows are promised (`TotalRowCount`, `@odata.count`) than there are.
    ShortPage = "short-page",
    /// Collection: an empty page with a nextLink after the first. Report: every page after the first
    /// is empty, though `TotalRowCount` promises more.
    EmptyPage = "empty-page",
    /// Every third row occurs twice.
    DuplicateRows = "duplicate-rows",
    /// Columns and properties come in another order on each page.
    ShuffledColumns = "shuffled-columns",
    /// Columns and properties that are not documented, and in each page's first row enum values too.
    UnknownColumns = "unknown-columns",
    /// Five rows more that cannot be read: too short, too long, no row at all, no id, no date.
    BrokenRows = "broken-rows",
    /// Export jobs that are submitted now stay in progress for ever.
    JobStranded = "job-stranded",
    /// Export jobs that are submitted now fail.
    JobFailed = "job-failed",
    /// Export jobs that are submitted now have odd statuses on their way: `unknown`, a name that is not
    /// documented, none at all, and completed without an address.
    JobStrange = "job-strange",
    /// The address of an export that is submitted now leads to a foreign host over plain http.
    JobPlainUrl = "job-plain-url",
    /// An export job that is asked about is not there: 404.
    JobLost = "job-lost",
    /// Download: 403, as blob storage answers when the signature has expired.
    DownloadExpired = "download-expired",
    /// Download: 404, as blob storage answers when the file is no longer there.
    DownloadGone = "download-gone",
    /// Download: 503, as blob storage answers when it is busy.
    DownloadUnavailable = "download-unavailable",
    /// Download: shorter than its `Content-Length`; the connection is closed.
    DownloadCut = "download-cut",
    /// Download: without an end.
    DownloadHuge = "download-huge",
    /// Download: 302 to a foreign origin, signature and all.
    DownloadRedirect = "download-redirect",
    /// Download: 200 with an HTML page.
    DownloadHtml = "download-html",
    /// Download: something else than a ZIP archive.
    DownloadNoZip = "download-no-zip",
    /// Download: an archive without a file.
    ZipEmpty = "zip-empty",
    /// Download: an archive with two files.
    ZipTwoFiles = "zip-two-files",
    /// Download: a small archive whose file inflates beyond any sensible cap.
    ZipBomb = "zip-bomb",
}

/// What a request asks for, as far as scenarios tell requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A token.
    Token,
    /// A page of sessions.
    Sessions,
    /// A new export job.
    Submission,
    /// How far an export job is.
    Job,
    /// An export's file.
    Download,
}

impl Scenario {
    /// Whether the scenario applies to such a request. Most apply to every resource of Graph.
    pub(super) fn concerns(self, part: Part) -> bool {
        match self {
            Self::TokenTransient => part == Part::Token,
            Self::JobStranded | Self::JobFailed | Self::JobStrange | Self::JobPlainUrl => part == Part::Submission,
            Self::JobLost => part == Part::Job,
            Self::DownloadExpired
            | Self::DownloadGone
            | Self::DownloadUnavailable
            | Self::DownloadCut
            | Self::DownloadHuge
            | Self::DownloadRedirect
            | Self::DownloadHtml
            | Self::DownloadNoZip
            | Self::ZipEmpty
            | Self::ZipTwoFiles
            | Self::ZipBomb => part == Part::Download,
            _ => matches!(part, Part::Sessions | Part::Submission | Part::Job),
        }
    }
}

/// There is no scenario of this name.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no scenario is named {0:?}")]
pub struct UnknownScenario(String);

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, UnknownScenario> {
        let found = Self::ALL.iter().copied().find(|scenario| scenario.as_str() == name);
        found.ok_or_else(|| UnknownScenario(name.into()))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The scenario that is switched on, and for how many more requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Switch {
    scenario: Scenario,
    remaining: Option<u32>,
}

impl Switch {
    /// A scenario, for so many requests or until another is switched on.
    pub fn new(scenario: Scenario, requests: Option<u32>) -> Self {
        Self { scenario, remaining: requests }
    }

    /// The scenario of the next request for which `applies` holds; any other is served well and does
    /// not count.
    pub fn next(&mut self, applies: impl Fn(Scenario) -> bool) -> Scenario {
        if !applies(self.scenario) {
            return Scenario::None;
        }
        match &mut self.remaining {
            None => self.scenario,
            Some(0) => Scenario::None,
            Some(remaining) => {
                *remaining -= 1;
                self.scenario
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_scenarios() {
        for scenario in Scenario::ALL {
            let name = scenario.to_string();
            assert_eq!(name.parse::<Scenario>().unwrap(), *scenario);
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        }
        assert_eq!("no-such".parse::<Scenario>().unwrap_err().to_string(), "no scenario is named \"no-such\"");
    }

    #[test]
    fn a_switch_goes_back_after_its_requests() {
        let graph = |scenario| scenario != Scenario::TokenTransient;
        let mut switch = Switch::new(Scenario::ServerError, Some(2));
        assert_eq!(switch.next(|_| false), Scenario::None);
        let served: Vec<_> = (0..3).map(|_| switch.next(graph)).collect();
        assert_eq!(served, [Scenario::ServerError, Scenario::ServerError, Scenario::None]);
        let mut forever = Switch::new(Scenario::TokenTransient, None);
        assert_eq!(forever.next(graph), Scenario::None);
        assert_eq!(forever.next(|scenario| !graph(scenario)), Scenario::TokenTransient);
    }
}
