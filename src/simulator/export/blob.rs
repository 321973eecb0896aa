//! The blob storage that exports are downloaded from: an origin of its own, which wants the signature in
//! the address and refuses a request that brings anything else to authorize it.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION};
use http::{Method, StatusCode};

use super::super::answer::{Answer, Call, Payload};
use super::super::body::{Script, Step};
use super::super::faults;
use super::super::scenario::{Part, Scenario};
use super::super::state::{Shared, TenantState};
use super::{Job, archive};

/// Where the files are.
pub const CONTAINER: &str = "/exports/";
/// The version of the protocol.
pub const VERSION: &str = "2021-12-02";

const ARCHIVE: &str = "application/octet-stream";

/// Answers a request to blob storage, and says whose file it wants.
pub fn serve(shared: &Shared, call: &Call) -> (Option<Arc<TenantState>>, Answer) {
    let wanted = call.path.strip_prefix(CONTAINER).and_then(|name| name.strip_suffix(".zip")).and_then(|id| {
        shared.tenants().iter().find_map(|tenant| Some((tenant.clone(), tenant.jobs().find(id)?.clone())))
    });
    let Some((tenant, job)) = wanted else {
        return (None, refusal(call, StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist."));
    };
    let answer = file(shared, &tenant, &job, call);
    (Some(tenant), answer)
}

fn file(shared: &Shared, tenant: &TenantState, job: &Job, call: &Call) -> Answer {
    if call.headers.contains_key(AUTHORIZATION) || call.headers.contains_key(COOKIE) {
        let message = "Authentication information is not given in the correct format.";
        return refusal(call, StatusCode::BAD_REQUEST, "InvalidAuthenticationInfo", message);
    }
    if call.method != Method::GET {
        let message = "The resource doesn't support the specified Http Verb.";
        return refusal(call, StatusCode::METHOD_NOT_ALLOWED, "UnsupportedHttpVerb", message);
    }
    let signature = url::form_urlencoded::parse(call.query.as_bytes()).find(|(name, _)| name == "sig");
    let signed = signature.is_some_and(|(_, signature)| signature == job.signature);
    let scenario = tenant.next_scenario(|scenario| scenario.concerns(Part::Download));
    if !signed || scenario == Scenario::DownloadExpired || job.expires.is_none_or(|expires| call.now >= expires) {
        // The details repeat the query, as details are wont to.
        let message = "Server failed to authenticate the request. Make sure the value of Authorization header is \
                       formed correctly including the signature.";
        return refusal(call, StatusCode::FORBIDDEN, "AuthenticationFailed", message);
    }
    answer(shared, job, call, scenario)
}

fn answer(shared: &Shared, job: &Job, call: &Call, scenario: Scenario) -> Answer {
    const HTML: &str = "text/html; charset=utf-8";
    const PAGE: &str = "<!DOCTYPE html><html><body>Please sign in to this network.</body></html>";
    let archive = || match job.archive() {
        Ok(archive) => whole(archive),
        Err(error) => refusal(call, StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &error.to_string()),
    };
    let files = |files: &[(&str, &[u8])]| archive::zip(files).map_or_else(|_| archive(), whole);
    match scenario {
        Scenario::DownloadGone => {
            refusal(call, StatusCode::NOT_FOUND, "BlobNotFound", "The specified blob does not exist.")
        }
        Scenario::DownloadUnavailable => {
            refusal(call, StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", "The server is busy.")
        }
        Scenario::DownloadCut => faults::with_a_break(archive(), Step::Cut),
        Scenario::DownloadHuge => faults::endless(ARCHIVE),
        Scenario::DownloadRedirect => {
            let location = format!("{}{}?{}", shared.options.foreign_origin, call.path, call.query);
            Answer::new(StatusCode::FOUND, HTML, "").with(LOCATION, location)
        }
        Scenario::DownloadHtml => Answer::new(StatusCode::OK, HTML, PAGE),
        Scenario::DownloadNoZip => whole(b"SessionId,Sessionstart,Sessionend\r\n".to_vec()),
        Scenario::ZipEmpty => files(&[]),
        Scenario::ZipTwoFiles => files(&[("a.csv", b"SessionId\r\n"), ("b.csv", b"SessionId\r\n")]),
        Scenario::ZipBomb => bomb(),
        _ => archive(),
    }
}

/// An archive, which blob storage sends as it has it.
fn whole(archive: Vec<u8>) -> Answer {
    Answer::new(StatusCode::OK, ARCHIVE, archive)
}

fn bomb() -> Answer {
    let archive::Bomb { opening, spaces: (piece, pieces), trailer } = &*archive::BOMB;
    let length = opening.len() as u64 + piece.len() as u64 * pieces + trailer.len() as u64;
    let steps = [Step::Data(opening.clone()), Step::Repeat(piece.clone(), *pieces), Step::Data(trailer.clone())];
    let headers = vec![(CONTENT_TYPE, ARCHIVE.to_owned()), (CONTENT_LENGTH, length.to_string())];
    Answer { status: StatusCode::OK, headers, payload: Payload::Scripted(Script::new(steps)), write: false }
}

fn refusal(call: &Call, status: StatusCode, code: &str, message: &str) -> Answer {
    let xml = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}\nRequestId:{}\n\
         Time:{}</Message><AuthenticationErrorDetail>{}</AuthenticationErrorDetail></Error>",
        call.request_id,
        call.now.format("%Y-%m-%dT%H:%M:%S%.6f0Z"),
        call.query.replace('&', "&amp;"),
    );
    Answer::new(status, "application/xml", Bytes::from(xml))
}
