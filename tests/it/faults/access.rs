//! Tokens, permissions, and where the token must not go.

use remote_assistance_exporter::simulator::Scenario;
use remote_assistance_exporter::source::{Network, RetryPolicy, Source};
use remote_assistance_exporter::status::FailureReason;

use super::bench::{Bench, KINDS, Kind, PAGE, SESSIONS, go_on, ids, quick, read};
use crate::support::stand_ins;

#[tokio::test]
async fn an_expired_token_is_renewed_once() {
    for kind in KINDS {
        let bench = Bench::start().await;
        let (source, witness) = bench.source(kind, quick());
        let mut reading = source.read();
        reading.next_page().await.unwrap();
        bench.tenant.set_scenario(Scenario::ExpiredToken);
        let rest = go_on(reading, &witness).await;
        assert_eq!((rest.ids(), rest.is_complete), (ids(PAGE..SESSIONS), true));
        let pages = match kind {
            Kind::Report => {
                ["POST 0+25 200", "POST 25+25 pinned 401", "POST 25+25 pinned 200", "POST 50+25 pinned 200"]
            }
            Kind::Collection => [
                "GET ?$top=25 200",
                "GET ?$top=25&$skiptoken=*0190 401",
                "GET ?$top=25&$skiptoken=*0190 200",
                "GET ?$top=25&$skiptoken=*0320 200",
            ],
        };
        let [first, refused, again, last] = pages;
        assert_eq!(bench.calls(), ["POST token 200", first, refused, "POST token 200", again, last]);
        assert_eq!(rest.heard.iter().filter(|heard| *heard == "token").count(), 2);
        bench.check_requests();
    }
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let _stand_ins = stand_ins();
    for kind in KINDS {
        let bench = Bench::start().await;
        let outcome = bench.read(kind, Scenario::MissingRole).await;
        assert_eq!(outcome.error.as_ref().unwrap().reason, FailureReason::Forbidden);
        match kind {
            Kind::Report => {
                insta::assert_snapshot!(outcome.failure(), @"forbidden: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 403 Forbidden: Forbidden: Application is not authorized to perform this operation. Application must have one of the following scopes: DeviceManagementServiceConfig.Read.All, DeviceManagementConfiguration.Read.All - Operation ID (for customer support): 00000000-0000-0000-0000-000000000000 - Activity ID: GUID… (request-id GUID); grant the application one of the Microsoft Graph application permissions DeviceManagementServiceConfig.Read.All or DeviceManagementConfiguration.Read.All and give admin consent (a new permission takes effect with the next token, which the next poll asks for)")
            }
            Kind::Collection => {
                insta::assert_snapshot!(outcome.failure(), @"forbidden: GET https://localhost:PORT/beta/deviceManagement/remoteAssistanceSessions answered 403 Forbidden: Forbidden: Application is not authorized to perform this operation. Application must have one of the following scopes: DeviceManagementServiceConfig.Read.All, DeviceManagementConfiguration.Read.All - Operation ID (for customer support): 00000000-0000-0000-0000-000000000000 - Activity ID: GUID… (request-id GUID); grant the application what the service at source.path asks for")
            }
        }
        assert_eq!(bench.calls().len(), 2, "not tried again: {:?}", bench.calls());
        bench.check_requests();
    }
}

#[tokio::test]
async fn a_passing_trouble_of_the_token_endpoint_is_waited_out() {
    let _stand_ins = stand_ins();
    for kind in KINDS {
        let bench = Bench::start().await;
        bench.tenant.set_scenario_for(Scenario::TokenTransient, 2);
        let outcome = read(bench.source(kind, quick())).await;
        outcome.check_whole();
        assert_eq!(bench.calls()[..3], ["POST token 400", "POST token 400", "POST token 200"]);
        assert_eq!(outcome.heard[..6], ["token 400", "retry", "token 400", "retry", "token 200", "token"]);
        bench.check_requests();

        bench.tenant.set_scenario(Scenario::TokenTransient);
        let outcome = read(bench.source(kind, RetryPolicy { attempts_per_request: 2, ..quick() })).await;
        if kind == Kind::Report {
            insta::assert_snapshot!(outcome.failure(), @"authentication: the token endpoint https://localhost:PORT/21c2727c-6e03-4082-a8e1-d38e68177455/oauth2/v2.0/token answered 400: temporarily_unavailable: AADSTS90033: A transient error has occurred. Please try again; gave up after 2 attempts");
        }
        assert_eq!(outcome.heard, ["token 400", "retry", "token 400"]);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_stays() {
    let _stand_ins = stand_ins();
    for kind in KINDS {
        let bench = Bench::start().await;
        let outcome = bench.read(kind, Scenario::Redirect).await;
        assert_eq!((outcome.reports.len(), outcome.is_complete), (0, false));
        if kind == Kind::Report {
            insta::assert_snapshot!(outcome.failure(), @"invalid_response: POST https://localhost:PORT/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport answered 302 Found (request-id GUID); redirects to https://localhost:PORT are not followed: name the service's own address in graph_url");
        }
        assert_eq!(bench.calls().len(), 2, "not tried again: {:?}", bench.calls());
        bench.check_requests();
    }
}

#[tokio::test]
async fn a_foreign_link_is_refused_and_the_token_stays() {
    let _stand_ins = stand_ins();
    let bench = Bench::start().await;
    let outcome = bench.read(Kind::Collection, Scenario::ForeignLink).await;
    assert_eq!((outcome.ids(), outcome.is_complete), (ids(0..PAGE), false), "the rows of the page are good");
    insta::assert_snapshot!(outcome.failure(), @"paging: the answer's nextLink is refused: it leads to https://localhost:PORT, and the token is for https://localhost:PORT only; if that is a gateway, name it in graph_url");
    assert_eq!(bench.calls(), ["POST token 200", "GET ?$top=25 200"]);
    bench.check_requests();
    // The report has no links that could lead away.
    bench.read(Kind::Report, Scenario::ForeignLink).await.check_whole();
    bench.check_foreign();
}

/// The trap works: what is sent there arrives, TLS and all, and is seen with its token.
#[tokio::test]
async fn what_is_sent_to_the_foreign_origin_would_be_seen() {
    let bench = Bench::start().await;
    let directory = bench.directory.path();
    let mut config = super::bench::configuration(&bench.simulator, &bench.tenant, "{kind: sessions_report}", directory);
    config.tenants[0].graph_url = bench.foreign.url().parse().unwrap();
    let token_file = directory.join("token");
    std::fs::write(&token_file, "anything").unwrap();
    config.tenants[0].credential = remote_assistance_exporter::config::Credential::BearerTokenFile { token_file };
    let witness = std::sync::Arc::new(super::bench::Witness::default());
    let network = Network::new(|_| None);
    let source = Source::with_policy(&config.tenants[0], &network, witness, quick()).unwrap();
    assert_eq!(source.read().next_page().await.unwrap_err().reason, FailureReason::Unauthorized);
    let seen = bench.foreign.stray_requests();
    assert!(!seen.is_empty() && seen.iter().all(|request| request.authorization), "{seen:?}");
}
