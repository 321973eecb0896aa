//! Every metric of the exporter: name, type, labels and HELP. Families, documentation, dashboards
//! and tests take them from here. (`process_*` come from the prometheus crate.)

use crate::ledger::totals::Window;
use crate::session::{EnrollmentState, Label, Os, RejectReason, Role, SessionType};
use crate::source::Endpoint;
use crate::status::FailureReason;

/// What every name starts with.
pub const PREFIX: &str = "remote_assistance_";

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name with its prefix; a counter's ends in `_total`.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The labels' names, in the order in which code gives their values.
    pub labels: &'static [&'static str],
    /// HELP.
    pub help: &'static str,
}

/// A metric's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

impl Metric {
    /// The unit, as OpenMetrics names it.
    pub fn unit(&self) -> Option<&'static str> {
        unit_of(self.name)
    }
}

/// The unit that a metric's name ends in, `_total` aside.
pub fn unit_of(name: &str) -> Option<&'static str> {
    const UNITS: &[&str] = &["seconds", "bytes"];
    let family = name.strip_suffix("_total").unwrap_or(name);
    UNITS.iter().copied().find(|unit| family.strip_suffix(unit).is_some_and(|head| head.ends_with('_')))
}

macro_rules! catalogue {
    (
        business { $($business:ident = $business_kind:ident $business_name:literal $business_labels:tt $business_help:literal;)+ }
        own { $($own:ident = $own_kind:ident $own_name:literal $own_labels:tt $own_help:literal;)+ }
    ) => {
        $(catalogue!(@metric $business $business_kind $business_name $business_labels
            [$business_help, " Kept by a background poll every remote_assistance_poll_interval_seconds."]);)+
        $(catalogue!(@metric $own $own_kind $own_name $own_labels [$own_help]);)+

        /// The metrics that the ledger's snapshot gives.
        pub const BUSINESS: &[Metric] = &[$($business,)+];
        /// The metrics of the exporter's own health.
        pub const OWN: &[Metric] = &[$($own,)+];
    };
    (@metric $ident:ident $kind:ident $name:literal [$($label:expr),*] [$($help:literal),+]) => {
        #[doc = concat!("`", $name, "`: ", $($help),+)]
        pub const $ident: Metric = Metric {
            name: concat!("remote_assistance_", $name),
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: concat!($($help),+),
        };
    };
}

pub(super) const TENANT: &str = "tenant";
pub(super) const CODE: &str = "code";
pub(super) const PATH: &str = "path";

catalogue! {
    business {
        SESSIONS = Counter "sessions_total" [TENANT, SessionType::NAME]
            "Remote assistance sessions counted, each once.";
        SESSION_DURATION = Histogram "session_duration_seconds" [TENANT, SessionType::NAME]
            "Time from the start to the end of counted sessions.";
        PARTICIPANTS = Counter "participants_total" [TENANT, Role::NAME, EnrollmentState::NAME]
            "Participants of counted sessions, one per role, by the enrollment state of their device.";
        PARTICIPANT_OS = Counter "participant_os_total" [TENANT, Role::NAME, Os::NAME]
            "Participants of counted sessions, one per role, by the operating system of their device.";
        CROSS_TENANT_SESSIONS = Counter "cross_tenant_sessions_total" [TENANT, SessionType::NAME]
            "Counted sessions whose helper and sharer were reported with different tenants.";
        INVALID_DURATIONS = Counter "invalid_durations_total" [TENANT]
            "Counted sessions without a start, or with an end before it: their duration is not observed.";
        REPORT_DELAY = Histogram "report_delay_seconds" [TENANT]
            "Time from a session's end to its being counted, a first run's backlog left out.";
        SESSIONS_IN_PROGRESS = Gauge "sessions_in_progress" [TENANT]
            "Sessions without an end in the last complete poll.";
        ACTIVE_HELPERS = Gauge "active_helpers" [TENANT, Window::NAME]
            "Distinct people who gave help in the window.";
        ACTIVE_SHARERS = Gauge "active_sharers" [TENANT, Window::NAME]
            "Distinct people who shared their screen in the window.";
        HELPED_DEVICES = Gauge "helped_devices" [TENANT, Window::NAME]
            "Distinct devices that were helped in the window.";
        LAST_SESSION_END = Gauge "last_session_end_timestamp_seconds" [TENANT]
            "Newest end of a counted session, in Unix time.";
        HELPER_SESSIONS = Counter "helper_sessions_total" [TENANT, "helper"]
            "Sessions counted by helper; helpers beyond the limit are one, named other.";
        REPORTS_READ = Counter "reports_read_total" [TENANT]
            "Reports read: the sum of those counted, duplicate, amended, unfinished, too old, baseline and rejected.";
        REPORTS_DUPLICATE = Counter "reports_duplicate_total" [TENANT]
            "Reports read whose session was counted before.";
        REPORTS_AMENDED = Counter "reports_amended_total" [TENANT]
            "Reports read whose session was counted before, with other contents. Not counted again.";
        REPORTS_UNFINISHED = Counter "reports_unfinished_total" [TENANT]
            "Readings of a session that had no end yet.";
        REPORTS_TOO_OLD = Counter "reports_too_old_total" [TENANT]
            "Reports read whose session ended before the oldest end that is still counted.";
        REPORTS_BASELINE = Counter "reports_baseline_total" [TENANT]
            "Reports that a first run marked as known without counting them.";
        REPORTS_REJECTED = Counter "reports_rejected_total" [TENANT, RejectReason::NAME]
            "Reports that could not be read. They count once a later poll brings them repaired.";
        REPORT_ROWS_MISSING = Counter "report_rows_missing_total" [TENANT]
            "Rows that the service promised and did not deliver.";
        LEDGER_SESSIONS = Gauge "ledger_sessions" []
            "Session ids in the ledger.";
        LEDGER_SIZE = Gauge "ledger_size_bytes" []
            "Size of the ledger on disk.";
    }
    own {
        UP = Gauge "up" [TENANT]
            "Whether the last poll of the tenant succeeded. Absent until its first poll has ended.";
        LAST_POLL_SUCCESS = Gauge "last_poll_success_timestamp_seconds" [TENANT]
            "End of the last successful poll, before a restart of the exporter or after it, in Unix time.";
        LAST_POLL_DURATION = Gauge "last_poll_duration_seconds" [TENANT]
            "Duration of the last poll, successful or not.";
        POLL_INTERVAL = Gauge "poll_interval_seconds" [TENANT]
            "Configured time between polls.";
        POLLS = Counter "polls_total" [TENANT]
            "Polls ended, successful or not.";
        POLL_FAILURES = Counter "poll_failures_total" [TENANT, FailureReason::NAME]
            "Polls that failed.";
        GRAPH_REQUESTS = Counter "graph_requests_total" [TENANT, Endpoint::NAME, CODE]
            "Requests to Microsoft Graph and its token endpoint, by HTTP status; error where no answer came.";
        GRAPH_REQUEST_DURATION = Histogram "graph_request_duration_seconds" [Endpoint::NAME]
            "Duration of single requests to Microsoft Graph and its token endpoint.";
        GRAPH_RETRIES = Counter "graph_retries_total" [TENANT]
            "Requests that were sent again.";
        GRAPH_THROTTLED = Counter "graph_throttled_total" [TENANT]
            "Requests that were answered 429.";
        GRAPH_THROTTLE_WAIT = Counter "graph_throttle_wait_seconds_total" [TENANT]
            "Time for which requests were held back to keep below the service's limits.";
        TOKEN_EXPIRY = Gauge "token_expiry_timestamp_seconds" [TENANT]
            "Expiry of the access token in use, in Unix time. Absent where no token is used or none was issued yet.";
        FILES_SET_ASIDE = Gauge "files_set_aside" [TENANT]
            "Files of the directory that cannot be read, wholly or from some row on, as of the last successful poll. Absent for other sources.";
        CREDENTIAL_EXPIRY = Gauge "credential_expiry_timestamp_seconds" [TENANT]
            "Expiry of the certificate of kind client_certificate, in Unix time. Absent for other kinds: when a client secret expires is not told to those who use it.";
        ENROLLMENT_LOOKUP_UP = Gauge "enrollment_lookup_up" [TENANT]
            "Whether the last look-up of enrollment states succeeded. Absent until the first has ended, and where it is off.";
        ENROLLMENT_LOOKUP_SUCCESS = Gauge "enrollment_lookup_last_success_timestamp_seconds" [TENANT]
            "End of the last successful look-up of enrollment states, in Unix time.";
        ENROLLMENT_LOOKUP_DEVICES = Gauge "enrollment_lookup_devices" [TENANT]
            "Devices whose enrollment state is known from the last successful look-up.";
        ENROLLMENT_LOOKUP_FAILURES = Counter "enrollment_lookup_failures_total" [TENANT, FailureReason::NAME]
            "Look-ups of enrollment states that failed. Polls go on with what was known before.";
        LEDGER_COMMITS = Counter "ledger_commits_total" []
            "Transactions committed to the ledger.";
        LEDGER_COMMIT_FAILURES = Counter "ledger_commit_failures_total" []
            "Transactions that could not be committed. Their reports are read again by the next poll.";
        LEDGER_COMMIT_DURATION = Histogram "ledger_commit_duration_seconds" []
            "Duration of transactions, from their begin to their being durable.";
        BUILD_INFO = Gauge "exporter_build_info" ["version", "revision", "rustversion"]
            "Always 1, labelled with the version, the revision and the compiler that made it.";
        CONFIG_RELOAD_SUCCESSFUL = Gauge "exporter_config_last_reload_successful" []
            "Whether the last load of the configuration succeeded.";
        CONFIG_RELOAD_SUCCESS = Gauge "exporter_config_last_reload_success_timestamp_seconds" []
            "Time of the last successful load of the configuration, in Unix time.";
        WEB_CONFIG_RELOAD_SUCCESSFUL = Gauge "exporter_web_config_last_reload_successful" []
            "Whether the last load of the web configuration succeeded. Absent where there is none.";
        WEB_CONFIG_RELOAD_SUCCESS = Gauge "exporter_web_config_last_reload_success_timestamp_seconds" []
            "Time of the last load of the web configuration that succeeded, in Unix time. Absent where there is none.";
        CONFIG_HASH = Gauge "exporter_config_hash" []
            "Hash of the configuration in use: 48 bits, since a sample holds no more exactly.";
        SHARD_ORDINAL = Gauge "exporter_shard_ordinal" []
            "Which shard this exporter is, from 0. It polls and shows the tenants of this shard alone.";
        TOTAL_SHARDS = Gauge "exporter_total_shards" []
            "Into how many shards the tenants are divided.";
        CONFIGURED_TENANTS = Gauge "exporter_configured_tenants" []
            "Tenants in the configuration in use, of all shards together.";
        WEB_CERTIFICATE_EXPIRY = Gauge "exporter_web_certificate_expiry_timestamp_seconds" []
            "First expiry of the certificates that the web server shows, in Unix time. Absent without TLS.";
        HTTP_REQUESTS = Counter "exporter_http_requests_total" [PATH, CODE]
            "HTTP requests answered, by path and status; the path is other where there is no such page.";
        HTTP_REQUEST_DURATION = Histogram "exporter_http_request_duration_seconds" [PATH]
            "Time taken to answer HTTP requests, sending left out.";
        HTTP_IN_FLIGHT = Gauge "exporter_http_requests_in_flight" []
            "HTTP requests that are being answered.";
    }
}

/// Every metric.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    BUSINESS.iter().chain(OWN)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_prefixed_and_end_as_their_type_demands() {
        let names: BTreeSet<_> = all().map(|metric| metric.name).collect();
        assert_eq!(names.len(), all().count());
        for metric in all() {
            assert!(metric.name.starts_with(PREFIX), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            for reserved in ["_bucket", "_sum", "_count", "_created"] {
                assert!(!metric.name.ends_with(reserved), "{}", metric.name);
            }
        }
    }

    #[test]
    fn every_help_is_whole_sentences_and_business_metrics_tell_of_the_poll() {
        for metric in all() {
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\']), "{}", metric.help);
        }
        for metric in BUSINESS {
            assert!(metric.help.contains(POLL_INTERVAL.name), "{}", metric.help);
        }
    }

    #[test]
    fn no_label_names_a_person_or_a_device() {
        let labels: BTreeSet<_> = all().flat_map(|metric| metric.labels).copied().collect();
        let known = "code endpoint enrollment_state helper os path reason revision role rustversion session_type tenant version window";
        assert_eq!(labels, known.split(' ').collect());
        let with_helper = all().filter(|metric| metric.labels.contains(&"helper")).count();
        assert_eq!(with_helper, 1, "only the opt-in metric has the label helper");
    }

    #[test]
    fn units_are_what_names_end_in() {
        assert_eq!(SESSION_DURATION.unit(), Some("seconds"));
        assert_eq!(LAST_SESSION_END.unit(), Some("seconds"));
        assert_eq!(LEDGER_SIZE.unit(), Some("bytes"));
        assert_eq!(SESSIONS.unit(), None);
        assert_eq!(unit_of("process_cpu_seconds_total"), Some("seconds"));
        assert_eq!(unit_of("milliseconds"), None);
    }
}
