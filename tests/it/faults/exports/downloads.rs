//! Downloads from blob storage: addresses that open nothing, files that are none, and what passes.

use remote_assistance_exporter::simulator::Scenario;
use remote_assistance_exporter::status::FailureReason;

use super::Exports;
use crate::support::stand_ins;

#[tokio::test]
async fn an_address_that_opens_nothing_leads_to_a_fresh_job() {
    let _stand_ins = stand_ins();
    let mut failures = Vec::new();
    for scenario in [Scenario::DownloadExpired, Scenario::DownloadGone] {
        let exports = Exports::start().await;
        exports.read(scenario, Some(1)).await.check_whole();
        assert_eq!((exports.submitted(), exports.downloads().len()), (2, 2), "{scenario}");
        if scenario == Scenario::DownloadExpired {
            insta::assert_snapshot!(exports.warnings(), @r#""Submitting another export job" reason="GET https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip answered 403 Forbidden: AuthenticationFailed (request-id GUID); the export is gone or its signature has expired: a new job gets a new one" jobs=1 at_most=3"#);
        }
        let outcome = exports.read(scenario, None).await;
        assert_eq!((exports.submitted(), exports.downloads().len()), (2 + 3, 2 + 3), "{scenario}");
        assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::ExportJob);
        failures.push(outcome.failure());
    }
    insta::assert_snapshot!(failures.join("\n"), @r"
    export_job: GET https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip answered 403 Forbidden: AuthenticationFailed (request-id GUID); the export is gone or its signature has expired: a new job gets a new one; it was the last of 3 export jobs, and the next poll submits another
    export_job: GET https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip answered 404 Not Found: BlobNotFound (request-id GUID); the export is gone or its signature has expired: a new job gets a new one; it was the last of 3 export jobs, and the next poll submits another
    ");
}

#[tokio::test]
async fn a_fault_that_passes_costs_nothing_but_a_retry_and_one_that_stays_ends_the_poll() {
    let _stand_ins = stand_ins();
    let mut failures = Vec::new();
    for scenario in [Scenario::DownloadUnavailable, Scenario::DownloadCut] {
        let exports = Exports::start().await;
        let outcome = exports.read(scenario, Some(2)).await;
        outcome.check_whole();
        assert_eq!((exports.submitted(), exports.downloads().len()), (1, 3), "{scenario}");
        assert_eq!(outcome.heard.iter().filter(|heard| *heard == "retry").count(), 2);
        let outcome = exports.read(scenario, None).await;
        assert_eq!((exports.submitted(), exports.downloads().len()), (2, 6), "{scenario}");
        failures.push(outcome.failure());
    }
    insta::assert_snapshot!(failures.join("\n"), @r"
    server_error: GET https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip answered 503 Service Unavailable: ServerBusy (request-id GUID); the fault is the service's; the next poll tries again; gave up after 3 attempts
    invalid_response: GET https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip: error decoding response body: request or response body error: error reading a body from connection: stream error received: unexpected internal error encountered; the answer was cut off; gave up after 3 attempts
    ");
}

#[tokio::test]
async fn a_file_that_is_no_export_is_told_and_not_asked_for_again() {
    let _stand_ins = stand_ins();
    let mut failures = Vec::new();
    for scenario in [
        Scenario::DownloadHtml,
        Scenario::DownloadNoZip,
        Scenario::DownloadHuge,
        Scenario::DownloadRedirect,
        Scenario::ZipEmpty,
        Scenario::ZipTwoFiles,
        Scenario::ZipBomb,
    ] {
        let exports = Exports::start().await;
        let outcome = exports.read(scenario, None).await;
        assert_eq!((outcome.reports.len(), outcome.is_complete), (0, false), "{scenario}");
        assert_eq!((exports.submitted(), exports.downloads().len()), (1, 1), "{scenario}");
        failures.push(format!("{scenario}: {}", outcome.failure()));
        // The service is well again, and so is the client.
        exports.read(Scenario::None, None).await.check_whole();
    }
    insta::assert_snapshot!(failures.join("\n"), @r"
    download-html: invalid_response: the export from https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip: the answer is HTML (a proxy or gateway page?): let the exporter through to that host; the next poll asks for another export
    download-no-zip: invalid_response: the export from https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip: it is not a ZIP archive, or is cut off; fetch or copy it again; the next poll asks for another export
    download-huge: too_large: GET https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip: the answer is larger than 67108864 bytes; a shorter source.select makes smaller answers
    download-redirect: invalid_response: GET https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip answered 302 Found (request-id GUID); redirects to https://localhost:PORT are not followed; the next poll asks for another export
    zip-empty: invalid_response: the export from https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip: the archive holds no file; it should hold the one CSV of an export; the next poll asks for another export
    zip-two-files: invalid_response: the export from https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip: the archive holds 2 entries; put one CSV alone into it; the next poll asks for another export
    zip-bomb: too_large: the export from https://localhost:PORT/exports/RemoteAssistanceSessions_GUID.zip: the file in the archive inflates to more than 200 times its size: that is no export but a bomb; the next poll asks for another export
    ");
}
