//! The routes: which path leads where.

use http::Method;

use crate::exposition::{HttpMetrics, Path};

const LANDING: &str = "/";
const HEALTHY: &str = "/-/healthy";
const READY: &str = "/-/ready";
const RELOAD: &str = "/-/reload";
const CONFIG: &str = "/config";
const STATUS: &str = "/status";
/// The label of requests for anything else.
const OTHER: &str = "other";

/// Which path leads where.
#[derive(Debug)]
pub(super) struct Routes {
    telemetry_path: Box<str>,
    /// Whether `/-/reload` does anything.
    lifecycle: bool,
    /// What requests are counted under: those of each route, and all others.
    counted: [Path; Route::ALL.len()],
    other: Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Telemetry,
    Landing,
    Healthy,
    Ready,
    Reload,
    Config,
    Status,
}

impl Route {
    /// In their order. A telemetry path of a slash takes the landing page away.
    const ALL: [Self; 7] =
        [Self::Telemetry, Self::Landing, Self::Healthy, Self::Ready, Self::Reload, Self::Config, Self::Status];

    fn path(self, telemetry_path: &str) -> &str {
        match self {
            Self::Telemetry => telemetry_path,
            Self::Landing => LANDING,
            Self::Healthy => HEALTHY,
            Self::Ready => READY,
            Self::Reload => RELOAD,
            Self::Config => CONFIG,
            Self::Status => STATUS,
        }
    }

    /// The methods that it answers.
    pub(super) fn methods(self) -> [Method; 2] {
        match self {
            Self::Reload => [Method::POST, Method::PUT],
            _ => [Method::GET, Method::HEAD],
        }
    }

    /// The statuses that are expected of it.
    fn codes(self, lifecycle: bool) -> &'static [u16] {
        match self {
            Self::Telemetry => &[200, 500, 503],
            Self::Landing | Self::Healthy | Self::Ready | Self::Status => &[200, 503],
            Self::Reload if lifecycle => &[200, 500, 503, 504],
            Self::Reload => &[403],
            Self::Config => &[200],
        }
    }
}

impl Routes {
    /// Has the requests of every route counted.
    pub(super) fn new(telemetry_path: &str, lifecycle: bool, http: &HttpMetrics) -> Self {
        let counted = Route::ALL.map(|route| http.path(route.path(telemetry_path)));
        Self { telemetry_path: telemetry_path.into(), lifecycle, counted, other: http.path(OTHER) }
    }

    pub(super) fn find(&self, path: &str) -> Option<Route> {
        Route::ALL.into_iter().find(|route| *path == *route.path(&self.telemetry_path))
    }

    pub(super) fn counted(&self, route: Option<Route>) -> Path {
        route.map_or(self.other, |route| self.counted[route as usize])
    }

    /// Starts the counters of every path at zero, also with these statuses of refusals.
    pub(super) fn declare(&self, http: &HttpMetrics, refusing: &[u16]) {
        for route in Route::ALL {
            http.declare(self.counted(Some(route)), &[route.codes(self.lifecycle), refusing].concat());
        }
        http.declare(self.other, &[&[400, 404, 405], refusing].concat());
    }
}

/// Why a telemetry path cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it {why}; choose another, such as /metrics")]
pub struct InvalidTelemetryPath {
    why: &'static str,
}

/// Checks `--web.telemetry-path`.
///
/// # Errors
/// Where it could never be requested, or hides a page.
pub fn check_telemetry_path(path: &str) -> Result<(), InvalidTelemetryPath> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte);
    let why = if !path.starts_with('/') {
        "does not begin with a slash"
    } else if !path.bytes().all(plain) {
        "has characters that a path cannot have unescaped"
    } else if [HEALTHY, READY, RELOAD, CONFIG, STATUS].contains(&path) {
        "is another page's"
    } else {
        return Ok(());
    };
    Err(InvalidTelemetryPath { why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn routes(telemetry_path: &str) -> Routes {
        Routes::new(telemetry_path, false, &HttpMetrics::new(clock::now).unwrap())
    }

    #[test]
    fn routes_are_in_their_order() {
        assert!(Route::ALL.iter().enumerate().all(|(place, route)| place == *route as usize));
    }

    #[test]
    fn paths_are_matched_whole() {
        let routes = routes("/metrics");
        assert_eq!(routes.find("/"), Some(Route::Landing));
        assert_eq!(routes.find("/metrics"), Some(Route::Telemetry));
        for path in ["/metrics/", "/metric", "//", "", "*", "/-/", "/status/x"] {
            assert_eq!(routes.find(path), None, "{path}");
        }
    }

    #[test]
    fn a_telemetry_path_of_slash_takes_the_landing_page_away() {
        let routes = routes("/");
        assert_eq!(routes.find("/"), Some(Route::Telemetry));
        assert_eq!(routes.find("/metrics"), None);
    }

    #[test]
    fn telemetry_paths() {
        for path in ["/", "/metrics", "/a/b.txt", "/-/metrics"] {
            assert_eq!(check_telemetry_path(path), Ok(()));
        }
        for path in ["", "metrics", "/me trics", "/a?b", "/ä", "/%20", "/config", "/status", "/-/healthy", "/-/reload"]
        {
            let error = check_telemetry_path(path).unwrap_err().to_string();
            assert!(error.ends_with("; choose another, such as /metrics"), "{path}: {error}");
        }
    }
}
