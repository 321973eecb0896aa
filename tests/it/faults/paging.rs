//! Links and totals that lead astray.

use remote_assistance_exporter::simulator::Scenario;
use remote_assistance_exporter::status::FailureReason;

use super::bench::{Bench, KINDS, Kind, PAGE, SESSIONS, ids};
use crate::support::stand_ins;

#[tokio::test]
async fn without_faults_the_requests_are_these() {
    let bench = Bench::start().await;
    bench.read(Kind::Report, Scenario::None).await.check_whole();
    bench.read(Kind::Collection, Scenario::None).await.check_whole();
    assert_eq!(
        bench.calls(),
        [
            "POST token 200",
            "POST 0+25 200",
            "POST 25+25 pinned 200",
            "POST 50+25 pinned 200",
            "POST token 200",
            "GET ?$top=25 200",
            "GET ?$top=25&$skiptoken=*0190 200",
            "GET ?$top=25&$skiptoken=*0320 200",
        ]
    );
    bench.check_requests();
}

#[tokio::test]
async fn a_loop_of_links_ends_and_what_was_read_is_given() {
    let _stand_ins = stand_ins();
    let bench = Bench::start().await;
    let outcome = bench.read(Kind::Collection, Scenario::Loop).await;
    insta::assert_snapshot!(outcome.failure(), @"paging: the answer's nextLink is refused: it leads to a page that was read already");
    assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::Paging);
    // The simulator's second page leads back to the first, under an address that is new.
    assert_eq!(outcome.ids(), [ids(0..PAGE), ids(PAGE..2 * PAGE), ids(0..PAGE)].concat());
    assert_eq!(
        bench.calls(),
        [
            "POST token 200",
            "GET ?$top=25 200",
            "GET ?$top=25&$skiptoken=*0190 200",
            "GET ?$top=25&$skiptoken=*0000 200",
        ]
    );
    bench.check_requests();
    bench.read(Kind::Report, Scenario::Loop).await.check_whole();
}

#[tokio::test]
async fn rows_that_were_promised_and_did_not_come_are_counted() {
    for kind in KINDS {
        let bench = Bench::start().await;
        let outcome = bench.read(kind, Scenario::ShortPage).await;
        assert!(outcome.error.is_none());
        assert_eq!(outcome.ids(), ids(0..SESSIONS));
        assert_eq!((outcome.rows_missing, outcome.is_complete), (7, false), "{kind:?}");
        let last = match kind {
            // It is asked for what was promised, and comes empty.
            Kind::Report => "POST 60+25 pinned 200",
            Kind::Collection => "GET ?$top=25&$skiptoken=*0320 200",
        };
        assert_eq!(bench.calls().last().unwrap(), last);
        bench.check_requests();
    }
}

#[tokio::test]
async fn an_empty_page_ends_a_report_and_not_a_collection() {
    let bench = Bench::start().await;
    let report = bench.read(Kind::Report, Scenario::EmptyPage).await;
    assert!(report.error.is_none());
    assert_eq!((report.ids(), report.rows_missing, report.is_complete), (ids(0..PAGE), 35, false));
    assert_eq!(bench.calls(), ["POST token 200", "POST 0+25 200", "POST 25+25 pinned 200"]);

    bench.read(Kind::Collection, Scenario::EmptyPage).await.check_whole();
    assert_eq!(
        bench.calls()[3..],
        [
            "POST token 200",
            "GET ?$top=25 200",
            "GET ?$top=25&$skiptoken=*0191 200",
            "GET ?$top=25&$skiptoken=*0190 200",
            "GET ?$top=25&$skiptoken=*0320 200",
        ]
    );
    bench.check_requests();
}
