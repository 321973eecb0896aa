//! How the program stops: promptly, whatever is under way, and without losing anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use remote_assistance_exporter::simulator::{Options, Scenario, TenantOptions};

use super::support::{Exporter, Lab, PATIENCE, Scrape, wait_for};

const SIGINT: i32 = 2;

/// A service that takes longer than any test waits.
fn stalls_for_ever(options: &mut Options) {
    options.stall = Duration::from_secs(24 * 3600);
}

fn lab(change: impl FnOnce(&mut Options)) -> (Lab, Vec<String>) {
    let tenant = TenantOptions { sessions_per_day: 10.0, live_per_second: 5.0, ..TenantOptions::new("contoso") };
    let lab = Lab::new(vec![tenant], change);
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", "source: {kind: sessions_report}")]);
    let arguments = lab.arguments(&configuration);
    (lab, arguments)
}

fn sessions(scrape: &Scrape) -> f64 {
    scrape.sum("sessions_total", &[])
}

fn assert_clean(log: &[String]) {
    let trouble = |line: &&String| !line.contains("level=info");
    assert_eq!(log.iter().find(trouble), None, "{log:#?}");
    assert!(log.last().unwrap().contains("msg=Stopped"), "{log:#?}");
}

#[test]
fn a_stop_does_not_wait_for_a_service_that_stalls_and_loses_nothing() {
    let (lab, arguments) = lab(stalls_for_ever);
    let tenant = lab.simulator.tenant("contoso").unwrap();
    let mut exporter = Exporter::start(&arguments);
    let first = exporter.wait_for_scrape("a first poll", |scrape| sessions(scrape) > 0.0);
    assert_clean(&exporter.stop());

    tenant.set_scenario(Scenario::Slow);
    let asked = || tenant.requests().iter().filter(|request| request.path.contains("SessionsReport")).count();
    let before = asked();
    let exporter = Exporter::start(&arguments);
    wait_for("a request that stalls", || (asked() > before).then_some(()));
    exporter.signal("TERM");
    let (status, log) = exporter.wait();
    assert!(status.success(), "{status}: {log:#?}");
    // Neither did the poll end by itself, nor was anything cut off.
    assert_clean(&log);

    tenant.set_scenario(Scenario::None);
    let now = lab.freeze();
    let truth = tenant.ended(now).len() as f64;
    let mut exporter = Exporter::start(&arguments);
    let restored = exporter.scrape();
    for (series, value) in first.durable_counters() {
        assert!(restored.value(series) >= value, "{series} went down from {value}");
    }
    exporter.wait_for_scrape("every session", |scrape| sessions(scrape) == truth);
    let polls = exporter.scrape().sum("polls_total", &[]);
    let later = exporter
        .wait_for_scrape("a poll that finds nothing new", |scrape| scrape.sum("polls_total", &[]) >= polls + 2.0);
    assert_eq!(sessions(&later), truth);
    assert_clean(&exporter.stop());
}

/// Many times, since what could go wrong is a race within the handling of one signal.
#[test]
fn the_first_ctrl_c_always_stops_it_in_good_order() {
    let (_lab, arguments) = lab(|_| {});
    for _ in 0..20 {
        let mut exporter = Exporter::start(&arguments);
        exporter.address();
        exporter.signal("INT");
        let (status, log) = exporter.wait();
        assert_eq!(status.code(), Some(0), "{status}: {log:#?}");
        assert_clean(&log);
    }
}

#[test]
fn ctrl_c_ends_a_stop_that_takes_too_long() {
    let (_lab, arguments) = lab(|_| {});
    for first in ["INT", "TERM"] {
        let mut exporter = Exporter::start(&arguments);
        let _readers = slow_readers(&mut exporter, 1);
        exporter.signal(first);
        exporter.wait_for_log(&["msg=Stopping", &format!("signal=SIG{first}")]);
        // A repeated SIGTERM is no impatience.
        exporter.signal("TERM");
        exporter.signal("INT");
        let (status, log) = exporter.wait();
        assert_eq!(status.signal(), Some(SIGINT), "after {first}: {status}: {log:#?}");
    }
}

/// Asks for far more than the systems of both sides hold, and reads none of it. All that it asks comes at once:
/// what a server has not read when it closes makes the system drop what was sent and not yet read, too.
fn slow_reader(exporter: &mut Exporter) -> TcpStream {
    const ANSWERS: usize = 120;
    let mut client = TcpStream::connect(exporter.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(ANSWERS).as_bytes()).unwrap();
    client
}

/// So many of them, each of which holds an answer that waits for it.
fn slow_readers(exporter: &mut Exporter, readers: usize) -> Vec<TcpStream> {
    let streams = (0..readers).map(|_| slow_reader(exporter)).collect();
    let answered = |scrape: &Scrape| scrape.sum("exporter_http_requests_total", &["path=\"/metrics\""]);
    wait_for("all of them to hold an answer", || {
        let [first, second] = [exporter.scrape(), exporter.scrape()];
        // Both count themselves in flight, and the first has been answered in between.
        let stuck = first.value("exporter_http_requests_in_flight") >= (readers + 1) as f64;
        (stuck && answered(&second) == answered(&first) + 1.0).then_some(())
    });
    streams
}

/// What comes until the server ends the connection, as answers with their headers. Whether the last is whole.
fn answers(mut client: TcpStream) -> (usize, bool) {
    let mut bytes = Vec::new();
    // One that is cut may end by a reset.
    let _ = client.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (mut rest, mut whole) = (text.as_str(), 0);
    while let Some((head, body)) = rest.split_once("\r\n\r\n") {
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let Some((_, after)) = body.split_at_checked(length.parse().unwrap()) else { return (whole, false) };
        (rest, whole) = (after, whole + 1);
    }
    (whole, rest.is_empty())
}

/// Answers that are being read go out to their end; those that nobody reads are cut, and keep nobody.
#[test]
fn a_stop_waits_for_slow_readers_and_not_for_those_that_never_read() {
    let (_lab, arguments) = lab(|_| {});
    let mut exporter = Exporter::start(&arguments);
    let mut readers = slow_readers(&mut exporter, 4);
    exporter.signal("TERM");
    exporter.wait_for_log(&["Listening no more"]);
    let (whole, complete) = answers(readers.pop().unwrap());
    assert!(whole > 0 && complete, "{whole} answers, the last one cut");
    let (status, log) = exporter.wait();
    assert_eq!(status.code(), Some(0), "{status}: {log:#?}");
    let cut =
        |line: &String| line.contains("Connections did not end in time and are cut") && line.contains("connections=3");
    assert!(log.iter().any(cut) && log.last().unwrap().contains("msg=Stopped"), "{log:#?}");
    for reader in readers {
        assert!(!answers(reader).1, "what was never read has been cut");
    }
}
