//! Microsoft's clouds and their hosts.

use url::Url;

use super::rules::{Checked, one_of};

/// `cloud`: sets both hosts, unless `graph_url` or `authority_url` override them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Cloud {
    /// The public cloud, with GCC.
    #[default]
    Global,
    /// US Government L4.
    UsGov,
    /// US Government L5 (DoD).
    UsGovDod,
    /// China, operated by 21Vianet.
    China,
}

/// L4 stands before L5: the two share a login host, and where that has to tell the cloud, the first
/// one counts.
const NAMES: &[(&str, Cloud)] =
    &[("global", Cloud::Global), ("usgov", Cloud::UsGov), ("usgov_dod", Cloud::UsGovDod), ("china", Cloud::China)];

impl Cloud {
    /// The cloud of this name.
    pub(super) fn parse(text: &str) -> Checked<Self> {
        one_of(text, NAMES)
    }

    /// The cloud whose login host this is.
    pub(super) fn of_authority(authority: &Url) -> Option<Self> {
        let host = authority.host_str();
        NAMES.iter().map(|(_, cloud)| *cloud).find(|cloud| cloud.authority().strip_prefix("https://") == host)
    }

    /// Where tokens are issued.
    pub(super) fn authority(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::UsGov | Self::UsGovDod => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }

    /// Where Graph is.
    pub(super) fn graph(self) -> &'static str {
        match self {
            Self::Global => "https://graph.microsoft.com",
            Self::UsGov => "https://graph.microsoft.us",
            Self::UsGovDod => "https://dod-graph.microsoft.us",
            Self::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }
}
