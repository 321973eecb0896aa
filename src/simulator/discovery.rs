//! OpenID Connect discovery: where the endpoints of a tenant are. Microsoft's own libraries ask for it
//! before they ask for a token.

use std::sync::Arc;

use http::{Method, StatusCode, header};
use serde_json::json;

use super::answer::{Answer, Call};
use super::state::{Shared, TenantState};

/// The tenant that a discovery document's path names.
pub(super) fn segment(path: &str) -> Option<&str> {
    let segment = path.strip_prefix('/')?.strip_suffix("/v2.0/.well-known/openid-configuration")?;
    (!segment.contains('/')).then_some(segment)
}

/// Answers a request for the document of a tenant.
pub(super) fn serve(shared: &Shared, segment: &str, call: &Call) -> (Option<Arc<TenantState>>, Answer) {
    if call.method != Method::GET {
        return (None, Answer::new(StatusCode::METHOD_NOT_ALLOWED, "text/html", "").with(header::ALLOW, "GET"));
    }
    let Some(tenant) = shared.tenant_by_segment(segment) else {
        let body = json!({
            "error": "invalid_tenant",
            "error_description": format!("AADSTS90002: Tenant '{segment}' not found."),
            "error_codes": [90002],
        });
        return (None, Answer::json(StatusCode::BAD_REQUEST, body.to_string()));
    };
    let (origin, id) = (shared.origin(call), &tenant.options.tenant_id);
    let document = json!({
        "issuer": format!("{origin}/{id}/v2.0"),
        "authorization_endpoint": format!("{origin}/{id}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{origin}/{id}/oauth2/v2.0/token"),
        "jwks_uri": format!("{origin}/{id}/discovery/v2.0/keys"),
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
    });
    (Some(tenant), Answer::json(StatusCode::OK, document.to_string()))
}
