//! What depends on when: looks, waits that the service asks for, and readings that are interrupted.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use zip::write::SimpleFileOptions;

use super::*;
use crate::session::Property;
use crate::source::testing::{Fake, Reply, answer, bytes_answer, export_tenant, ok, quick, source};
use crate::source::{Network, Observer, Source};

const LONG: Duration = Duration::from_secs(60);

fn job(status: &str, url: Option<&Url>) -> String {
    json!({"id": "RemoteAssistanceSessions_1", "status": status, "url": url.map(Url::as_str)}).to_string()
}

fn file() -> Reply {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("a.csv", SimpleFileOptions::default()).unwrap();
    let csv = "\u{feff}SessionId,Sessionstart,Sessionend\r\na,2026-03-19T12:00:00,2026-03-19T12:10:00\r\n";
    std::io::Write::write_all(&mut archive, csv.as_bytes()).unwrap();
    bytes_answer("200 OK", &[("date", "Fri, 20 Mar 2026 12:00:00 GMT")], &archive.finish().unwrap().into_inner())
}

/// Blob storage that has the file, and its address.
async fn blob(replies: Vec<Reply>) -> (Fake, Url) {
    let blob = Fake::start(replies).await;
    let url = blob.url.join("/b.zip?sig=s3cr3t").unwrap();
    (blob, url)
}

/// Hears the clocks.
#[derive(Default)]
struct Clocks(Mutex<Vec<DateTime<Utc>>>);

impl Observer for Clocks {
    fn request(&self, _: Endpoint, _: Option<u16>, _: Duration) {}

    fn retry(&self) {}

    fn throttled(&self) {}

    fn held_back(&self, _: Duration) {}

    fn token_expires(&self, _: DateTime<Utc>) {}

    fn date(&self, at: DateTime<Utc>) {
        self.0.lock().unwrap().push(at);
    }
}

fn lines(fake: &Fake) -> Vec<String> {
    fake.received().iter().map(|request| request.head.lines().next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_time_is_graphs_and_the_wait_that_it_asks_for_is_kept() {
    let (blob, url) = blob(vec![file()]).await;
    let graph = Fake::start(vec![
        ok(&job("notStarted", None)),
        answer("200 OK", &[("retry-after", "0.3")], &job("inProgress", None)),
        ok(&job("completed", Some(&url))),
    ])
    .await;
    let clocks = Arc::new(Clocks::default());
    let network = Network::new(|_| None);
    let source = Source::with_policy(&export_tenant(&graph, LONG), &network, clocks.clone(), quick()).unwrap();
    let mut reading = source.read();
    let started = Instant::now();
    let page = reading.next_page().await.unwrap().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!((page.reports.len(), reading.is_complete()), (1, false));
    assert!(reading.next_page().await.unwrap().is_none());
    assert!(reading.next_page().await.unwrap().is_none(), "the end stays the end");
    assert!(reading.is_complete());
    assert_eq!(reading.date().unwrap().to_rfc3339(), "2026-03-19T12:00:00+00:00");
    let survey = reading.survey().unwrap();
    assert!(survey.is_readable() && survey.unused.is_empty(), "{survey:?}");
    let look = "GET /v1.0/deviceManagement/reports/exportJobs('RemoteAssistanceSessions_1') HTTP/1.1";
    assert_eq!(lines(&graph), ["POST /v1.0/deviceManagement/reports/exportJobs HTTP/1.1", look, look]);
    assert_eq!(lines(&blob), ["GET /b.zip?sig=s3cr3t HTTP/1.1"]);
    let clocks: Vec<_> = clocks.0.lock().unwrap().iter().map(|date| date.to_rfc3339()).collect();
    assert_eq!(clocks, ["2026-03-19T12:00:00+00:00"; 2], "blob storage's clock is not heard");
}

/// Counts the rests, and how many of them have not ended.
#[derive(Default)]
struct Rests(Mutex<(u32, u32)>);

#[async_trait]
impl Rest for Rests {
    fn begin(&self) {
        let mut rests = self.0.lock().unwrap();
        *rests = (rests.0 + 1, rests.1 + 1);
    }

    async fn end(&self) {
        self.0.lock().unwrap().1 -= 1;
    }
}

#[tokio::test]
async fn a_reading_rests_before_each_look_and_at_no_other_time() {
    let (_blob, url) = blob(vec![file()]).await;
    let replies =
        [&job("notStarted", None), &job("inProgress", None), &job("completed", Some(&url))].map(|job| ok(job));
    let graph = Fake::start(replies.to_vec()).await;
    let (source, _) = source(&export_tenant(&graph, LONG));
    let rests = Arc::new(Rests::default());
    let mut reading = source.resting_by(rests.clone()).read();
    assert_eq!(reading.next_page().await.unwrap().unwrap().rows(), 1);
    assert_eq!(*rests.0.lock().unwrap(), (2, 0));
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_ends_with_it_and_a_last_look() {
    let (_blob, url) = blob(vec![file()]).await;
    let graph = Fake::start(vec![
        ok(&job("notStarted", None)),
        answer("200 OK", &[("retry-after", "3600")], &job("inProgress", None)),
        ok(&job("completed", Some(&url))),
    ])
    .await;
    let (source, _) = source(&export_tenant(&graph, Duration::from_millis(200)));
    assert_eq!(source.read().next_page().await.unwrap().unwrap().rows(), 1);
    assert_eq!(graph.received().len(), 3);
}

#[tokio::test]
async fn whoever_stops_waiting_and_comes_back_finds_the_same_job() {
    let (_blob, url) = blob(vec![Reply::Silence, file()]).await;
    let graph = Fake::start(vec![
        ok(&job("notStarted", None)),
        answer("200 OK", &[("retry-after", "0.5")], &job("inProgress", None)),
        ok(&job("completed", Some(&url))),
    ])
    .await;
    let (source, _) = source(&export_tenant(&graph, LONG));
    let mut reading = source.read();
    // Interrupted while it waits for the job, then while it waits for the file.
    let mut interrupted = 0;
    while let Err(_elapsed) = tokio::time::timeout(Duration::from_millis(400), reading.next_page()).await {
        interrupted += 1;
        assert!(interrupted < 100);
    }
    assert!(interrupted >= 2, "{interrupted}");
    let submissions = graph.received().iter().filter(|request| request.head.starts_with("POST")).count();
    assert_eq!(submissions, 1, "{:?}", lines(&graph));
    assert!(reading.next_page().await.unwrap().is_none(), "the page was taken");
}

#[tokio::test]
async fn a_job_that_is_cut_off_is_asked_for_again() {
    let (_blob, url) = blob(vec![file()]).await;
    let whole = job("completed", Some(&url));
    let replies = [&job("notStarted", None), &whole[..whole.len() - 9], &whole].map(ok);
    let graph = Fake::start(replies.to_vec()).await;
    let (source, witness) = source(&export_tenant(&graph, LONG));
    assert_eq!(source.read().next_page().await.unwrap().unwrap().rows(), 1);
    assert!(witness.heard().contains(&"retry".to_owned()));
}

#[tokio::test]
async fn a_web_page_in_the_way_of_the_file_costs_no_further_jobs() {
    let xhtml = r#"<?xml version="1.0"?><!DOCTYPE html><HTML>s3cr3t</HTML>"#;
    let pages = [("403 Forbidden", " <html>s3cr3t</html>"), ("404 Not Found", xhtml)];
    let mut messages = Vec::new();
    for (status, page) in pages {
        let (_blob, url) = blob(vec![answer(status, &[], page)]).await;
        let graph = Fake::start(vec![ok(&job("notStarted", None)), ok(&job("completed", Some(&url)))]).await;
        let (source, _) = source(&export_tenant(&graph, LONG));
        let message = source.read().next_page().await.unwrap_err().message;
        messages.push(message.replace(&url.port().unwrap().to_string(), "PORT"));
        assert_eq!(graph.received().len(), 2, "one job");
    }
    insta::assert_snapshot!(messages.join("\n"), @r"
    GET http://127.0.0.1:PORT/b.zip answered 403 Forbidden: the answer is HTML (a proxy or gateway page?); let the exporter through to that host
    GET http://127.0.0.1:PORT/b.zip answered 404 Not Found: the answer is HTML (a proxy or gateway page?); let the exporter through to that host
    ");
    // Blob storage's own words, with and without a byte-order mark.
    for mark in ["", "\u{feff}"] {
        let xml = format!(r#"{mark}<?xml version="1.0"?><Error><Code>AuthenticationFailed</Code></Error>"#);
        let (_blob, url) = blob(vec![answer("403 Forbidden", &[], &xml), file()]).await;
        let (underway, completed) = (ok(&job("notStarted", None)), ok(&job("completed", Some(&url))));
        let graph = Fake::start(vec![underway.clone(), completed.clone(), underway, completed]).await;
        let (source, _) = source(&export_tenant(&graph, LONG));
        assert_eq!(source.read().next_page().await.unwrap().unwrap().rows(), 1);
    }
}

#[tokio::test]
async fn a_file_without_a_column_that_counts_names_those_that_came() {
    let csv = b"Attribute,SessionId\r\n";
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("a.csv", SimpleFileOptions::default()).unwrap();
    std::io::Write::write_all(&mut archive, csv).unwrap();
    let (_blob, url) = blob(vec![bytes_answer("200 OK", &[], &archive.finish().unwrap().into_inner())]).await;
    let graph = Fake::start(vec![ok(&job("notStarted", None)), ok(&job("completed", Some(&url)))]).await;
    let (source, _) = source(&export_tenant(&graph, LONG));
    let mut reading = source.read();
    let message = reading.next_page().await.unwrap_err().message.replace(&url.port().unwrap().to_string(), "PORT");
    insta::assert_snapshot!(message, @"the export from http://127.0.0.1:PORT/b.zip: the report has no column for startDateTime, endDateTime; it has Attribute, SessionId: name the right ones under source.columns; the next poll asks for another export");
    assert!(!reading.survey().unwrap().is_readable());
}

#[test]
fn columns_that_no_session_can_do_without_have_to_be_selected() {
    let origin = Url::parse("https://graph.example").unwrap();
    let export = |select: &[&str], columns: &[(Property, &str)]| {
        let select: Vec<_> = select.iter().map(|name| (*name).to_owned()).collect();
        let columns = columns.iter().map(|(property, name)| (*property, (*name).to_owned())).collect();
        Export::new(&origin, &select, Columns::new(columns), LONG, &RetryPolicy::default()).map(drop)
    };
    assert!(export(EXPORT_COLUMNS, &[]).is_ok());
    let beside = [(Property::SessionType, "attribute_loc"), (Property::EndDateTime, "SESSIONSTART")];
    assert!(export(EXPORT_COLUMNS, &beside).is_ok(), "the service adds the texts itself");
    let refusal = |select: &[&str], columns: &[(Property, &str)]| export(select, columns).unwrap_err().message;
    insta::assert_snapshot!(refusal(&["SessionId", "Sessionstart"], &[]), @"source.select lacks a column for endDateTime; add the column there, or name one that is there under source.columns");
    insta::assert_snapshot!(refusal(EXPORT_COLUMNS, &[(Property::EndDateTime, "Finished")]), @"source.select lacks a column for endDateTime (configured as Finished); add the column there, or name one that is there under source.columns");
    insta::assert_snapshot!(refusal(EXPORT_COLUMNS, &[(Property::SharerOs, "Platform")]), @"source.select lacks a column for sharerOs (configured as Platform); add the column there, or name one that is there under source.columns");
}

#[test]
fn looks_become_rarer_up_to_a_bound() {
    let origin = Url::parse("https://graph.example").unwrap();
    let select: Vec<_> = EXPORT_COLUMNS.iter().map(|name| (*name).to_owned()).collect();
    let export = Export::new(&origin, &select, Columns::default(), LONG, &RetryPolicy::default()).unwrap();
    let paces = [0, 1, 2, 8, 9, 1000, u32::MAX].map(|looked| export.pace(looked).as_secs_f64());
    assert_eq!(paces, [1.0, 1.5, 2.25, 25.628_906_25, 30.0, 30.0, 30.0]);
}
