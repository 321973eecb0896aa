//! The landing page: links, and how each tenant is doing. Server-rendered, without scripts; whatever
//! comes from the configuration or from an error is escaped by the template.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::HeaderValue;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::State;
use crate::session::Label;
use crate::status::TenantStatus;

const STYLE: &str = include_str!("landing.css");

/// The page's `Content-Security-Policy`: this one style sheet, by its hash, and nothing else at all.
pub(super) fn policy() -> HeaderValue {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// The page.
pub(super) fn page(state: &State, ready: bool) -> Bytes {
    let now = (state.now)();
    let tenants = failing_first(state.status.tenants());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Remote assistance exporter" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Remote assistance exporter" }
                p { "Counts Microsoft Intune Remote Help sessions for Prometheus. Version " (state.version) ", started " (time(state.started)) "." }
                nav {
                    ul {
                        li { a href=(state.telemetry_path) { "Metrics" } }
                        li { a href="/status" { "Status as JSON" } }
                        li { a href="/-/healthy" { "Health" } }
                        li { a href="/-/ready" { @if ready { "Ready" } @else { "Not ready yet" } } }
                    }
                }
                h2 { "Tenants" }
                (summary(&tenants))
                @if !tenants.is_empty() { (table(&tenants, now)) }
            }
        }
    };
    page.into_string().into()
}

/// Those that fail stand first: among a hundred tenants they are what somebody came to see.
fn failing_first(mut tenants: Vec<TenantStatus>) -> Vec<TenantStatus> {
    tenants.sort_by_key(|tenant| tenant.up != Some(false));
    tenants
}

fn summary(tenants: &[TenantStatus]) -> Markup {
    let count = |up: Option<bool>| tenants.iter().filter(|tenant| tenant.up == up).count();
    let (failing, unpolled) = (count(Some(false)), count(None));
    html! {
        p {
            (tenants.len()) " configured, "
            @if failing > 0 { span .bad { (failing) " failing" } } @else { "none failing" }
            @if unpolled > 0 { ", " (unpolled) " not polled yet" }
            "."
        }
    }
}

fn table(tenants: &[TenantStatus], now: DateTime<Utc>) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Tenant" }
                    th scope="col" { "Last poll" }
                    th scope="col" { "Last success" }
                    th scope="col" .number { "Sessions counted" }
                    th scope="col" .number { "In progress" }
                    th scope="col" { "Last session" }
                }
            }
            @for tenant in tenants { tbody { (row(tenant, now)) (remarks(tenant)) } }
        }
    }
}

fn row(tenant: &TenantStatus, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            th scope="row" { (tenant.tenant) }
            td data-label="Last poll" {
                @match tenant.up {
                    Some(true) => span .good { "Succeeded" },
                    Some(false) => span .bad { "Failed" },
                    None => span { "Not yet" },
                }
                small { (tenant.source) ", every " (length(TimeDelta::milliseconds((tenant.poll_interval_seconds * 1000.0) as i64))) }
            }
            td data-label="Last success" { (moment(tenant.last_success, now)) }
            td .number data-label="Sessions counted" { (tenant.sessions_counted) }
            td .number data-label="In progress" {
                @match tenant.sessions_in_progress { Some(sessions) => (sessions), None => "unknown" }
            }
            td data-label="Last session" { (moment(tenant.last_session_end, now)) }
        }
    }
}

/// What is wrong, below the tenant's row and as wide as the table: messages are long. Nothing where
/// all is well.
fn remarks(tenant: &TenantStatus) -> Markup {
    html! {
        @let lookup_error = tenant.enrollment_lookup.as_ref().and_then(|lookup| lookup.last_error.as_ref());
        @if tenant.last_error.is_some() || tenant.rows_missing > 0 || lookup_error.is_some() {
            tr .remarks {
                td colspan="6" {
                    @if let Some(error) = &tenant.last_error {
                        p { strong { (error.reason.as_str()) } ": " (error.message) }
                    }
                    @if tenant.rows_missing > 0 {
                        p { "The service left out " (tenant.rows_missing) " rows that it had promised." }
                    }
                    @if let Some(error) = lookup_error {
                        p { "Enrollment states could not be looked up: " strong { (error.reason.as_str()) } ": " (error.message) }
                    }
                }
            }
        }
    }
}

/// A point of time with its age.
fn moment(time: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Markup {
    html! {
        @match time {
            Some(then) => { (length(now - then)) " ago" small { (self::time(then)) } }
            None => "never",
        }
    }
}

fn time(time: DateTime<Utc>) -> Markup {
    let machine = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    html! { time datetime=(machine) { (time.format("%Y-%m-%d %H:%M:%S UTC")) } }
}

/// A length of time in its largest unit, rounded down. Clocks disagree: less than nothing is nothing.
/// Number and unit stay on one line.
fn length(length: TimeDelta) -> String {
    let seconds = length.num_seconds().max(0);
    let (number, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{number}\u{a0}{unit}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeZone;

    use super::*;
    use crate::exposition::{Exposition, HttpMetrics};
    use crate::status::{FailureReason, PollError, Status};

    fn now() -> DateTime<Utc> {
        Utc.timestamp_opt(1_774_000_000, 0).unwrap()
    }

    fn tenant(name: &str) -> TenantStatus {
        TenantStatus::unpolled(name.into(), "sessions_report", Duration::from_secs(300))
    }

    fn rendered(tenants: Vec<TenantStatus>) -> String {
        let http = HttpMetrics::new(now).unwrap();
        let state = State {
            exposition: Exposition::new(Vec::new(), http.clone()),
            http,
            status: Status::default().into(),
            access: Default::default(),
            reloads: None,
            version: "1.2.3",
            started: now() - TimeDelta::hours(1),
            now,
            telemetry_path: "/metrics".into(),
            max_requests: 40,
            limits: Default::default(),
        };
        tenants.into_iter().for_each(|tenant| state.status.set(tenant));
        String::from_utf8(page(&state, false).to_vec()).unwrap()
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let mut hostile = tenant("<script>alert(1)</script>");
        let message = "answered \"<img src=x>\" & more".to_owned();
        hostile.last_error = Some(PollError { reason: FailureReason::InvalidResponse, message });
        let page = rendered(vec![hostile]);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        assert!(page.contains("answered &quot;&lt;img src=x&gt;&quot; &amp; more"), "{page}");
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    }

    #[test]
    fn states_and_ages_are_in_words() {
        let mut well = tenant("contoso");
        well.up = Some(true);
        well.last_success = Some(now() - TimeDelta::seconds(45));
        well.last_session_end = Some(now() - TimeDelta::hours(3));
        well.sessions_counted = 1234;
        well.sessions_in_progress = Some(5);
        let mut ill = tenant("fabrikam");
        ill.up = Some(false);
        ill.rows_missing = 17;
        let page = rendered(vec![well, ill, tenant("litware")]);
        for words in [
            "Succeeded",
            "45\u{a0}s ago",
            "3\u{a0}h ago",
            ">1234<",
            ">5<",
            "2026-03-20 09:45:55 UTC",
            "every 5\u{a0}min",
            "Failed",
            "left out 17 rows",
            "Not yet",
            "never",
            "Not ready yet",
            "Version 1.2.3",
        ] {
            assert!(page.contains(words), "{words} in {page}");
        }
        assert!(page.contains("3 configured, <span class=\"bad\">1 failing</span>, 1 not polled yet."), "{page}");
        let place = |name: &str| page.find(&format!(">{name}</th>")).unwrap();
        assert!(place("fabrikam") < place("contoso") && place("contoso") < place("litware"));
        assert!(rendered(vec![]).contains("0 configured, none failing."));
    }

    #[test]
    fn lengths() {
        for (seconds, words) in [
            (-5, "0 s"),
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(length(TimeDelta::seconds(seconds)), words.replace(' ', "\u{a0}"));
        }
    }

    #[test]
    fn the_policy_allows_the_style_that_is_sent() {
        let page = rendered(vec![]);
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let hash = BASE64_STANDARD.encode(Sha256::digest(style));
        let policy = policy();
        let policy = policy.to_str().unwrap();
        assert!(policy.contains(&format!("style-src 'sha256-{hash}';")), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!page.contains("style="), "an attribute would need unsafe-inline");
    }
}
