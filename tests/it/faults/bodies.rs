//! Answers that are no report, that are cut off, or that have no end.

use remote_assistance_exporter::simulator::{Protocols, Scenario};
use remote_assistance_exporter::status::FailureReason;

use super::bench::{Bench, KINDS, Kind, PAGE, SESSIONS, go_on, ids, quick, read};
use crate::support::stand_ins;

#[tokio::test]
async fn a_web_page_in_place_of_a_report_is_told_as_one() {
    let _stand_ins = stand_ins();
    for kind in KINDS {
        let bench = Bench::start().await;
        let outcome = bench.read(kind, Scenario::HtmlBody).await;
        assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::InvalidResponse);
        assert_eq!((outcome.reports.len(), outcome.is_complete), (0, false));
        match kind {
            Kind::Report => {
                insta::assert_snapshot!(outcome.failure(), @"invalid_response: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport: the answer is HTML (a proxy or gateway page?); check graph_url and source.path")
            }
            Kind::Collection => {
                insta::assert_snapshot!(outcome.failure(), @"invalid_response: GET https://localhost:PORT/beta/deviceManagement/remoteAssistanceSessions: the answer is HTML (a proxy or gateway page?); check graph_url and source.path")
            }
        }
        assert_eq!(bench.calls().len(), 2, "another attempt would bring the same: {:?}", bench.calls());
        bench.check_requests();
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_asked_for_again() {
    let _stand_ins = stand_ins();
    for kind in KINDS {
        let bench = Bench::with(|options| options.protocols = Protocols::Http1).await;
        let (source, witness) = bench.source(kind, quick());
        let mut reading = source.read();
        reading.next_page().await.unwrap();
        bench.tenant.set_scenario_for(Scenario::CutBody, 2);
        let rest = go_on(reading, &witness).await;
        assert_eq!((rest.ids(), rest.is_complete), (ids(PAGE..SESSIONS), true));
        assert_eq!(rest.heard.iter().filter(|heard| *heard == "retry").count(), 2);
        assert_eq!(bench.calls().len(), 1 + 3 + 2);
        bench.check_requests();

        bench.tenant.set_scenario(Scenario::CutBody);
        let outcome = read(bench.source(kind, quick())).await;
        assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::InvalidResponse);
        if kind == Kind::Report {
            insta::assert_snapshot!(outcome.failure(), @"invalid_response: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport: error decoding response body: request or response body error: error reading a body from connection: peer closed connection without sending TLS close_notify; the answer was cut off; gave up after 3 attempts");
        }
        assert_eq!(bench.calls().len(), 6 + 1 + 3);
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_left() {
    let _stand_ins = stand_ins();
    let mut failures = Vec::new();
    for scenario in [Scenario::HugeBody, Scenario::GzipBomb] {
        for kind in KINDS {
            let bench = Bench::start().await;
            let outcome = bench.read(kind, scenario).await;
            assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::TooLarge, "{scenario}");
            assert_eq!((outcome.reports.len(), bench.calls().len()), (0, 2), "no second attempt");
            failures.push(outcome.failure());
            // The service is well again, and so is the client.
            bench.read(kind, Scenario::None).await.check_whole();
            bench.check_requests();
        }
    }
    insta::assert_snapshot!(failures.join("\n"), @r"
    too_large: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport: the answer is larger than 67108864 bytes; a smaller source.page_size makes smaller answers
    too_large: GET https://localhost:PORT/beta/deviceManagement/remoteAssistanceSessions: the answer is larger than 67108864 bytes; a smaller source.page_size makes smaller answers
    too_large: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport: the answer is larger than 134217728 bytes; a smaller source.page_size makes smaller answers
    too_large: GET https://localhost:PORT/beta/deviceManagement/remoteAssistanceSessions: the answer is larger than 134217728 bytes; a smaller source.page_size makes smaller answers
    ");
}
