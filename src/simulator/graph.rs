//! Graph's resources: which there are, who may read them, and what is refused.

use std::sync::Arc;

use http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderName, Method, StatusCode};
use serde_json::json;

use super::answer::{Answer, Call};
use super::collection::{self, PageRequest};
use super::devices::{self, List};
use super::export::{self, JobRequest, NewJob, Place};
use super::faults;
use super::report::{self, ReportRequest};
use super::scenario::{Part, Scenario};
use super::state::{Shared, TenantState};
use super::tokens::Token;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const UNKNOWN_MEMBERS: &str = "include-unknown-enum-members";

const ODATA: &str =
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource<'a> {
    Report,
    Collection,
    Devices(List),
    Gateway(&'a str),
    /// The export jobs of an API version.
    ExportJobs(&'a str),
    /// One of them, by id.
    ExportJob(&'a str, &'a str),
}

impl<'a> Resource<'a> {
    fn at(path: &'a str) -> Option<Self> {
        match path {
            report::PATH => Some(Self::Report),
            collection::PATH => Some(Self::Collection),
            path if path.contains(export::PATH) => {
                let (version, rest) = path.strip_prefix('/')?.split_once(export::PATH)?;
                let resource =
                    if rest.is_empty() { Self::ExportJobs(version) } else { Self::ExportJob(version, key(rest)?) };
                matches!(version, "v1.0" | "beta").then_some(resource)
            }
            path => {
                if let Some(list) = List::at(path) {
                    return Some(Self::Devices(list));
                }
                let (tenant, segment) = path.strip_prefix("/gateway/")?.split_once('/')?;
                (segment == collection::SEGMENT).then_some(Self::Gateway(tenant))
            }
        }
    }

    /// Whether it has the limits of reports.
    fn is_limited(self) -> bool {
        matches!(self, Self::Report | Self::ExportJobs(_) | Self::ExportJob(..))
    }

    fn method(self) -> Method {
        match self {
            Self::Report | Self::ExportJobs(_) => Method::POST,
            Self::Collection | Self::Devices(_) | Self::Gateway(_) | Self::ExportJob(..) => Method::GET,
        }
    }

    fn part(self) -> Part {
        match self {
            Self::Report | Self::Collection | Self::Devices(_) | Self::Gateway(_) => Part::Sessions,
            Self::ExportJobs(_) => Part::Submission,
            Self::ExportJob(..) => Part::Job,
        }
    }

    /// The roles that the service names when none of them is there.
    fn roles(self) -> &'static str {
        match self {
            Self::ExportJobs(_) | Self::ExportJob(..) => {
                "DeviceManagementApps.Read.All, DeviceManagementApps.ReadWrite.All, \
                 DeviceManagementConfiguration.Read.All, DeviceManagementConfiguration.ReadWrite.All, \
                 DeviceManagementManagedDevices.Read.All, DeviceManagementManagedDevices.ReadWrite.All"
            }
            Self::Devices(list) => list.roles(),
            _ => "DeviceManagementServiceConfig.Read.All, DeviceManagementConfiguration.Read.All",
        }
    }
}

/// The key of an entity: `('key')`, or a segment of its own.
fn key(rest: &str) -> Option<&str> {
    let quoted = rest.strip_prefix("('").and_then(|rest| rest.strip_suffix("')"));
    let encoded = || rest.strip_prefix("(%27").and_then(|rest| rest.strip_suffix("%27)"));
    let key = quoted.or_else(encoded).or_else(|| rest.strip_prefix('/'))?;
    (!key.is_empty() && !key.contains('/')).then_some(key)
}

/// Answers a request to Graph, or to a gateway in front of it.
pub(super) fn serve(shared: &Shared, call: &Call) -> (Option<Arc<TenantState>>, Answer) {
    let token = bearer(call).and_then(|text| shared.tokens().find(text));
    let tenant = token.as_ref().map(|token| token.tenant.clone());
    let Some(resource) = Resource::at(&call.path) else {
        return (tenant, no_such_resource(call));
    };
    if matches!(resource, Resource::ExportJobs(_)) && call.method == Method::GET {
        return (tenant, no_list_of_jobs(call));
    }
    if call.method != resource.method() {
        return (tenant, wrong_method(call, &resource.method()));
    }
    if let Resource::Gateway(name) = resource {
        let Some(tenant) = shared.tenant(name).or_else(|| shared.tenant_by_segment(name)) else {
            return (None, no_such_resource(call));
        };
        let scenario = tenant.next_scenario(|scenario| {
            scenario.concerns(Part::Sessions) && !matches!(scenario, Scenario::ExpiredToken | Scenario::MissingRole)
        });
        let answer = spoilt(shared, &tenant, resource, call, scenario);
        return (Some(tenant), answer);
    }
    let answer = match token {
        None => {
            unauthorized(call, bearer(call).map_or("Access token is empty.", |_| "IDX14100: JWT is not well formed."))
        }
        Some(token) => authorized(shared, &token, resource, call),
    };
    (tenant, answer)
}

fn authorized(shared: &Shared, token: &Token, resource: Resource<'_>, call: &Call) -> Answer {
    const EXPIRED: &str = "Lifetime validation failed, the token is expired.";
    let tenant = &token.tenant;
    if call.now >= token.expires {
        return unauthorized(call, EXPIRED);
    }
    let applies = |scenario: Scenario| match scenario {
        Scenario::ExpiredToken => tenant.has_expired(token.serial),
        scenario => scenario.concerns(resource.part()),
    };
    let (scenario, permitted) = match resource {
        Resource::Devices(list) => (tenant.next_device_scenario(applies), list.is_permitted(&tenant.options)),
        _ => (tenant.next_scenario(applies), tenant.options.permitted),
    };
    match scenario {
        Scenario::ExpiredToken => unauthorized(call, EXPIRED),
        Scenario::MissingRole => forbidden(call, resource),
        _ if !permitted => forbidden(call, resource),
        _ => spoilt(shared, tenant, resource, call, scenario),
    }
}

/// The answer as the scenario will have it.
fn spoilt(shared: &Shared, tenant: &TenantState, resource: Resource<'_>, call: &Call, scenario: Scenario) -> Answer {
    let scenario = match scenario {
        Scenario::RateLimited if resource.is_limited() && !tenant.admits(&shared.options) => Scenario::ThrottledSilent,
        scenario => scenario,
    };
    if let Some(answer) = faults::instead(scenario, call, &shared.options) {
        return answer;
    }
    let answer = match resource {
        Resource::Report => report_page(shared, tenant, call, scenario),
        Resource::Devices(list) => device_page(shared, tenant, call, list, scenario),
        Resource::Collection | Resource::Gateway(_) => collection_page(shared, tenant, call, scenario),
        Resource::ExportJobs(version) => new_job(shared, tenant, version, call, scenario),
        Resource::ExportJob(_, _) if scenario == Scenario::JobLost => no_such_resource(call),
        Resource::ExportJob(version, id) => job(shared, tenant, (version, id), call),
    };
    faults::damaged(scenario, answer, &shared.options)
}

fn report_page(shared: &Shared, tenant: &TenantState, call: &Call, scenario: Scenario) -> Answer {
    let bad = |message: &str| Answer::error(call, StatusCode::BAD_REQUEST, "BadRequest", message);
    let request = match ReportRequest::parse(&call.body) {
        Ok(request) => request,
        Err(message) => return bad(&message),
    };
    let snapshot = {
        let mut stream = tenant.stream();
        let pinned = request.snapshot().and_then(|id| stream.pinned(id));
        pinned.unwrap_or_else(|| stream.snapshot(call.now, scenario))
    };
    let layout = report::Layout { extended: shared.options.extended_columns, page_size: shared.options.page_size };
    match report::page(&snapshot, &request, layout, scenario) {
        Ok(body) => Answer::new(StatusCode::OK, "application/octet-stream", body),
        Err(message) => bad(&message),
    }
}

fn collection_page(shared: &Shared, tenant: &TenantState, call: &Call, scenario: Scenario) -> Answer {
    let bad = |message: &str| Answer::error(call, StatusCode::BAD_REQUEST, "BadRequest", message);
    let request = match PageRequest::parse(&call.query) {
        Ok(request) => request,
        Err(message) => return bad(&message),
    };
    let snapshot = {
        let mut stream = tenant.stream();
        match request.token {
            None => stream.snapshot(call.now, scenario),
            Some(token) => match stream.pinned(token.snapshot) {
                Some(snapshot) => snapshot,
                None => return bad("The skip token has expired."),
            },
        }
    };
    let unknown_members = call.headers.get_all(PREFER).iter().any(|value| {
        value.to_str().is_ok_and(|value| value.split([',', ';']).any(|token| token.trim() == UNKNOWN_MEMBERS))
    });
    let layout = collection::Layout {
        origin: &shared.origin(call),
        foreign_origin: &shared.options.foreign_origin,
        path: &call.path,
        page_size: shared.options.page_size,
        unknown_members,
    };
    let answer = Answer::new(StatusCode::OK, ODATA, collection::page(&snapshot, request, &layout, scenario));
    if unknown_members { answer.with(PREFERENCE_APPLIED, UNKNOWN_MEMBERS) } else { answer }
}

fn device_page(shared: &Shared, tenant: &TenantState, call: &Call, list: List, scenario: Scenario) -> Answer {
    let layout = devices::Layout {
        origin: &shared.origin(call),
        foreign_origin: &shared.options.foreign_origin,
        page_size: shared.options.page_size,
    };
    match devices::page(&tenant.devices(), list, &call.query, &layout, scenario) {
        Ok(body) => Answer::new(StatusCode::OK, ODATA, body),
        Err(message) => Answer::error(call, StatusCode::BAD_REQUEST, "BadRequest", &message),
    }
}

/// The only request to Graph that makes something: a job, which changes nothing of the tenant.
fn new_job(shared: &Shared, tenant: &TenantState, version: &str, call: &Call, scenario: Scenario) -> Answer {
    let request = match JobRequest::parse(&call.body) {
        Ok(request) => request,
        Err(message) => return Answer::error(call, StatusCode::BAD_REQUEST, "BadRequest", &message),
    };
    let snapshot = tenant.stream().snapshot(call.now, scenario);
    let new = NewJob {
        request,
        scenario,
        snapshot,
        extended: shared.options.extended_columns,
        looks_in_progress: shared.options.export_looks,
        tenant_id: &tenant.options.tenant_id,
        now: call.now,
    };
    let (origin, blob_origin) = (shared.origin(call), shared.blob_origin());
    let place = Place { origin: &origin, version, blob_origin: &blob_origin };
    let job = tenant.jobs().submit(new).submitted(&place);
    Answer::new(StatusCode::CREATED, ODATA, job.to_string())
}

fn job(shared: &Shared, tenant: &TenantState, (version, id): (&str, &str), call: &Call) -> Answer {
    let (origin, blob_origin) = (shared.origin(call), shared.blob_origin());
    let place = Place { origin: &origin, version, blob_origin: &blob_origin };
    match tenant.jobs().find(id) {
        Some(job) => Answer::new(StatusCode::OK, ODATA, job.look(call.now, &place).to_string()),
        None => no_such_resource(call),
    }
}

/// Jobs cannot be listed. The words are the service's; with which status it says them is not known.
fn no_list_of_jobs(call: &Call) -> Answer {
    Answer::error(call, StatusCode::BAD_REQUEST, "BadRequest", "No method match route template")
}

fn bearer(call: &Call) -> Option<&str> {
    let (scheme, token) = call.header(AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn unauthorized(call: &Call, message: &str) -> Answer {
    Answer::error(call, StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
        .with(WWW_AUTHENTICATE, r#"Bearer realm="", authorization_uri="https://localhost/common/oauth2/authorize""#)
}

/// Intune puts a JSON document inside the message.
fn forbidden(call: &Call, resource: Resource<'_>) -> Answer {
    let message = json!({
        "_version": 3,
        "Message": format!(
            "Application is not authorized to perform this operation. Application must have one of the following \
             scopes: {} - Operation ID (for customer support): 00000000-0000-0000-0000-000000000000 - Activity ID: {} \
             - Url: https://{}{}",
            resource.roles(),
            call.client_request_id(),
            call.header(http::header::HOST).unwrap_or("localhost"),
            call.path,
        ),
        "CustomApiErrorPhrase": "",
        "RetryAfter": null,
        "ErrorSourceService": "",
        "HttpHeaders": "{}",
    });
    Answer::error(call, StatusCode::FORBIDDEN, "Forbidden", &format!("{message:#}").replace('\n', "\r\n"))
}

fn no_such_resource(call: &Call) -> Answer {
    if call.method == Method::GET || call.method == Method::HEAD {
        let segment = call.path.rsplit('/').next().unwrap_or_default();
        let message = format!("Resource not found for the segment '{segment}'.");
        return Answer::error(call, StatusCode::NOT_FOUND, "ResourceNotFound", &message);
    }
    refused_write(call, StatusCode::FORBIDDEN)
}

fn wrong_method(call: &Call, allowed: &Method) -> Answer {
    let answer = if call.method == Method::GET || call.method == Method::HEAD {
        Answer::error(call, StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Use another method.")
    } else {
        refused_write(call, StatusCode::METHOD_NOT_ALLOWED)
    };
    answer.with(ALLOW, allowed.as_str())
}

/// Whatever would change something is refused and marked, so that a test can say it never happened.
fn refused_write(call: &Call, status: StatusCode) -> Answer {
    let message = "The simulator is read-only: this call would have changed the tenant.";
    Answer { write: true, ..Answer::error(call, status, "WriteRefused", message) }
}
