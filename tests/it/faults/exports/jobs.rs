//! Jobs: the usual way, and what becomes of one that is stranded, failed, lost or strange.

use std::time::Duration;

use remote_assistance_exporter::session::SessionType;
use remote_assistance_exporter::simulator::Scenario;
use remote_assistance_exporter::status::FailureReason;

use super::Exports;
use crate::faults::bench::{SESSIONS, ids, read};
use crate::support::stand_ins;

#[tokio::test]
async fn a_job_is_submitted_looked_at_downloaded_and_read() {
    let exports = Exports::start().await;
    let outcome = exports.read(Scenario::None, None).await;
    outcome.check_whole();
    assert!(outcome.reports.iter().all(|report| report.session_type == SessionType::ViewOnly), "by Attribute");
    assert_eq!(exports.bench.calls(), ["POST token 200", "POST job 201", "GET job 200", "GET job 200"]);
    let heard = ["token 200", "token", "export_job 201", "export_job 200", "export_job 200", "export_download 200"];
    assert_eq!(outcome.heard, heard);
    let [download] = &exports.downloads()[..] else { panic!("one download") };
    assert_eq!((download.authorization, download.status, download.method.as_str()), (false, 200, "GET"));
    let submission = &exports.bench.tenant.requests()[1];
    assert_eq!(submission.path, "/v1.0/deviceManagement/reports/exportJobs");
    insta::assert_snapshot!(submission.body, @r#"{"format":"csv","localizationType":"localizedValuesAsAdditionalColumn","reportName":"RemoteAssistanceSessions","select":["Attribute","Date","DateDifference","HelperDeviceAadId","HelperDeviceName","HelperEmail","HelperFirstName","HelperLastName","Sessionend","SessionId","Sessionstart","SharerDeviceAadId","SharerDeviceName","SharerDeviceOS","SharerDeviceSerialNumber","SharerEmail","SharerFirstName","SharerLastName"]}"#);
    let look = &exports.bench.tenant.requests()[2];
    assert!(look.path.starts_with("/v1.0/deviceManagement/reports/exportJobs('RemoteAssistanceSessions_"), "{look:?}");
    assert_eq!(exports.warnings(), "");
}

#[tokio::test]
async fn each_reading_has_a_job_of_its_own() {
    let exports = Exports::start().await;
    for readings in 1..=2 {
        exports.read(Scenario::None, None).await.check_whole();
        assert_eq!((exports.submitted(), exports.downloads().len()), (readings, readings));
    }
}

#[tokio::test]
async fn the_selected_columns_are_asked_for_and_mapped() {
    let exports = Exports::with(|options| options.extended_columns = true).await;
    let keys = "select: [SessionId, Sessionstart, Sessionend, SharerDeviceOS, sessionDiagnosticCode], \
                columns: {helperOs: SharerDeviceOS}";
    let outcome = read(exports.source(keys)).await;
    outcome.check_whole();
    assert!(outcome.reports.iter().all(|report| report.session_type == SessionType::Unreported), "no Attribute");
    exports.check(&outcome);
}

#[tokio::test]
async fn a_stranded_job_is_left_for_another() {
    let _stand_ins = stand_ins();
    let exports = Exports { job_timeout: Duration::from_secs(2), ..Exports::start().await };
    exports.read(Scenario::JobStranded, Some(1)).await.check_whole();
    assert_eq!((exports.submitted(), exports.downloads().len()), (2, 1));
    insta::assert_snapshot!(exports.warnings(), @r#""Submitting another export job" reason="export job RemoteAssistanceSessions_GUID is still inProgress after 2 s (the service leaves jobs unfinished at times; a longer source.job_timeout gives them more time)" jobs=1 at_most=3"#);
}

#[tokio::test]
async fn the_third_stranded_job_is_the_last() {
    let _stand_ins = stand_ins();
    let exports = Exports { job_timeout: Duration::from_millis(200), ..Exports::start().await };
    let (source, witness) = exports.source("");
    exports.bench.tenant.set_scenario(Scenario::JobStranded);
    let mut reading = source.read();
    let error = reading.next_page().await.unwrap_err();
    assert_eq!(error.reason, FailureReason::ExportJob);
    insta::assert_snapshot!(error.message, @"export job RemoteAssistanceSessions_GUID is still inProgress after 0.2 s (the service leaves jobs unfinished at times; a longer source.job_timeout gives them more time); it was the last of 3 export jobs, and the next poll submits another");
    assert_eq!((exports.submitted(), exports.downloads().len()), (3, 0));
    assert_eq!(exports.warnings().lines().count(), 2, "the last is told by the error");
    // Whoever asks again gets no fourth.
    assert_eq!(reading.next_page().await.unwrap_err().message, error.message);
    assert_eq!((exports.submitted(), reading.is_complete()), (3, false));
    assert!(!witness.heard().iter().any(|heard| heard == "retry"), "waiting costs none of the poll's patience");
    // The next poll begins anew.
    let exports = Exports { job_timeout: super::JOB_TIMEOUT, ..exports };
    exports.read(Scenario::None, None).await.check_whole();
}

#[tokio::test]
async fn a_failed_job_names_what_to_check_and_is_not_repeated() {
    let _stand_ins = stand_ins();
    let exports = Exports::start().await;
    let outcome = exports.read(Scenario::JobFailed, None).await;
    insta::assert_snapshot!(outcome.failure(), @"export_job: export job RemoteAssistanceSessions_GUID failed at the service, as it does for a column that the report does not have; all of source.select are documented columns: try fewer of them, or read the sessions_report; the next poll submits another");
    assert_eq!((exports.submitted(), exports.downloads().len(), outcome.is_complete), (1, 0, false));

    exports.bench.tenant.set_scenario(Scenario::None);
    let outcome = read(exports.source("select: [SessionId, Sessionstart, Sessionend, SessionType]")).await;
    insta::assert_snapshot!(outcome.failure(), @"export_job: export job RemoteAssistanceSessions_GUID failed at the service, as it does for a column that the report does not have; remove from source.select what is not a documented column: SessionType; the next poll submits another");
}

#[tokio::test]
async fn strange_statuses_are_waited_out() {
    let exports = Exports::start().await;
    exports.read(Scenario::JobStrange, None).await.check_whole();
    let looks = exports.bench.calls().iter().filter(|call| *call == "GET job 200").count();
    assert_eq!((exports.submitted(), looks), (1, 6), "{:?}", exports.bench.calls());
}

#[tokio::test]
async fn a_lost_job_is_replaced() {
    let _stand_ins = stand_ins();
    let exports = Exports::start().await;
    exports.read(Scenario::JobLost, Some(1)).await.check_whole();
    assert_eq!((exports.submitted(), exports.downloads().len()), (2, 1));
    let outcome = exports.read(Scenario::JobLost, None).await;
    assert_eq!(exports.submitted(), 2 + 3);
    insta::assert_snapshot!(outcome.failure(), @"export_job: GET https://localhost:PORT/v1.0/deviceManagement/reports/exportJobs('RemoteAssistanceSessions_GUID') answered 404 Not Found: ResourceNotFound: Resource not found for the segment 'exportJobs('RemoteAssistanceSessions_GUID')' (request-id GUID); check cloud and graph_url: there are no export jobs here, or the job is gone; it was the last of 3 export jobs, and the next poll submits another");
}

#[tokio::test]
async fn an_address_over_plain_http_is_refused() {
    let _stand_ins = stand_ins();
    let exports = Exports::start().await;
    let outcome = exports.read(Scenario::JobPlainUrl, None).await;
    insta::assert_snapshot!(outcome.failure(), @"invalid_response: the address of the download is refused: it leads to http://exports.foreign.example, and only https keeps its signature secret");
    assert_eq!(exports.submitted(), 1);
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let _stand_ins = stand_ins();
    let exports = Exports::start().await;
    let outcome = exports.read(Scenario::MissingRole, None).await;
    insta::assert_snapshot!(outcome.failure(), @"forbidden: POST https://localhost:PORT/v1.0/deviceManagement/reports/exportJobs answered 403 Forbidden: Forbidden: Application is not authorized to perform this operation. Application must have one of the following scopes: DeviceManagementApps.Read.All, DeviceManagementApps.ReadWrite.All, DeviceManagementConfiguration.Read.All, DeviceManagementConfiguration.ReadWrite.All, DeviceManagementManagedDevices.Read.All,… (request-id GUID); grant the application the Microsoft Graph application permission DeviceManagementConfiguration.Read.All (or, as Microsoft documents it, DeviceManagementConfiguration.ReadWrite.All) and give admin consent (a new permission takes effect with the next token, which the next poll asks for)");
    assert_eq!(exports.bench.calls(), ["POST token 200", "POST job 403"]);
}

#[tokio::test]
async fn faults_that_pass_cost_nothing_but_a_retry() {
    for scenario in [Scenario::ServerError, Scenario::Unavailable, Scenario::CutBody, Scenario::ThrottledSilent] {
        let exports = Exports::start().await;
        exports.read(scenario, Some(2)).await.check_whole();
        assert_eq!(exports.downloads().len(), 1, "{scenario}");
        assert_eq!(exports.bench.calls().len(), 4 + 2, "{scenario}: {:?}", exports.bench.calls());
    }
    let exports = Exports::start().await;
    exports.bench.read(crate::faults::bench::Kind::Report, Scenario::None).await.check_whole();
    let outcome = exports.read(Scenario::ExpiredToken, None).await;
    outcome.check_whole();
}

#[tokio::test]
async fn what_is_no_job_is_told() {
    let _stand_ins = stand_ins();
    let exports = Exports::start().await;
    let outcome = exports.read(Scenario::HtmlBody, None).await;
    insta::assert_snapshot!(outcome.failure(), @"invalid_response: POST https://localhost:PORT/v1.0/deviceManagement/reports/exportJobs: the answer is HTML (a proxy or gateway page?); check graph_url");
    let outcome = exports.read(Scenario::HugeBody, None).await;
    insta::assert_snapshot!(outcome.failure(), @"too_large: POST https://localhost:PORT/v1.0/deviceManagement/reports/exportJobs: the answer is larger than 262144 bytes");
}

#[tokio::test]
async fn rows_and_columns_may_be_odd() {
    let exports = Exports::start().await;
    let outcome = exports.read(Scenario::DuplicateRows, None).await;
    assert_eq!(outcome.reports.len(), SESSIONS + SESSIONS / 3);
    let outcome = exports.read(Scenario::BrokenRows, None).await;
    let mut reasons: Vec<_> = outcome.rejects.iter().map(|reject| reject.to_string()).collect();
    reasons.sort();
    insta::assert_snapshot!(reasons.join("\n"), @r"
    broken_row: row 14: the row has 19 cells where the header has 18
    broken_row: row 1: the row has 17 cells where the header has 18
    broken_row: row 27: the row has 1 cells where the header has 18
    missing_id: row 40: id is missing
    unreadable_date: row 53: endDateTime is unreadable: not a date and time such as 2026-03-19T12:08:16Z
    ");
    assert_eq!((outcome.ids(), outcome.is_complete), (ids(0..SESSIONS), true));
    exports.read(Scenario::ShuffledColumns, None).await.check_whole();
    let outcome = exports.read(Scenario::UnknownColumns, None).await;
    outcome.check_whole();
    // A name that nobody knows is no session type where the column may hold anything.
    assert_eq!(outcome.reports[0].session_type, SessionType::Unreported);
}
