//! Graph's resources: which there are, who may read them, and what is refused.

use std::sync::Arc;

use http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderName, Method, StatusCode};
use serde_json::json;

use super::answer::{Answer, Call};
use super::collection::{self, PageRequest};
use super::faults;
use super::report::{self, ReportRequest};
use super::scenario::Scenario;
use super::state::{Shared, TenantState};
use super::tokens::Token;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const UNKNOWN_MEMBERS: &str = "include-unknown-enum-members";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource<'a> {
    Report,
    Collection,
    Gateway(&'a str),
}

impl<'a> Resource<'a> {
    fn at(path: &'a str) -> Option<Self> {
        match path {
            report::PATH => Some(Self::Report),
            collection::PATH => Some(Self::Collection),
            path => {
                let (tenant, segment) = path.strip_prefix("/gateway/")?.split_once('/')?;
                (segment == collection::SEGMENT).then_some(Self::Gateway(tenant))
            }
        }
    }

    /// Whether it has the limits of reports.
    fn is_limited(self) -> bool {
        self == Self::Report
    }

    fn method(self) -> Method {
        match self {
            Self::Report => Method::POST,
            Self::Collection | Self::Gateway(_) => Method::GET,
        }
    }
}

/// Answers a request to Graph, or to a gateway in front of it.
pub(super) fn serve(shared: &Shared, call: &Call) -> (Option<Arc<TenantState>>, Answer) {
    let token = bearer(call).and_then(|text| shared.tokens().find(text));
    let tenant = token.as_ref().map(|token| token.tenant.clone());
    let Some(resource) = Resource::at(&call.path) else {
        return (tenant, no_such_resource(call));
    };
    if call.method != resource.method() {
        return (tenant, wrong_method(call, &resource.method()));
    }
    if let Resource::Gateway(name) = resource {
        let Some(tenant) = shared.tenant(name).or_else(|| shared.tenant_by_segment(name)) else {
            return (None, no_such_resource(call));
        };
        let scenario = tenant.next_scenario(|scenario| {
            !matches!(scenario, Scenario::TokenTransient | Scenario::ExpiredToken | Scenario::MissingRole)
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
    let scenario = tenant.next_scenario(|scenario| match scenario {
        Scenario::TokenTransient => false,
        Scenario::ExpiredToken => tenant.has_expired(token.serial),
        _ => true,
    });
    match scenario {
        Scenario::ExpiredToken => unauthorized(call, EXPIRED),
        Scenario::MissingRole => forbidden(call),
        _ if !tenant.options.permitted => forbidden(call),
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
        Resource::Collection | Resource::Gateway(_) => collection_page(shared, tenant, call, scenario),
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
    let answer = Answer::new(
        StatusCode::OK,
        "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
        collection::page(&snapshot, request, &layout, scenario),
    );
    if unknown_members { answer.with(PREFERENCE_APPLIED, UNKNOWN_MEMBERS) } else { answer }
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
fn forbidden(call: &Call) -> Answer {
    let message = json!({
        "_version": 3,
        "Message": format!(
            "Application is not authorized to perform this operation. Application must have one of the following \
             scopes: DeviceManagementServiceConfig.Read.All, DeviceManagementConfiguration.Read.All - Operation ID \
             (for customer support): 00000000-0000-0000-0000-000000000000 - Activity ID: {} - Url: https://{}{}",
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
