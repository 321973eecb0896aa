//! The client and its credentials against a fake service.

mod connecting;
mod tokens;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, Method};

use super::body::Caps;
use super::transport::Answer;
use super::{Client, Network, Request, RetryPolicy, Timeouts};
use crate::config::{self, Credential, Secret};
use crate::source::testing::{Fake, Reply, Witness, answer, bytes_answer, ok, quick, report_tenant};
use crate::source::{Endpoint, SourceError};
use crate::status::FailureReason;

struct Session {
    client: Client,
    witness: Arc<Witness>,
    request: Request,
}

impl Session {
    fn new(tenant: &config::Tenant) -> Self {
        Self::with_limits(tenant, quick(), Caps::PAGE)
    }

    fn with_limits(tenant: &config::Tenant, policy: RetryPolicy, caps: Caps) -> Self {
        let witness = Arc::new(Witness::default());
        let client = Client::with_caps(tenant, &Network::new(|_| None), witness.clone(), policy, caps).unwrap();
        let request = Request {
            endpoint: Endpoint::Collection,
            method: Method::GET,
            url: tenant.graph_url.join("/sessions?$filter=hidden").unwrap(),
            headers: HeaderMap::new(),
            body: None,
        };
        Self { client, witness, request }
    }

    async fn send(&self) -> Result<Answer, SourceError> {
        self.client.send(&self.request, &mut self.client.budget()).await
    }

    async fn error(&self) -> SourceError {
        self.send().await.unwrap_err()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn token_file(directory: &Path, text: &str) -> Credential {
    let token_file = directory.join("token");
    std::fs::write(&token_file, text).unwrap();
    Credential::BearerTokenFile { token_file }
}

#[tokio::test]
async fn each_attempt_has_an_id_of_its_own_and_the_usual_headers() {
    let fake = Fake::start(vec![answer("502 Bad Gateway", &[], ""), ok("{}")]).await;
    let session = Session::new(&report_tenant(&fake));
    assert_eq!(session.send().await.unwrap().body, "{}");
    let received = fake.received();
    let ids: Vec<_> = received.iter().map(|request| request.header("client-request-id").unwrap()).collect();
    assert!(ids.iter().all(|id| uuid::Uuid::parse_str(id).is_ok()) && ids[0] != ids[1], "{ids:?}");
    assert_eq!(received[0].header("accept-encoding"), Some("gzip"));
    assert_eq!(received[0].header("accept"), Some("application/json"));
    assert!(received[0].header("user-agent").unwrap().starts_with("remote-assistance-exporter/"));
    assert_eq!(received[0].header("authorization"), None);
    assert_eq!(session.witness.heard(), ["collection 502", "retry", "collection 200"]);
}

#[tokio::test]
async fn throttling_is_obeyed_on_the_same_connection_and_trouble_leaves_it() {
    for (status, headers, connections) in [
        ("429 Too Many Requests", vec![("retry-after", "0.01")], [0, 0]),
        ("429 Too Many Requests", vec![], [0, 0]),
        ("500 Internal Server Error", vec![], [0, 0]),
        ("503 Service Unavailable", vec![("retry-after", "0")], [0, 1]),
        ("504 Gateway Timeout", vec![], [0, 1]),
    ] {
        let fake = Fake::start(vec![answer(status, &headers, "x"), ok("{}")]).await;
        let session = Session::new(&report_tenant(&fake));
        session.send().await.unwrap();
        let used: Vec<_> = fake.received().iter().map(|request| request.connection).collect();
        assert_eq!(used, connections, "{status}");
        assert_eq!(session.witness.heard().contains(&"throttled".to_owned()), status.starts_with("429"));
    }
}

#[tokio::test]
async fn patience_ends_with_the_attempts_and_the_last_error_tells() {
    let fake = Fake::start(vec![answer("500 Internal Server Error", &[], "<html>"); 9]).await;
    let error = Session::new(&report_tenant(&fake)).error().await;
    assert_eq!(error.reason, FailureReason::ServerError);
    assert!(error.message.ends_with("; gave up after 3 attempts"), "{error}");
    assert!(!error.message.contains("hidden"), "{error}");
    assert_eq!(fake.received().len(), 3);
}

#[tokio::test]
async fn a_wait_beyond_the_poll_fails_at_once() {
    let fake = Fake::start(vec![answer("429 Too Many Requests", &[("retry-after", "3600")], "")]).await;
    let error = Session::new(&report_tenant(&fake)).error().await;
    assert_eq!(error.reason, FailureReason::Throttled);
    assert!(error.message.contains("the service asks to wait 3600 s and this poll has "), "{error}");
    assert_eq!(fake.received().len(), 1);
}

#[tokio::test]
async fn other_refusals_are_final() {
    for (status, reason) in [
        ("400 Bad Request", FailureReason::BadRequest),
        ("403 Forbidden", FailureReason::Forbidden),
        ("404 Not Found", FailureReason::NotFound),
        ("401 Unauthorized", FailureReason::Unauthorized),
    ] {
        let fake = Fake::start(vec![answer(status, &[], "")]).await;
        assert_eq!(Session::new(&report_tenant(&fake)).error().await.reason, reason);
        assert_eq!(fake.received().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Fake::start(vec![ok("{}")]).await;
    let location = target.url.to_string();
    let fake = Fake::start(vec![answer("302 Found", &[("location", &location)], "")]).await;
    let error = Session::new(&report_tenant(&fake)).error().await;
    assert_eq!(error.reason, FailureReason::InvalidResponse);
    assert!(target.received().is_empty());
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_asked_for_again() {
    let cut = |encoding: &str| {
        Reply::Close(format!("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n{encoding}\r\n{{\"value\"").into_bytes())
    };
    let fake = Fake::start(vec![cut(""), ok("whole")]).await;
    assert_eq!(Session::new(&report_tenant(&fake)).send().await.unwrap().body, "whole");

    let half = gzip(&[b'x'; 1000]);
    let half_gzip = bytes_answer("200 OK", &[("content-encoding", "gzip")], &half[..half.len() / 2]);
    let fake = Fake::start(vec![cut(""), half_gzip, cut("")]).await;
    let session = Session::new(&report_tenant(&fake));
    let error = session.error().await;
    assert_eq!(error.reason, FailureReason::InvalidResponse);
    assert!(error.message.contains("cut off"), "{error}");
    assert_eq!(session.witness.heard()[0], "collection error");
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_is_tried_again() {
    let fake = Fake::start(vec![Reply::Close(Vec::new()), ok("{}")]).await;
    Session::new(&report_tenant(&fake)).send().await.unwrap();
    assert_eq!(fake.received().len(), 2);
}

#[tokio::test]
async fn bodies_are_capped_on_the_wire_and_inflated() {
    let caps = Caps { wire: 2000, inflated: 4000, ..Caps::PAGE };
    let large = bytes_answer("200 OK", &[], &[b' '; 2001]);
    let bomb = bytes_answer("200 OK", &[("content-encoding", "gzip")], &gzip(&vec![b' '; 1_000_000]));
    let fits = bytes_answer("200 OK", &[("content-encoding", "gzip")], &gzip(&[b' '; 4000]));
    let fake = Fake::start(vec![large, bomb, fits]).await;
    let session = Session::with_limits(&report_tenant(&fake), quick(), caps);
    for cap in ["2000", "4000"] {
        let error = session.error().await;
        assert_eq!(error.reason, FailureReason::TooLarge);
        assert!(error.message.contains(cap), "{error}");
    }
    assert_eq!(session.send().await.unwrap().body.len(), 4000);
    assert_eq!(fake.received().len(), 3);
}

#[tokio::test]
async fn silence_is_a_time_out() {
    let timeouts = Timeouts { read: Duration::from_millis(50), ..Timeouts::default() };
    let policy = RetryPolicy { attempts_per_request: 2, timeouts, ..quick() };
    for silence in [Reply::Silence, Reply::Keep(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec())] {
        let fake = Fake::start(vec![silence.clone(), silence]).await;
        let session = Session::with_limits(&report_tenant(&fake), policy.clone(), Caps::PAGE);
        let error = session.error().await;
        assert_eq!(error.reason, FailureReason::Timeout, "{error}");
        assert_eq!(session.witness.heard(), ["collection error", "retry", "collection error"]);
    }
}

#[tokio::test]
async fn a_refused_connection_is_told_with_its_cause() {
    let fake = Fake::start(Vec::new()).await;
    let mut tenant = report_tenant(&fake);
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    tenant.graph_url = format!("http://{closed}").parse().unwrap();
    let session = Session::new(&tenant);
    let error = session.error().await;
    assert_eq!(error.reason, FailureReason::Connection);
    assert!(error.message.contains("Connection refused") && error.message.contains("/sessions:"), "{error}");
    assert!(!error.message.contains("hidden"), "{error}");
    assert_eq!(session.witness.heard().iter().filter(|heard| *heard == "retry").count(), 2);
}

#[tokio::test]
async fn an_unknown_authority_is_told_with_the_remedy_and_not_tried_again() {
    let fake = Fake::start_tls(vec![ok("{}")]).await;
    let mut tenant = report_tenant(&fake);
    Session::new(&tenant).send().await.unwrap();
    tenant.ca_file = None;
    let session = Session::new(&tenant);
    let error = session.error().await;
    assert_eq!(error.reason, FailureReason::Connection);
    assert!(error.message.contains("UnknownIssuer") && error.message.contains("ca_file"), "{error}");
    assert_eq!(session.witness.heard(), ["collection error"]);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let fake = Fake::start(Vec::new()).await;
    let refused = |change: &dyn Fn(&mut config::Tenant)| {
        let mut tenant = report_tenant(&fake);
        change(&mut tenant);
        let client = Client::new(&tenant, &Network::new(|_| None), Arc::new(Witness::default()), quick());
        client.err().unwrap()
    };
    let plain = refused(&|tenant| tenant.graph_url = "http://graph.example".parse().unwrap());
    assert!(plain.message.contains("plain http"), "{plain}");
    let missing = refused(&|tenant| tenant.ca_file = Some("/nonexistent/ca.pem".into()));
    assert_eq!(missing.reason, FailureReason::Credential);
    assert!(missing.message.contains("ca_file /nonexistent/ca.pem: "), "{missing}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let empty = refused(&|tenant| tenant.ca_file = Some(file.path().to_owned()));
    assert!(empty.message.contains("holds no PEM certificate"), "{empty}");
}

#[tokio::test]
async fn a_request_to_another_origin_is_never_sent() {
    let (fake, other) = (Fake::start(Vec::new()).await, Fake::start(vec![ok("{}")]).await);
    let mut session = Session::new(&report_tenant(&fake));
    session.request.url = other.url.clone();
    assert_eq!(session.error().await.reason, FailureReason::Paging);
    assert!(other.received().is_empty() && session.witness.heard().is_empty());
}

#[tokio::test]
async fn a_token_file_is_read_at_each_use_and_again_after_401() {
    let directory = tempfile::tempdir().unwrap();
    let unauthorized = || answer("401 Unauthorized", &[], r#"{"error":{"code":"x","message":"bad secret-token-3"}}"#);
    let fake = Fake::start(vec![ok("{}"), ok("{}"), unauthorized(), unauthorized()]).await;
    let mut tenant = report_tenant(&fake);
    tenant.credential = token_file(directory.path(), " secret-token-1\n");
    let session = Session::new(&tenant);
    session.send().await.unwrap();
    token_file(directory.path(), "secret-token-2");
    session.send().await.unwrap();
    token_file(directory.path(), "secret-token-3");
    let error = session.error().await;
    assert_eq!(error.reason, FailureReason::Unauthorized);
    assert!(error.message.contains("bad <token>"), "{error}");
    let sent: Vec<_> = fake.received().iter().map(|r| r.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["1", "2", "3", "3"].map(|number| format!("Bearer secret-token-{number}")));
}

#[tokio::test]
async fn a_token_file_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let fake = Fake::start(Vec::new()).await;
    let mut tenant = report_tenant(&fake);
    for (text, why) in [
        (" \n", "the file is empty"),
        ("two\nlines", "characters that no token has"),
        (&*"x".repeat(70_000), "is it the right one"),
    ] {
        tenant.credential = token_file(directory.path(), text);
        let error = Session::new(&tenant).error().await;
        assert_eq!(error.reason, FailureReason::Credential);
        assert!(error.message.contains(why) && error.message.contains("token_file /"), "{error}");
    }
    tenant.credential = Credential::BearerTokenFile { token_file: directory.path().join("absent") };
    let error = Session::new(&tenant).error().await;
    assert!(error.message.contains("absent: No such file"), "{error}");
    assert!(fake.received().is_empty());
}

const SECRET: &str = "s3cret~value&with=signs";

fn with_secret(fake: &Fake) -> config::Tenant {
    let secret = Secret::Inline(SECRET.into());
    let mut tenant = report_tenant(fake);
    tenant.credential = Credential::ClientSecret { client_id: "app".to_owned(), secret };
    tenant
}

fn token(text: &str) -> Reply {
    ok(&format!(r#"{{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"{text}"}}"#))
}

fn refusal(status: &str, number: u32) -> Reply {
    let body = format!(
        r#"{{"error":"invalid_client","error_description":"AADSTS{number}: Not {SECRET}.\r\nTrace ID: x","error_codes":[{number}]}}"#
    );
    answer(status, &[], &body)
}

#[tokio::test]
async fn a_client_secret_gets_a_token_that_is_kept() {
    let fake = Fake::start_tls(vec![token("first"), ok("{}"), ok("{}")]).await;
    let session = Session::new(&with_secret(&fake));
    session.send().await.unwrap();
    session.send().await.unwrap();
    let received = fake.received();
    assert!(received[0].head.starts_with("POST /11111111-2222-3333-4444-555555555555/oauth2/v2.0/token HTTP"));
    let form: Vec<_> = url::form_urlencoded::parse(received[0].body.as_bytes()).collect();
    let scope = format!("https://localhost:{}/.default", fake.url.port().unwrap());
    for (name, value) in
        [("client_id", "app"), ("client_secret", SECRET), ("grant_type", "client_credentials"), ("scope", &scope)]
    {
        assert!(form.contains(&(name.into(), value.into())), "{name}");
    }
    assert!(received[1..].iter().all(|request| request.header("authorization") == Some("Bearer first")));
    assert_eq!(session.witness.heard(), ["token 200", "token", "collection 200", "collection 200"]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once_with_the_secret_read_anew() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old-secret\n").unwrap();
    let unauthorized = || answer("401 Unauthorized", &[], "");
    let refused_twice = [unauthorized(), token("4"), unauthorized()];
    let renewed = [token("2"), unauthorized(), token("3"), ok("{}")];
    let fake = Fake::start_tls([vec![token("1"), ok("{}")], renewed.into(), refused_twice.into()].concat()).await;
    let mut tenant = with_secret(&fake);
    let secret = Secret::File(file.path().to_owned());
    tenant.credential = Credential::ClientSecret { client_id: "app".to_owned(), secret };
    let session = Session::new(&tenant);
    session.send().await.unwrap();
    std::fs::write(file.path(), "new-secret\n").unwrap();
    session.send().await.unwrap();
    assert_eq!(session.error().await.reason, FailureReason::Unauthorized);
    let received = fake.received();
    assert!(received[0].body.contains("client_secret=old-secret&"));
    assert!(received[2].body.contains("client_secret=new-secret&"), "at once, not after the old token's life");
    assert_eq!(received[5].header("authorization"), Some("Bearer 3"));
    assert_eq!(received.len(), 9);
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_are_told_without_the_secret() {
    let fake = Fake::start_tls(vec![refusal("401 Unauthorized", 7_000_215)]).await;
    let session = Session::new(&with_secret(&fake));
    let error = session.error().await;
    assert_eq!(error.reason, FailureReason::Authentication);
    assert!(error.message.contains("AADSTS7000215: Not <secret>; the client secret is wrong"), "{error}");
    assert_eq!(session.witness.heard(), ["token 401"]);
}

#[tokio::test]
async fn passing_troubles_of_the_token_endpoint_are_tried_again() {
    let fake = Fake::start_tls(vec![
        refusal("400 Bad Request", 90_033),
        answer("503 Service Unavailable", &[], ""),
        token("1"),
        ok("{}"),
    ])
    .await;
    let session = Session::new(&with_secret(&fake));
    session.send().await.unwrap();
    assert_eq!(
        session.witness.heard(),
        ["token 400", "retry", "token 503", "retry", "token 200", "token", "collection 200"]
    );

    let fake = Fake::start_tls(vec![Reply::Close(Vec::new()); 9]).await;
    let error = Session::new(&with_secret(&fake)).error().await;
    assert_eq!(error.reason, FailureReason::Connection);
    assert!(error.message.contains("/oauth2/v2.0/token: ") && error.message.contains("gave up after 3"), "{error}");
}

#[tokio::test]
async fn token_answers_without_a_token_and_broken_settings_are_told() {
    let fake = Fake::start_tls(vec![ok("{}"), ok("<html>")]).await;
    let session = Session::new(&with_secret(&fake));
    assert!(session.error().await.message.ends_with("no token that can be used"));
    assert!(session.error().await.message.contains("HTML"));
    let mut tenant = with_secret(&fake);
    tenant.tenant_id = Some("not a tenant".to_owned());
    let error = Session::new(&tenant).error().await;
    assert_eq!(error.reason, FailureReason::Credential);
    assert!(error.message.contains("not a tenant"), "{error}");
    assert_eq!(fake.received().len(), 2);
}
