//! What each path and method answers.

use std::io::Read;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use remote_assistance_exporter::status::{EnrollmentStatus, FailureReason, PollError};

use super::{Server, tenant};
use crate::tools::follows_schema;

/// The server's time.
fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_774_003_600, 0).unwrap()
}

#[tokio::test]
async fn every_page_says_its_type_and_is_never_stored() {
    let server = Server::start();
    server.status.configured("tenants: []\n".to_owned(), now());
    for (path, status, content_type) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/-/healthy", 200, "text/plain; charset=utf-8"),
        ("/-/ready", 503, "text/plain; charset=utf-8"),
        ("/config", 200, "text/plain; charset=utf-8"),
        ("/status", 200, "application/json"),
        ("/nowhere", 404, "text/plain; charset=utf-8"),
    ] {
        let response = server.get(path).await;
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("content-type"), Some(content_type), "{path}");
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        for header in ["content-security-policy", "referrer-policy"] {
            assert_eq!(response.header(header).is_some(), path == "/", "{path}: {header}");
        }
        assert!(!response.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::start();
    let mut client = server.connect().await;
    for path in ["/", "/-/healthy", "/-/ready", "/config", "/status", "/nowhere"] {
        let get = client.request("GET", path).await;
        let head = client.request("HEAD", path).await;
        assert_eq!((head.status, head.lasting_headers()), (get.status, get.lasting_headers()), "{path}");
    }
    let head = client.request("HEAD", "/metrics").await;
    assert_eq!(head.status, 200);
    assert_ne!(head.header("content-length").unwrap(), "0");
    // The next answer begins where the headers ended: there was no body.
    assert_eq!(client.request("GET", "/-/healthy").await.status, 200);
}

#[tokio::test]
async fn other_methods_are_told_which_ones_work() {
    let server = Server::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"] {
        for path in ["/", "/metrics", "/config", "/status"] {
            let response = server.connect().await.request(method, path).await;
            assert_eq!(response.status, 405, "{method} {path}");
            assert_eq!(response.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
        assert_eq!(server.connect().await.request(method, "/nowhere").await.status, 404, "{method}");
    }
}

#[tokio::test]
async fn queries_and_whole_addresses_lead_to_the_same_page() {
    let server = Server::start();
    let mut client = server.connect().await;
    for target in ["/-/healthy?verbose", "http://exporter/-/healthy", "http://other:1/-/healthy?x=/nowhere"] {
        assert_eq!(client.request("GET", target).await.text(), "Healthy.\n", "{target}");
    }
    assert_eq!(client.request("OPTIONS", "*").await.status, 405);
}

#[tokio::test]
async fn the_format_and_the_encoding_are_negotiated() {
    let server = Server::start();
    let mut client = server.connect().await;
    let prometheus = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n\
                      Accept-Encoding: gzip\r\n";
    let response = client.request_with("GET", "/metrics", prometheus).await;
    assert_eq!(response.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*response.body).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\n# EOF\n"), "{text}");

    let response = client.request_with("GET", "/metrics", "Accept-Encoding: gzip;q=0\r\n").await;
    assert_eq!(response.header("content-encoding"), None);
    assert!(response.text().contains("# TYPE remote_assistance_exporter_http_requests_total counter\n"));
}

#[tokio::test]
async fn requests_are_counted_by_path_and_status() {
    let server = Server::start();
    let requests =
        |code: u16, path: &str| server.sample(&format!("http_requests_total{{code=\"{code}\",path=\"{path}\"}}"));
    assert_eq!(server.get("/-/ready").await.status, 503);
    assert_eq!(requests(404, "other"), Some(0.0), "known paths start at zero");
    for path in ["/a", "/b/../c", "/metrics/"] {
        server.get(path).await;
    }
    server.connect().await.request("POST", "/metrics").await;
    server.get("/metrics").await;
    assert_eq!(requests(404, "other"), Some(3.0));
    assert_eq!(requests(405, "/metrics"), Some(1.0));
    assert_eq!(requests(200, "/metrics"), Some(1.0));
    assert_eq!(requests(503, "/-/ready"), Some(1.0));
    assert_eq!(server.sample("http_request_duration_seconds_count{path=\"other\"}"), Some(3.0));
    super::until(|| server.sample("http_requests_in_flight") == Some(0.0)).await;
}

#[tokio::test]
async fn health_names_the_loops_that_stalled() {
    let server = Server::start();
    server.status.beat("poll", Duration::from_secs(3600));
    assert_eq!(server.get("/-/healthy").await.text(), "Healthy.\n");
    server.status.beat("commit", Duration::ZERO);
    server.status.beat("reload", Duration::ZERO);
    let response = server.get("/-/healthy").await;
    assert_eq!((response.status, response.text()), (503, "Stalled: commit, reload.\n"));
}

#[tokio::test]
async fn readiness_comes_once_and_stays() {
    let server = Server::start();
    assert_eq!(server.get("/-/ready").await.status, 503);
    server.status.set(tenant("a"));
    assert_eq!(server.get("/-/ready").await.status, 503);
    server.status.update("a", |row| row.up = Some(false));
    assert_eq!(server.get("/-/ready").await.status, 200);
    // A tenant that is added later has not been polled.
    server.status.set(tenant("b"));
    assert_eq!(server.get("/-/ready").await.status, 200);
}

#[tokio::test]
async fn the_status_page_is_the_table_as_json() {
    let server = Server::start();
    let mut row = tenant("contoso");
    row.up = Some(false);
    row.last_error = Some(PollError { reason: FailureReason::Forbidden, message: "the \"role\" is missing".into() });
    server.status.set(row);
    let mut row = tenant("fabrikam");
    let minute_ago = now() - TimeDelta::minutes(1);
    row.up = Some(true);
    (row.last_success, row.last_poll, row.last_poll_duration_seconds) = (Some(minute_ago), Some(minute_ago), Some(0.5));
    (row.files_set_aside, row.credential_expires) = (2, Some(now() + TimeDelta::days(400)));
    row.enrollment_lookup =
        Some(EnrollmentStatus { up: Some(true), devices: 7, last_success: Some(minute_ago), last_error: None });
    server.status.set(row);
    server.status.set(tenant("northwind"));
    let read = async || {
        let body = String::from_utf8(server.get("/status").await.body).unwrap();
        follows_schema("docs/status.schema.json", &body);
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    for key in ["configuration", "web_configuration"] {
        assert_eq!(read().await[key], serde_json::Value::Null);
    }
    server.status.configured(String::new(), now());
    server.status.configuration_refused("x.yaml:7: no".to_owned(), now());
    server.status.beat("commit", Duration::ZERO);
    server.status.web_configured(None, now());
    assert_eq!(
        read().await["web_configuration"],
        serde_json::json!({"loaded": "2026-03-20T10:46:40Z", "refused": null, "certificate_expires": null})
    );
    server.status.web_configured(Some(now() + TimeDelta::days(400)), now());
    server.status.web_configuration_refused("web.yml:7: no".to_owned(), now() - TimeDelta::hours(1));
    let page = read().await;
    assert_eq!(
        page["web_configuration"],
        serde_json::json!({
            "loaded": "2026-03-20T10:46:40Z",
            "refused": {"time": "2026-03-20T09:46:40Z", "message": "web.yml:7: no"},
            "certificate_expires": "2027-04-24T10:46:40Z",
        })
    );
    assert_eq!(page["configuration"]["loaded"], "2026-03-20T10:46:40Z");
    assert_eq!(page["configuration"]["refused"]["message"], "x.yaml:7: no");
    assert_eq!((&page["schema_version"], &page["stalled"]), (&1.into(), &serde_json::json!(["commit"])));
    let conditions = [0, 1, 2].map(|index| page["tenants"][index]["condition"].as_str().unwrap());
    assert_eq!(conditions, ["failing", "warning", "unpolled"]);
    assert_eq!(page["version"], "1.2.3");
    assert_eq!((&page["started"], &page["time"]), (&"2026-03-20T09:46:40Z".into(), &"2026-03-20T10:46:40Z".into()));
    assert_eq!(page["ready"], false, "one tenant was never polled");
    assert_eq!(page["tenants"][0]["tenant"], "contoso");
    assert_eq!(page["tenants"][0]["last_error"]["reason"], "forbidden");
    assert_eq!(page["tenants"][0]["last_error"]["message"], "the \"role\" is missing");
    assert_eq!(page["tenants"][0]["sessions_in_progress"], serde_json::Value::Null);
}

/// The text is shared, not copied, and the next configuration replaces it.
#[tokio::test]
async fn the_configuration_is_shown_as_it_was_given() {
    let server = Server::start();
    assert_eq!(server.get("/config").await.status, 503);
    for yaml in ["a: 1\n", "a: 2\n"] {
        server.status.configured(yaml.to_owned(), now());
        assert_eq!(server.get("/config").await.text(), yaml);
        server.status.configuration_refused("no".to_owned(), now());
        assert_eq!(server.get("/config").await.text(), yaml);
    }
}

#[tokio::test]
async fn the_landing_page_links_to_every_other() {
    let server = Server::with(|state| state.telemetry_path = "/a&b".into());
    server.status.set(tenant("contoso"));
    let page = server.get("/").await;
    for link in ["/a&amp;b", "/config", "/status", "/-/healthy", "/-/ready"] {
        assert!(page.text().contains(&format!("href=\"{link}\"")), "{link} in {}", page.text());
    }
    assert!(page.text().contains("contoso"), "{}", page.text());
    assert_eq!(server.get("/a&b").await.status, 200);
    assert_eq!(server.get("/metrics").await.status, 404);
}

#[tokio::test]
async fn a_telemetry_path_of_slash_has_no_landing_page() {
    let server = Server::with(|state| state.telemetry_path = "/".into());
    assert!(server.get("/").await.text().starts_with("# HELP "));
}
