//! Paths by which a test steers a simulator that runs in another process. Graph has none of them.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Call};
use super::scenario::Scenario;
use super::state::Shared;

/// What all of these paths begin with.
pub(super) const PREFIX: &str = "/simulator/";

/// Answers a request to one of these paths.
pub(super) fn serve(shared: &Shared, call: &Call) -> Answer {
    let path = call.path.strip_prefix(PREFIX).unwrap_or_default();
    let segments: Vec<_> = path.split('/').collect();
    match (&call.method, segments.as_slice()) {
        (&Method::GET, ["truth"]) => truth(shared, call),
        (&Method::PUT, ["scenario", tenant, name]) => switch(shared, tenant, name, call),
        _ => plain(StatusCode::NOT_FOUND, "GET /simulator/truth or PUT /simulator/scenario/{tenant}/{name}\n"),
    }
}

/// The truth by tenant; with `?full=1` with every session that has ended.
fn truth(shared: &Shared, call: &Call) -> Answer {
    let full = parameter(call, "full").is_some_and(|value| value == "1");
    let mut tenants = Map::new();
    for tenant in shared.tenants() {
        let mut stream = tenant.stream();
        let truth = stream.truth(call.now);
        let mut value = json!({"ended": truth.ended, "by_type": truth.by_type});
        if full {
            let sessions = stream.ended(call.now);
            value["sessions"] = sessions.iter().map(|session| json!(session)).collect::<Vec<_>>().into();
        }
        tenants.insert(tenant.options.name.clone(), value);
    }
    Answer::json(StatusCode::OK, Value::Object(tenants).to_string())
}

/// Switches a scenario on, with `?requests=n` for so many requests.
fn switch(shared: &Shared, tenant: &str, name: &str, call: &Call) -> Answer {
    let Some(tenant) = shared.tenant(tenant) else {
        return plain(StatusCode::NOT_FOUND, format!("no tenant is named {tenant:?}\n"));
    };
    let scenario = match name.parse::<Scenario>() {
        Ok(scenario) => scenario,
        Err(error) => return plain(StatusCode::NOT_FOUND, format!("{error}\n")),
    };
    let Ok(requests) = parameter(call, "requests").map(|number| number.parse()).transpose() else {
        return plain(StatusCode::BAD_REQUEST, "requests is not a number\n");
    };
    shared.switch(&tenant, scenario, requests);
    Answer { headers: vec![], ..plain(StatusCode::NO_CONTENT, "") }
}

fn parameter(call: &Call, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(call.query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn plain(status: StatusCode, text: impl Into<Vec<u8>>) -> Answer {
    Answer::new(status, "text/plain; charset=utf-8", text)
}
