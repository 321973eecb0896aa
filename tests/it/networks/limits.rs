//! Requests for reports are held back before the service has to refuse them.

use std::time::Duration;

use remote_assistance_exporter::simulator::Scenario;
use remote_assistance_exporter::source::{Network, RetryPolicy, Source};

use crate::faults::bench::{Bench, Outcome, Witness, configuration, quick, read};

/// What the service lets through…
const REQUESTS: usize = 5;
/// …in this time.
const PERIOD: Duration = Duration::from_millis(400);
/// What the exporter takes for it: longer, since a busy machine delays requests.
const MINUTE: Duration = Duration::from_millis(700);

/// Reads sixty sessions in twelve pages from a service with a limit.
async fn read_with(requests_per_minute: usize) -> Outcome {
    let bench = Bench::with(|options| (options.limited_requests, options.limited_period) = (REQUESTS, PERIOD)).await;
    bench.tenant.set_scenario(Scenario::RateLimited);
    let source = "{kind: sessions_report, page_size: 5}";
    let mut config = configuration(&bench.simulator, &bench.tenant, source, bench.directory.path());
    config.tenants[0].requests_per_minute = requests_per_minute.try_into().unwrap();
    let policy =
        RetryPolicy { minute: MINUTE, attempts_per_request: 100, first_wait: PERIOD, longest_wait: PERIOD, ..quick() };
    let witness = std::sync::Arc::new(Witness::default());
    let source = Source::with_policy(&config.tenants[0], &Network::new(|_| None), witness.clone(), policy).unwrap();
    read((source, witness)).await
}

fn count(outcome: &Outcome, what: &str) -> usize {
    outcome.heard.iter().filter(|heard| *heard == what).count()
}

#[tokio::test]
async fn within_the_limit_nothing_is_refused() {
    let outcome = read_with(REQUESTS).await;
    outcome.check_whole();
    assert_eq!((count(&outcome, "throttled"), count(&outcome, "sessions_report 200")), (0, 12));
    assert!(count(&outcome, "held back") >= 2, "{:?}", outcome.heard);
}

#[tokio::test]
async fn without_a_limit_the_service_refuses() {
    let outcome = read_with(100_000).await;
    outcome.check_whole();
    assert!(count(&outcome, "throttled") > 0, "{:?}", outcome.heard);
    assert_eq!(count(&outcome, "held back"), 0);
}

/// Tenants that share an application share its limit.
#[tokio::test]
async fn an_application_has_one_limit_for_all_its_tenants() {
    let bench = Bench::start().await;
    let source = "{kind: sessions_report, page_size: 30}";
    let mut config = configuration(&bench.simulator, &bench.tenant, source, bench.directory.path());
    config.tenants[0].requests_per_minute = 4;
    let network = Network::new(|_| None);
    let policy = RetryPolicy { minute: Duration::from_millis(200), ..quick() };
    let mut held = Vec::new();
    for _ in 0..3 {
        let witness = std::sync::Arc::new(Witness::default());
        let source = Source::with_policy(&config.tenants[0], &network, witness.clone(), policy.clone()).unwrap();
        held.push((source, witness));
    }
    for (source, _) in &held {
        let mut reading = source.read();
        while reading.next_page().await.unwrap().is_some() {}
    }
    // Two pages each: the fifth has to wait.
    let waited: Vec<_> =
        held.iter().map(|(_, witness)| witness.heard().iter().filter(|heard| *heard == "held back").count()).collect();
    assert_eq!((waited[0], waited[1]), (0, 0), "{waited:?}");
    assert!(waited[2] > 0, "{waited:?}");
}
