//! Serving: what a scrape costs, beside what it would cost otherwise, in one run.
//!
//! - *encode*: the time of one scrape's encoding on one thread, beside the prometheus crate's own
//!   encoder over the same families, plain and compressed at the same level. A request is counted
//!   before each: no scrape finds the numbers of the HTTP server as the one before left them. Beside it,
//!   what the first scrape of a second costs, which reads the process anew, and the first one after a
//!   poll, which encodes everything.
//! - *serve*: scrapes a second of this server, beside a bare hyper server that returns the same bytes, headers
//!   included. Both run in this process with the same clients, in turns, so that a busy machine slows both; the
//!   share is the median of what it is in each pair of turns. The server is whole: it counts its requests and
//!   keeps its limits. (It reads the process in each second's first scrape, of which a median tells nothing: see
//!   *encode*.) The clients' work is part of both, so the server's own cost differs by more.
//!
//! Only ratios within one run mean anything: machines differ.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and prints its numbers")]

use std::convert::Infallible;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use chrono::DateTime;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};
use remote_assistance_exporter::exposition::{Encoding, Exposition, HttpMetrics, Wanted};
use remote_assistance_exporter::ledger::totals::{DURATION_BOUNDS, TICKS_PER_SECOND, Totals};
use remote_assistance_exporter::ledger::{Snapshot, TenantSnapshot};
use remote_assistance_exporter::metrics::{Build, Business, BusinessCollector, Live as _, Own, Process, Versioned};
use remote_assistance_exporter::session::{Label as _, SessionType};
use remote_assistance_exporter::status::Status;
use remote_assistance_exporter::{clock, web};
use tokio_util::sync::CancellationToken;

/// About 240 series each, beside some 130 of the exporter itself: 1, 10 and 100 thousand series.
const TENANTS: [usize; 3] = [4, 42, 420];
/// What one request is counted as.
const TOOK: Duration = Duration::from_micros(20);
/// The level of the compression that both sides are measured at.
const LEVEL: Compression = Compression::new(6);
/// Clients that scrape at a time: as many as the machine has cores, twice.
const CLIENTS: usize = 4;
/// Pairs of turns.
const TURNS: usize = 201;
/// How long a turn lasts: a machine's other work comes and goes in longer times.
const TURN: Duration = Duration::from_millis(20);
/// How long an encoding is measured.
const ENCODING: Duration = Duration::from_millis(500);

fn main() {
    let tried = std::env::args().any(|argument| argument == "--test");
    let (turns, turn, encoding_for) =
        if tried { (1, Duration::from_millis(20), Duration::from_millis(20)) } else { (TURNS, TURN, ENCODING) };
    for tenants in if tried { &TENANTS[..1] } else { &TENANTS[..] } {
        let exporter = Exporter::new(*tenants);
        let series = lines(&exporter.exposition.render(Wanted::default()).unwrap().bytes());
        for encoding in [Encoding::Identity, Encoding::Gzip] {
            measure_encoding(&exporter, *tenants, series, encoding, encoding_for);
        }
        for encoding in [Encoding::Identity, Encoding::Gzip] {
            let pairs = serve(&exporter, encoding, turns, turn);
            let of = |what: fn((f64, f64)) -> f64| median(pairs.iter().copied().map(what).collect());
            let (ours, bare, share) = (of(|pair| pair.0), of(|pair| pair.1), of(|(ours, bare)| 100.0 * ours / bare));
            println!("serve {series} series, {encoding:?}: {ours:.0} scrapes/s, bare {bare:.0}: {share:.0} %");
        }
    }
}

fn measure_encoding(exporter: &Exporter, tenants: usize, series: usize, encoding: Encoding, at_least: Duration) {
    let Exporter { exposition, http, published, uptime } = exporter;
    let wanted = Wanted { encoding, ..Wanted::default() };
    let path = http.path("/metrics");
    let scrape = || {
        http.answered(path, 200, TOOK);
        black_box(exposition.render(wanted).unwrap());
    };
    let ours = time(at_least, scrape);
    let each_second = time(at_least, || {
        uptime.fetch_add(1, Ordering::SeqCst);
        scrape();
    });
    let each_poll = time(at_least, || {
        let before = published.load();
        published.store(Arc::new(Snapshot { version: before.version + 1, ..Snapshot::clone(&before) }));
        scrape();
    });
    let gather = gather(tenants);
    let crates = time(at_least, || _ = black_box(encode(&gather(), encoding)));
    let times = crates.as_secs_f64() / ours.as_secs_f64();
    println!(
        "encode {series} series, {encoding:?}: {ours:.1?} (first of a second {each_second:.1?}, after a poll \
         {each_poll:.1?}), the crate's encoder {crates:.1?}: {times:.0} times"
    );
}

/// Sample lines.
fn lines(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count()
}

fn snapshot(tenants: usize) -> Snapshot {
    let start = DateTime::from_timestamp(1_774_000_000, 0).unwrap();
    let tenant = |number: usize| {
        let mut totals = Totals::zero(start, DURATION_BOUNDS);
        for (place, session_type) in SessionType::ALL.iter().enumerate() {
            totals.sessions[*session_type].value = (number * 7919 + place) as u64;
            for seconds in 1..200 {
                totals.durations[*session_type].observe((seconds * seconds + number as u64) * TICKS_PER_SECOND);
            }
        }
        TenantSnapshot { name: name(number).into(), totals: totals.into(), last_success: None }
    };
    Snapshot { tenants: (0..tenants).map(tenant).collect(), native_histograms: true, ..Snapshot::default() }
}

/// The program's own exposition: every part that it has.
struct Exporter {
    exposition: Exposition,
    http: HttpMetrics,
    published: Arc<ArcSwap<Snapshot>>,
    /// In seconds, beside those that have really gone by.
    uptime: Arc<AtomicU64>,
}

impl Exporter {
    fn new(tenants: usize) -> Self {
        let (own, http) = (own(tenants), http());
        let published = Arc::new(ArcSwap::from_pointee(snapshot(tenants)));
        let business = Business::new(published.clone()).unwrap();
        let (started, uptime) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let more = uptime.clone();
        let process = Process::new(move || started.elapsed() + Duration::from_secs(more.load(Ordering::SeqCst)));
        let parts: [Box<dyn Versioned>; 3] = [Box::new(business), Box::new(own.part()), Box::new(process.unwrap())];
        Self { exposition: Exposition::new(parts.into(), http.clone()), http, published, uptime }
    }
}

/// With every path that the server declares.
fn http() -> HttpMetrics {
    let http = HttpMetrics::new(clock::now).unwrap();
    for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/-/reload", "/status", "other"] {
        http.declare(http.path(path), &[200, 503]);
    }
    http
}

fn own(tenants: usize) -> Own {
    let own = Own::new(&Build { version: "1.2.3", revision: "abc", rust_version: "1.99" }, clock::now).unwrap();
    (0..tenants).for_each(|number| own.tenant(&name(number)).declare(Duration::from_secs(300)));
    own
}

fn name(number: usize) -> String {
    format!("tenant-{number:04}")
}

/// The same families, all of them gathered anew each time.
fn gather(tenants: usize) -> impl Fn() -> Vec<MetricFamily> {
    let (own, http, registry) = (own(tenants).part(), http(), Registry::new());
    #[cfg(target_os = "linux")]
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self())).unwrap();
    let published = Arc::new(ArcSwap::from_pointee(snapshot(tenants)));
    registry.register(Box::new(BusinessCollector::new(published).unwrap())).unwrap();
    move || [registry.gather(), own.gather(), http.gather()].concat()
}

/// A scrape as the prometheus crate's own documentation has it.
fn encode(families: &[MetricFamily], encoding: Encoding) -> Vec<u8> {
    let mut plain = Vec::new();
    TextEncoder::new().encode(families, &mut plain).unwrap();
    if encoding == Encoding::Identity {
        return plain;
    }
    let mut gzip = GzEncoder::new(Vec::new(), LEVEL);
    gzip.write_all(&plain).unwrap();
    gzip.finish().unwrap()
}

/// How long one call takes.
fn time(at_least: Duration, mut call: impl FnMut()) -> Duration {
    call();
    let start = Instant::now();
    let mut calls = 0;
    while start.elapsed() < at_least {
        call();
        calls += 1;
    }
    start.elapsed() / calls
}

/// Scrapes a second of this server and of the bare one, in each pair of turns.
fn serve(exporter: &Exporter, encoding: Encoding, turns: usize, turn: Duration) -> Vec<(f64, f64)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let stop = CancellationToken::new();
    let ours = start(exporter, &stop);
    let body: Bytes = exporter.exposition.render(Wanted { encoding, ..Wanted::default() }).unwrap().bytes().into();
    let bare = start_bare(headers(ours, encoding), body);
    // Neither always comes after the other.
    let take_turns = |pair| {
        let [first, second] = if pair % 2 == 0 { [ours, bare] } else { [bare, ours] };
        let rates = [first, second].map(|address| scrapes_a_second(address, encoding, turn));
        if pair % 2 == 0 { (rates[0], rates[1]) } else { (rates[1], rates[0]) }
    };
    let pairs = (0..turns).map(take_turns).collect();
    stop.cancel();
    pairs
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn start(exporter: &Exporter, stop: &CancellationToken) -> SocketAddr {
    let listeners = web::bind(&["127.0.0.1:0".to_owned()]).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let state = web::State {
        exposition: exporter.exposition.clone(),
        http: exporter.http.clone(),
        status: Arc::new(Status::default()),
        access: Arc::default(),
        version: "1.2.3",
        started: DateTime::from_timestamp(1_774_000_000, 0).unwrap(),
        now: clock::now,
        telemetry_path: "/metrics".into(),
        max_requests: 40,
        limits: web::Limits::default(),
        reloads: None,
    };
    tokio::spawn(web::serve(listeners, stop.clone(), state));
    address
}

/// What this server says before a page, but what hyper says of itself.
fn headers(ours: SocketAddr, encoding: Encoding) -> HeaderMap {
    let mut buffer = vec![0; 1 << 18];
    let head = scrape(&mut TcpStream::connect(ours).unwrap(), encoding, &mut buffer);
    let lines = std::str::from_utf8(&buffer[..head]).unwrap().lines().skip(1).filter_map(|line| line.split_once(": "));
    let lines = lines.filter(|(name, _)| !["content-length", "date"].contains(name));
    lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

/// hyper alone, without even the timer that its own example sets: with it, it would be slower.
fn start_bare(headers: HeaderMap, body: Bytes) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (headers, body) = (headers.clone(), body.clone());
            let service = service_fn(move |_| {
                let mut answer = http::Response::new(Full::new(body.clone()));
                *answer.headers_mut() = headers.clone();
                async move { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

fn scrapes_a_second(address: SocketAddr, encoding: Encoding, turn: Duration) -> f64 {
    let start = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = TcpStream::connect(address).unwrap();
                client.set_nodelay(true).unwrap();
                let mut buffer = vec![0; 1 << 18];
                let mut scrapes = 0;
                while start.elapsed() < turn {
                    scrape(&mut client, encoding, &mut buffer);
                    scrapes += 1;
                }
                scrapes
            })
        })
        .collect();
    let scrapes: u32 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    f64::from(scrapes) / start.elapsed().as_secs_f64()
}

/// One scrape on a connection that is kept; the length of the answer's head, with which the buffer begins.
fn scrape(client: &mut TcpStream, encoding: Encoding, buffer: &mut [u8]) -> usize {
    let accept = if encoding == Encoding::Gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    // In one packet, as every client sends it.
    let request = format!("GET /metrics HTTP/1.1\r\nHost: exporter\r\n{accept}\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut read = client.read(buffer).unwrap();
    let head = loop {
        match buffer[..read].windows(4).position(|window| window == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => read += client.read(&mut buffer[read..]).unwrap(),
        }
    };
    let text = std::str::from_utf8(&buffer[..head]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut left = length.parse::<usize>().unwrap() - (read - head);
    while left > 0 {
        left -= client.read(&mut buffer[head..]).unwrap();
    }
    head
}
