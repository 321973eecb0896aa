//! How many connections there are, which HTTP they speak, and what becomes of those that break.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use remote_assistance_exporter::config::Config;
use remote_assistance_exporter::simulator::{Protocols, Scenario};
use remote_assistance_exporter::source::{Network, RetryPolicy, Source, Timeouts};

use super::h2_server::{Fault, H2Server};
use crate::faults::bench::{
    Bench, KINDS, Kind, Outcome, PAGE, SESSIONS, Witness, configuration, go_on, ids, quick, read,
};
use crate::support::stand_ins;

const PROTOCOLS: [(Protocols, &str); 3] =
    [(Protocols::Http1, "HTTP/1.1"), (Protocols::Http2, "HTTP/2.0"), (Protocols::Both, "HTTP/2.0")];

/// Which connections the requests came on.
fn connections(bench: &Bench) -> BTreeSet<u64> {
    bench.tenant.requests().iter().map(|request| request.connection).collect()
}

#[tokio::test]
async fn one_connection_carries_the_token_and_every_page_in_whatever_the_service_speaks() {
    for (protocols, version) in PROTOCOLS {
        for kind in KINDS {
            let bench = Bench::with(|options| options.protocols = protocols).await;
            let (source, witness) = bench.source(kind, quick());
            for _ in 0..2 {
                let outcome = go_on(source.read(), &witness).await;
                outcome.check_whole();
            }
            let requests = bench.tenant.requests();
            assert!(
                requests.len() > 2 * SESSIONS / PAGE && requests.iter().all(|r| r.version == version),
                "{requests:?}"
            );
            assert_eq!(connections(&bench), BTreeSet::from([0]), "{protocols:?} {kind:?}");
            bench.check_requests();
        }
    }
}

#[tokio::test]
async fn tenants_share_connections() {
    for (protocols, _) in PROTOCOLS {
        let bench = Bench::with(|options| options.protocols = protocols).await;
        let source = "{kind: sessions_report, page_size: 25}";
        let config = configuration(&bench.simulator, &bench.tenant, source, bench.directory.path());
        let network = Network::new(|_| None);
        let tenants = [(); 5].map(|()| {
            let witness = Arc::new(Witness::default());
            (Source::with_policy(&config.tenants[0], &network, witness.clone(), quick()).unwrap(), witness)
        });
        for (source, witness) in &tenants {
            go_on(source.read(), witness).await.check_whole();
        }
        assert_eq!(bench.tenant.requests().len(), 5 * (1 + SESSIONS.div_ceil(PAGE)));
        assert_eq!(connections(&bench), BTreeSet::from([0]), "{protocols:?}");
    }
}

#[tokio::test]
async fn an_unavailable_service_is_asked_again_on_another_connection() {
    for (protocols, _) in PROTOCOLS {
        let bench = Bench::with(|options| options.protocols = protocols).await;
        let (source, witness) = bench.source(Kind::Report, quick());
        let mut reading = source.read();
        reading.next_page().await.unwrap();
        bench.tenant.set_scenario_for(Scenario::Unavailable, 1);
        let rest = go_on(reading, &witness).await;
        assert_eq!((rest.ids(), rest.is_complete), (ids(PAGE..SESSIONS), true));
        let used: Vec<_> = bench.tenant.requests().iter().map(|request| request.connection).collect();
        // Token, first page, refusal; the second page on its own; the third where the others were.
        assert_eq!(used, [0, 0, 0, 1, 0], "{protocols:?}");
    }
}

/// A body that is cut off has another error in HTTP/2, and the same consequence.
#[tokio::test]
async fn a_body_that_is_cut_off_is_asked_for_again_over_http_2() {
    let _stand_ins = stand_ins();
    let bench = Bench::with(|options| options.protocols = Protocols::Http2).await;
    let outcome = bench.read(Kind::Report, Scenario::CutBody).await;
    insta::assert_snapshot!(outcome.failure(), @"invalid_response: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport: error decoding response body: request or response body error: error reading a body from connection: stream error received: unexpected internal error encountered; the answer was cut off; gave up after 3 attempts");
    bench.tenant.set_scenario_for(Scenario::CutBody, 2);
    read(bench.source(Kind::Report, quick())).await.check_whole();
}

/// Reads the one page of a server whose connections break, by a client that soon asks whether they live.
async fn read_from(server: &H2Server) -> Outcome {
    let yaml = format!(
        "tenants: [{{name: contoso, graph_url: '{}', ca_file: ca.pem, credential: {{kind: none}}, \
         source: {{kind: collection, path: /sessions}}}}]",
        server.url
    );
    let config = Config::from_yaml(&yaml, &server.directory.path().join("exporter.yaml")).unwrap();
    let timeouts = Timeouts { keep_alive: Duration::from_millis(100), ..Timeouts::default() };
    let policy = RetryPolicy { timeouts, ..quick() };
    let witness = Arc::new(Witness::default());
    let source = Source::with_policy(&config.tenants[0], &Network::new(|_| None), witness.clone(), policy).unwrap();
    read((source, witness)).await
}

#[tokio::test]
async fn a_request_whose_stream_or_connection_ends_is_sent_again() {
    for (fault, connections, retried) in [
        (Fault::GoAway, vec![0, 1], true),
        // Nothing was done, so it is sent again at once, without a failure.
        (Fault::Refused, vec![0, 0], false),
        (Fault::Reset, vec![0, 1], true),
        // Not after the minute of the time-out, but as soon as nobody says that the connection lives.
        (Fault::Dead, vec![0, 1], true),
    ] {
        let server = H2Server::start(&[fault]).await;
        let outcome = read_from(&server).await;
        assert_eq!((outcome.ids(), outcome.error.is_none()), (ids([1]), true), "{fault:?}: {outcome:?}");
        assert_eq!(server.connections(), connections, "{fault:?}");
        assert_eq!(outcome.heard.contains(&"retry".to_owned()), retried, "{fault:?}: {:?}", outcome.heard);
    }
}

#[tokio::test]
async fn connections_that_keep_breaking_are_told() {
    let _stand_ins = stand_ins();
    let mut failures = Vec::new();
    for fault in [Fault::GoAway, Fault::Reset, Fault::Dead] {
        let server = H2Server::start(&[fault; 9]).await;
        failures.push(read_from(&server).await.failure());
        assert_eq!(server.connections().len(), 3, "{fault:?}");
    }
    insta::assert_snapshot!(failures.join("\n"), @r#"
connection: GET https://localhost:PORT/sessions: error sending request: client error (SendRequest): connection error: stream closed because of a broken pipe; gave up after 3 attempts
connection: GET https://localhost:PORT/sessions: error sending request: client error (SendRequest): http2 error: stream error received: unexpected internal error encountered; gave up after 3 attempts
connection: GET https://localhost:PORT/sessions: error sending request: client error (SendRequest): http2 error: keep-alive timed out: operation timed out; the connection is dead: a firewall or proxy on the way may have dropped it; gave up after 3 attempts
"#);
}
