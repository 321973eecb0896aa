//! The landing page: what this is, how it is, links, and how each tenant is doing. All of them stand on one
//! page, which is then searched as any page is; those that want somebody come first, and links lead to
//! each group. It has some two megabytes where a thousand tenants fail, and a third of that otherwise.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::State;
use super::page::{self, length, time};
use crate::session::Label as _;
use crate::status::{
    Condition, ConfigurationStatus, Refused, STALE_AFTER_INTERVALS, TenantStatus, WebConfigurationStatus,
    certificate_ends,
};

/// The page.
pub(super) fn page(state: &State, ready: bool) -> Bytes {
    let now = (state.now)();
    let stalled = state.status.stalled();
    let configuration = state.status.configuration();
    let web = state.status.web_configuration();
    let configurations = [
        ("Configuration", configuration.as_ref().map(|found| (found.loaded, found.refused.as_ref()))),
        ("Web configuration", web.as_ref().map(|found| (found.loaded, found.refused.as_ref()))),
    ];
    let mut tenants: Vec<_> = state.status.tenants().into_iter().map(|row| (row.condition(now), row)).collect();
    tenants.sort_by_key(|(condition, _)| place(*condition));
    let header = html! {
        p { "Counts Microsoft Intune Remote Help sessions for Prometheus, each exactly once." }
        nav aria-label="Pages" {
            ul {
                li { a href=(state.telemetry_path) { "Metrics" } }
                li { a href="/config" { "Configuration" } }
                li { a href="/status" { "Status as JSON" } }
                li { a href="/-/healthy" { "Health" } }
                li { a href="/-/ready" { "Readiness" } }
            }
        }
    };
    let main = html! {
        (troubles(&stalled, configuration.as_ref(), now))
        @if let Some(web) = &web { (web_troubles(web, now)) }
        (facts(state, ready, &stalled, configurations, now))
        section aria-labelledby="tenants" {
            h2 #tenants { "Tenants" }
            (summary(&tenants))
            @if !tenants.is_empty() { (table(&tenants, now)) }
        }
        p .quiet { "As of " (time(now)) ". Load the page again for newer numbers." }
    };
    page::page("", &header, &main)
}

/// What concerns the exporter as a whole and wants somebody.
fn troubles(stalled: &[&str], configuration: Option<&ConfigurationStatus>, now: DateTime<Utc>) -> Markup {
    html! {
        @if !stalled.is_empty() {
            section .notice {
                h2 { "Unhealthy" }
                p { "Not heard of for too long: " (stalled.join(", ")) ". Restart the exporter; no count is lost." }
            }
        }
        @if let Some(configuration) = configuration && let Some(refused) = &configuration.refused {
            section .notice {
                h2 { "The configuration could not be reloaded" }
                p .message { (refused.message) }
                p { "Tried " (ago(refused.time, now)) ". The one loaded " (ago(configuration.loaded, now)) " stays in force until a reload succeeds." }
            }
        }
    }
}

/// The same of the web server's own configuration.
fn web_troubles(web: &WebConfigurationStatus, now: DateTime<Utc>) -> Markup {
    html! {
        @if let Some(refused) = &web.refused {
            section .notice {
                h2 { "The web configuration could not be reloaded" }
                p .message { (refused.message) }
                p { "Refused for " (length(now - refused.time)) ". The one loaded " (ago(web.loaded, now)) " stays in force until the file is mended, which is seen within seconds." }
            }
        }
        @if let Some(end) = web.certificate_expires.filter(|end| certificate_ends(*end, now)) {
            section .notice {
                h2 { "The server's certificate " @if end > now { "expires in " (length(end - now)) } @else { "has expired" } }
                p {
                    @if end > now { "It ends" } @else { "It ended" } " at " (time(end)) ". Scrapers that verify it get no metrics from then on. Renew it and replace what "
                    code { "cert_file" } " and " code { "key_file" } " of " code { "tls_server_config" } " name: new files need no restart."
                }
            }
        }
    }
}

/// When a configuration was loaded, and the one that was refused since.
type Loaded<'a> = Option<(DateTime<Utc>, Option<&'a Refused>)>;

fn facts(
    state: &State,
    ready: bool,
    stalled: &[&str],
    configurations: [(&str, Loaded<'_>); 2],
    now: DateTime<Utc>,
) -> Markup {
    html! {
        dl .facts {
            div { dt { "Version" } dd { (state.version) } }
            div { dt { "Up for" } dd { (length(now - state.started)) small { "since " (time(state.started)) } } }
            div {
                dt { "Health" }
                dd { @if stalled.is_empty() { (badge("good", "Healthy")) } @else { (badge("bad", "Unhealthy")) } }
            }
            div {
                dt { "Readiness" }
                dd {
                    @if ready { (badge("good", "Ready")) } @else {
                        (badge("wait", "Not ready")) small { "first polls have yet to end" }
                    }
                }
            }
            @if let Some(sharding) = state.status.sharding() && sharding.total > 1 {
                div {
                    dt { "Shard" }
                    dd {
                        (sharding.ordinal) " of 0 to " (sharding.total - 1)
                        small { (state.status.tenants().len()) " of " (sharding.tenants_configured) " tenants are this shard's" }
                    }
                }
            }
            @for (name, found) in configurations {
                @if let Some((loaded, refused)) = found {
                    div {
                        dt { (name) }
                        dd {
                            @if refused.is_some() { (badge("bad", "Reload failed")) } @else { (badge("good", "Loaded")) }
                            small { "in force since " (time(loaded)) }
                        }
                    }
                }
            }
        }
    }
}

/// Those that want somebody stand first: among a thousand tenants they are what somebody came to see.
fn place(condition: Condition) -> usize {
    ORDER.iter().position(|group| group.condition == condition).unwrap_or(ORDER.len())
}

struct Group {
    condition: Condition,
    /// How it looks.
    class: &'static str,
    /// What it is called in a tenant's row.
    word: &'static str,
    /// What so many tenants are.
    many: &'static str,
}

const ORDER: &[Group] = &[
    Group { condition: Condition::Failing, class: "bad", word: "Failing", many: "failing" },
    Group { condition: Condition::Stale, class: "bad", word: "Overdue", many: "overdue" },
    Group { condition: Condition::Warning, class: "warn", word: "Warning", many: "with a warning" },
    Group { condition: Condition::Unpolled, class: "wait", word: "Not polled yet", many: "not polled yet" },
    Group { condition: Condition::Fine, class: "good", word: "OK", many: "OK" },
];

fn summary(tenants: &[(Condition, TenantStatus)]) -> Markup {
    let count = |wanted| tenants.iter().filter(|(condition, _)| *condition == wanted).count();
    let groups = ORDER.iter().map(|group| (group, count(group.condition))).filter(|(_, count)| *count > 0);
    let sessions: u64 = tenants.iter().map(|(_, row)| row.sessions_counted).sum();
    html! {
        p {
            (tenants.len()) @if tenants.len() == 1 { " tenant" } @else { " tenants" }
            ", " (sessions) @if sessions == 1 { " session" } @else { " sessions" } " counted."
        }
        ul .groups {
            @for (group, count) in groups {
                li { a href={ "#" (group.condition.as_str()) } { (badge(group.class, &format!("{count} {}", group.many))) } }
            }
        }
    }
}

fn table(tenants: &[(Condition, TenantStatus)], now: DateTime<Utc>) -> Markup {
    let mut last = None;
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Tenant" }
                    th scope="col" { "State" }
                    th scope="col" { "Last success" }
                    th scope="col" .number { "Sessions counted" }
                    th scope="col" .number { "In progress" }
                    th scope="col" { "Last session ended" }
                }
            }
            @for (condition, tenant) in tenants {
                @let first = last.replace(*condition) != Some(*condition);
                tbody id=[first.then(|| condition.as_str())] {
                    (row(*condition, tenant, now))
                    (remarks(*condition, tenant, now))
                }
            }
        }
    }
}

fn row(condition: Condition, tenant: &TenantStatus, now: DateTime<Utc>) -> Markup {
    let group = &ORDER[place(condition)];
    let interval = length(TimeDelta::milliseconds((tenant.poll_interval_seconds * 1000.0) as i64));
    html! {
        tr {
            th scope="row" { (tenant.tenant) small { (tenant.source) ", every " (interval) } }
            td data-label="State" {
                (badge(group.class, group.word))
                @if let Some(polled) = tenant.last_poll { small { "polled " (ago(polled, now)) } }
            }
            td data-label="Last success" {
                @match tenant.last_success {
                    Some(success) => {
                        (ago(success, now))
                        @if tenant.is_stale(now) { " " (badge("bad", "old")) }
                        small { (time(success)) }
                    }
                    None => "never",
                }
            }
            td .number data-label="Sessions counted" { (tenant.sessions_counted) }
            td .number data-label="In progress" {
                @match tenant.sessions_in_progress { Some(sessions) => (sessions), None => "unknown" }
            }
            td data-label="Last session ended" {
                @match tenant.last_session_end {
                    Some(end) => { (ago(end, now)) small { (time(end)) } }
                    None => "never",
                }
            }
        }
    }
}

/// What is wrong and what to do, below the tenant's row and as wide as the table: messages are long.
/// Nothing where all is well.
fn remarks(condition: Condition, tenant: &TenantStatus, now: DateTime<Utc>) -> Markup {
    let lookup = tenant.enrollment_lookup.as_ref().and_then(|lookup| lookup.last_error.as_ref());
    let credential = tenant.credential_expires.filter(|_| tenant.credential_ends(now));
    let files = tenant.files_set_aside;
    let any = tenant.last_error.is_some() || lookup.is_some() || credential.is_some();
    html! {
        @if any || condition == Condition::Stale || tenant.rows_missing > 0 || files > 0 {
            tr .remarks {
                td colspan="6" {
                    @if let Some(error) = &tenant.last_error {
                        p .message { (error.message) }
                        p .quiet { "Counted in " code { "remote_assistance_poll_failures_total" } " as " code { (error.reason.as_str()) } "." }
                    } @else if condition == Condition::Stale {
                        p { "No poll has succeeded for over " (STALE_AFTER_INTERVALS) " intervals, and none has failed: one is still under way or waits for its turn. The log says what it does." }
                    }
                    @if let Some(end) = credential {
                        p {
                            "The credential's certificate " @if end > now { "expires in " (length(end - now)) } @else { "has expired" }
                            ", " (time(end)) ". Add a new one to the app registration and replace " code { "certificate_file" } "."
                        }
                    }
                    @if files > 0 {
                        p { (files) @if files == 1 { " file" } @else { " files" } " of the directory cannot be read to the end. The log names each; mend it or take it away." }
                    }
                    @if tenant.rows_missing > 0 {
                        p { "The service left out " (tenant.rows_missing) @if tenant.rows_missing == 1 { " row" } @else { " rows" } " that it had promised. Each poll reads them again." }
                    }
                    @if let Some(error) = lookup {
                        p .message { "Enrollment states could not be looked up: " (error.message) }
                    }
                }
            }
        }
    }
}

/// A state in a word, with a sign and a colour that say the same.
fn badge(class: &str, word: &str) -> Markup {
    html! { span class={ "badge " (class) } { (word) } }
}

fn ago(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ago", length(now - then))
}

#[cfg(test)]
mod tests;
