//! Throttling and failures that pass or stay, and answers that do not come.

use std::time::{Duration, Instant};

use remote_assistance_exporter::simulator::Scenario;
use remote_assistance_exporter::source::{RetryPolicy, Timeouts};
use remote_assistance_exporter::status::FailureReason;

use super::bench::{Bench, KINDS, Kind, PAGE, ids, quick, read};
use crate::support::stand_ins;

#[tokio::test]
async fn throttling_is_waited_out_for_as_long_as_the_service_asks() {
    tokio::join!(throttled(Kind::Report), throttled(Kind::Collection));
}

async fn throttled(kind: Kind) {
    for (scenario, asked) in [
        (Scenario::Throttled, Duration::from_secs(1)),
        (Scenario::ThrottledFractional, Duration::from_millis(2128)),
        // A date two seconds on, in whole seconds: at least one.
        (Scenario::ThrottledDate, Duration::from_secs(1)),
        (Scenario::ThrottledSilent, Duration::ZERO),
    ] {
        let bench = Bench::start().await;
        bench.tenant.set_scenario_for(scenario, 1);
        let started = Instant::now();
        let outcome = read(bench.source(kind, quick())).await;
        assert!(started.elapsed() >= asked, "{scenario}");
        outcome.check_whole();
        let [page, throttled] = match kind {
            Kind::Report => ["sessions_report 200", "sessions_report 429"],
            Kind::Collection => ["collection 200", "collection 429"],
        };
        let heard = ["token 200", "token", throttled, "throttled", "retry", page, page, page];
        assert_eq!(outcome.heard, heard, "{scenario}");
        assert_eq!(bench.calls().iter().filter(|call| call.ends_with(" 429")).count(), 1);
        bench.check_requests();
    }
}

#[tokio::test]
async fn a_wait_beyond_the_budget_ends_the_poll_at_once() {
    let _stand_ins = stand_ins();
    for (scenario, budget) in [
        (Scenario::Throttled, Duration::from_millis(999)),
        (Scenario::ThrottledFractional, Duration::from_millis(2127)),
        (Scenario::ThrottledDate, Duration::from_millis(999)),
    ] {
        let bench = Bench::start().await;
        bench.tenant.set_scenario(scenario);
        let policy = RetryPolicy { loss_per_poll: budget, ..quick() };
        let outcome = read(bench.source(Kind::Report, policy)).await;
        assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::Throttled, "{scenario}");
        assert_eq!(bench.calls(), ["POST token 200", "POST 0+25 429"]);
        assert_eq!(outcome.heard, ["token 200", "token", "sessions_report 429", "throttled"]);
        if scenario == Scenario::ThrottledFractional {
            insta::assert_snapshot!(outcome.failure(), @"throttled: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 429 Too Many Requests: TooManyRequests: Too many requests have been sent. Please try again later (request-id GUID); the service is throttling: a longer poll_interval asks less of it; the service asks to wait 2.128 s and this poll has 2 s left; the next poll tries again");
        }
    }
}

#[tokio::test]
async fn throttling_for_ever_says_so() {
    let _stand_ins = stand_ins();
    let bench = Bench::start().await;
    let outcome = bench.read(Kind::Collection, Scenario::ThrottledSilent).await;
    insta::assert_snapshot!(outcome.failure(), @"throttled: GET https://localhost:PORT/beta/deviceManagement/remoteAssistanceSessions answered 429 Too Many Requests: TooManyRequests: Too many requests have been sent. Please try again later (request-id GUID); the service is throttling: a longer poll_interval asks less of it; gave up after 3 attempts");
    assert_eq!(bench.calls(), ["POST token 200", "GET ?$top=25 429", "GET ?$top=25 429", "GET ?$top=25 429"]);
    assert_eq!(outcome.heard.iter().filter(|heard| *heard == "throttled").count(), 3);
    assert_eq!(outcome.heard.iter().filter(|heard| *heard == "retry").count(), 2);
}

const FAILURES: [(Scenario, u16); 4] = [
    (Scenario::ServerError, 500),
    (Scenario::Unavailable, 503),
    (Scenario::GatewayTimeout, 504),
    (Scenario::HtmlError, 502),
];

#[tokio::test]
async fn a_failure_that_passes_costs_nothing_but_a_retry() {
    for (scenario, status) in FAILURES {
        for kind in KINDS {
            let bench = Bench::start().await;
            let (source, witness) = bench.source(kind, quick());
            let mut reading = source.read();
            assert_eq!(reading.next_page().await.unwrap().unwrap().rows(), PAGE);
            bench.tenant.set_scenario_for(scenario, 2);
            let rest = super::bench::go_on(reading, &witness).await;
            assert_eq!((rest.ids(), rest.is_complete), (ids(PAGE..60), true), "{scenario}");
            let calls = match kind {
                Kind::Report => vec![
                    "POST token 200".to_owned(),
                    "POST 0+25 200".to_owned(),
                    format!("POST 25+25 pinned {status}"),
                    format!("POST 25+25 pinned {status}"),
                    "POST 25+25 pinned 200".to_owned(),
                    "POST 50+25 pinned 200".to_owned(),
                ],
                Kind::Collection => vec![
                    "POST token 200".to_owned(),
                    "GET ?$top=25 200".to_owned(),
                    format!("GET ?$top=25&$skiptoken=*0190 {status}"),
                    format!("GET ?$top=25&$skiptoken=*0190 {status}"),
                    "GET ?$top=25&$skiptoken=*0190 200".to_owned(),
                    "GET ?$top=25&$skiptoken=*0320 200".to_owned(),
                ],
            };
            assert_eq!(bench.calls(), calls);
            bench.check_requests();
        }
    }
}

#[tokio::test]
async fn a_failure_that_stays_ends_the_poll_after_some_attempts() {
    let _stand_ins = stand_ins();
    let mut failures = Vec::new();
    for (scenario, status) in FAILURES {
        for kind in KINDS {
            let bench = Bench::start().await;
            let outcome = bench.read(kind, scenario).await;
            assert_eq!((outcome.reports.len(), outcome.is_complete), (0, false));
            assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::ServerError);
            let attempt = match kind {
                Kind::Report => format!("POST 0+25 {status}"),
                Kind::Collection => format!("GET ?$top=25 {status}"),
            };
            assert_eq!(bench.calls(), ["POST token 200", &attempt, &attempt, &attempt]);
            bench.check_requests();
            if kind == Kind::Report {
                failures.push(outcome.failure());
            }
        }
    }
    insta::assert_snapshot!(failures.join("\n"), @r"
    server_error: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 500 Internal Server Error: InternalServerError: The service could not answer (request-id GUID); the fault is the service's; the next poll tries again; gave up after 3 attempts
    server_error: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 503 Service Unavailable: ServiceUnavailable: The service could not answer (request-id GUID); the fault is the service's; the next poll tries again; gave up after 3 attempts
    server_error: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 504 Gateway Timeout: The service could not answer (request-id GUID); the fault is the service's; the next poll tries again; gave up after 3 attempts
    server_error: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 502 Bad Gateway: the answer is HTML (a proxy or gateway page?) (request-id GUID); the fault is the service's; the next poll tries again; gave up after 3 attempts
    ");
}

#[tokio::test]
async fn the_pages_before_a_failure_are_given() {
    for kind in KINDS {
        let bench = Bench::start().await;
        let (source, witness) = bench.source(kind, quick());
        let mut reading = source.read();
        let first = reading.next_page().await.unwrap().unwrap();
        bench.tenant.set_scenario(Scenario::ServerError);
        let rest = super::bench::go_on(reading, &witness).await;
        assert_eq!((first.rows(), rest.reports.len(), rest.rows_missing, rest.is_complete), (PAGE, 0, 0, false));
        assert_eq!(rest.error.unwrap().reason, FailureReason::ServerError);
    }
}

/// Long enough for any answer that does come, on a machine that is busy.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_body_that_stalls_is_a_time_out_and_asked_for_again() {
    let (failure, _) = tokio::join!(stalled(Kind::Report), stalled(Kind::Collection));
    let _stand_ins = stand_ins();
    insta::assert_snapshot!(failure, @"timeout: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport: error decoding response body: request or response body error: operation timed out; the service or the way to it is slow: a smaller source.page_size asks for less at a time; gave up after 2 attempts");
}

async fn stalled(kind: Kind) -> String {
    let timeouts = Timeouts { read: READ_TIMEOUT, ..Timeouts::default() };
    let policy = || RetryPolicy { attempts_per_request: 2, timeouts, ..quick() };
    let bench = Bench::with(|options| options.stall = Duration::from_secs(3600)).await;
    bench.tenant.set_scenario_for(Scenario::Slow, 1);
    let recovered = read(bench.source(kind, policy())).await;
    recovered.check_whole();
    assert!(recovered.heard.contains(&"retry".to_owned()), "{:?}", recovered.heard);
    bench.check_requests();

    bench.tenant.set_scenario(Scenario::Slow);
    let outcome = read(bench.source(kind, policy())).await;
    assert_eq!((outcome.reports.len(), outcome.is_complete), (0, false));
    assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::Timeout);
    outcome.failure()
}

#[tokio::test]
async fn time_lost_in_time_outs_is_charged_to_the_poll() {
    let bench = Bench::with(|options| options.stall = Duration::from_secs(3600)).await;
    bench.tenant.set_scenario(Scenario::Slow);
    let timeouts = Timeouts { read: READ_TIMEOUT, ..Timeouts::default() };
    // Of the five attempts the second is the last that begins in time.
    let policy = RetryPolicy { attempts_per_request: 5, loss_per_poll: READ_TIMEOUT * 19 / 10, timeouts, ..quick() };
    let outcome = read(bench.source(Kind::Report, policy)).await;
    assert!(outcome.failure().ends_with("; gave up after 2 attempts: this poll has 0 s left"), "{}", outcome.failure());
    assert_eq!(bench.calls(), ["POST token 200", "POST 0+25 200", "POST 0+25 200"]);
}
