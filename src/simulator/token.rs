//! The OAuth 2.0 token endpoint of Entra: client credentials with a secret or an assertion.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{Method, StatusCode};
use serde_json::json;

use super::answer::{Answer, CLIENT_REQUEST_ID, Call};
use super::assertion;
use super::scenario::{Part, Scenario};
use super::state::{Shared, TenantState};

/// Why Entra refuses.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    number: u32,
    message: String,
}

/// Answers a request to the token endpoint of a tenant.
pub(super) fn serve(shared: &Shared, segment: &str, call: &Call) -> (Option<Arc<TenantState>>, Answer) {
    let tenant = shared.tenant_by_segment(segment);
    if call.method != Method::POST {
        let answer = Answer::new(StatusCode::METHOD_NOT_ALLOWED, "text/html", "").with(http::header::ALLOW, "POST");
        return (tenant, answer);
    }
    let answer = match grant(shared, tenant.as_ref(), segment, call) {
        Ok(token) => {
            let seconds = shared.options.token_lifetime.as_secs();
            let body = json!({
                "token_type": "Bearer",
                "expires_in": seconds,
                "ext_expires_in": seconds,
                "access_token": token,
            });
            Answer::json(StatusCode::OK, body.to_string())
        }
        Err(refusal) => refuse(call, &refusal),
    };
    (tenant, answer.with(CACHE_CONTROL, "no-store, no-cache").with(PRAGMA, "no-cache"))
}

fn grant(shared: &Shared, tenant: Option<&Arc<TenantState>>, segment: &str, call: &Call) -> Result<String, Refusal> {
    let Some(tenant) = tenant else {
        return Err(refusal(
            400,
            "invalid_request",
            90002,
            format!(
                "Tenant '{segment}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud. Check with your subscription administrator, this may happen if there are no active \
             subscriptions for the tenant."
            ),
        ));
    };
    if tenant.next_scenario(|scenario| scenario.concerns(Part::Token)) == Scenario::TokenTransient {
        let message = "A transient error has occurred. Please try again.".into();
        return Err(refusal(400, "temporarily_unavailable", 90033, message));
    }
    let form = form(call)?;
    let field = |name: &str| {
        let missing = || {
            let message = format!("The request body must contain the following parameter: '{name}'.");
            refusal(400, "invalid_request", 900_144, message)
        };
        form.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    if field("grant_type")? != "client_credentials" {
        let message = "The app requested an unsupported grant type.".into();
        return Err(refusal(400, "unsupported_grant_type", 70003, message));
    }
    let client_id = field("client_id")?;
    check_client(tenant, client_id)?;
    match (form.get("client_secret"), form.get("client_assertion")) {
        (Some(secret), None) => check_secret(tenant, client_id, secret)?,
        (None, Some(assertion)) if field("client_assertion_type")? == assertion::TYPE => {
            let endpoint = format!("{}{}", origin_of(call), call.path);
            let checked = assertion::check(assertion, &tenant.application(), client_id, &endpoint, call.now);
            checked.map_err(|(number, message)| refusal(401, "invalid_client", number, message))?;
        }
        _ => {
            let message =
                "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.";
            return Err(refusal(401, "invalid_client", 7_000_216, message.into()));
        }
    }
    let resource = check_scope(shared, field("scope")?)?;
    Ok(shared.issue(tenant, resource, call.now))
}

fn form(call: &Call) -> Result<HashMap<String, String>, Refusal> {
    let is_form = |kind: &str| kind.split(';').next().unwrap_or_default().trim() == "application/x-www-form-urlencoded";
    if !call.header(CONTENT_TYPE).is_some_and(is_form) {
        let message = "The request body must be of content type 'application/x-www-form-urlencoded'.".into();
        return Err(refusal(400, "invalid_request", 900_144, message));
    }
    Ok(url::form_urlencoded::parse(&call.body).into_owned().collect())
}

fn check_client(tenant: &TenantState, client_id: &str) -> Result<(), Refusal> {
    let known = &tenant.options;
    if client_id.eq_ignore_ascii_case(&known.client_id) {
        return Ok(());
    }
    Err(refusal(
        400,
        "unauthorized_client",
        700_016,
        format!(
            "Application with identifier '{client_id}' was not found in the directory '{}'. This can happen if the \
             application has not been installed by the administrator of the tenant or consented to by any user in \
             the tenant. You may have sent your authentication request to the wrong tenant.",
            known.tenant_id
        ),
    ))
}

fn check_secret(tenant: &TenantState, client_id: &str, secret: &str) -> Result<(), Refusal> {
    let known = &tenant.options;
    if known.expired_secret.as_deref() == Some(secret) {
        return Err(refusal(
            401,
            "invalid_client",
            7_000_222,
            format!(
                "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new \
             keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added \
             security: https://aka.ms/certCreds."
            ),
        ));
    }
    if !tenant.application().secrets.iter().any(|known| known == secret) {
        return Err(refusal(
            401,
            "invalid_client",
            7_000_215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, \
             not the client secret ID, for a secret added to app '{client_id}'."
            ),
        ));
    }
    Ok(())
}

fn check_scope<'s>(shared: &Shared, scope: &'s str) -> Result<&'s str, Refusal> {
    let Some(resource) = scope.strip_suffix("/.default") else {
        return Err(refusal(
            400,
            "invalid_scope",
            1_002_012,
            format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with \
             /.default suffixed to the resource identifier (application ID URI)."
            ),
        ));
    };
    if !shared.origins().any(|origin| origin == resource) {
        return Err(refusal(
            400,
            "invalid_resource",
            500_011,
            format!(
                "The resource principal named {resource} was not found in the tenant. This can happen if the application \
             has not been installed by the administrator of the tenant or consented to by any user in the tenant."
            ),
        ));
    }
    Ok(resource)
}

fn refusal(status: u16, error: &'static str, number: u32, message: String) -> Refusal {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Refusal { status, error, number, message }
}

fn refuse(call: &Call, refusal: &Refusal) -> Answer {
    let Refusal { status, error, number, message } = refusal;
    let timestamp = call.now.format("%Y-%m-%d %H:%M:%SZ").to_string();
    let trace = &call.request_id;
    let correlation = call.header(CLIENT_REQUEST_ID).unwrap_or(trace);
    let description = format!(
        "AADSTS{number}: {message}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {timestamp}"
    );
    let body = json!({
        "error": error,
        "error_description": description,
        "error_codes": [number],
        "timestamp": timestamp,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": format!("{}/error?code={number}", origin_of(call)),
    });
    Answer::json(*status, body.to_string())
}

fn origin_of(call: &Call) -> String {
    format!("https://{}", call.header(http::header::HOST).unwrap_or("localhost"))
}
