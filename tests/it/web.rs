//! The HTTP server over real sockets.

mod access;
mod client;
mod crowds;
mod limits;
mod pages;
mod reload;
mod slow;
mod stopping;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use chrono::DateTime;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Registry, TextEncoder};
use remote_assistance_exporter::clock;
use remote_assistance_exporter::exposition::{Exposition, HttpMetrics};
use remote_assistance_exporter::metrics::Versioned;
use remote_assistance_exporter::status::{Status, TenantStatus};
use remote_assistance_exporter::web::{Limits, State, bind, serve};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use client::Client;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server on a port of its own.
struct Server {
    address: SocketAddr,
    registry: Registry,
    status: Arc<Status>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    fn start() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut State)) -> Self {
        let registry = Registry::new();
        let status = Arc::new(Status::default());
        let http = HttpMetrics::new(clock::now).unwrap();
        registry.register(Box::new(http.clone())).unwrap();
        let mut state = State {
            exposition: Exposition::new(vec![Box::new(Unsettled::default())], registry.clone()),
            http,
            status: status.clone(),
            access: Arc::default(),
            reloads: None,
            version: "1.2.3",
            started: DateTime::from_timestamp(1_774_000_000, 0).unwrap(),
            now: || DateTime::from_timestamp(1_774_003_600, 0).unwrap(),
            telemetry_path: "/metrics".into(),
            max_requests: 40,
            limits: Limits::default(),
        };
        change(&mut state);
        let listeners = bind(&["127.0.0.1:0".to_owned()]).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listeners, stop.clone(), state));
        Self { address, registry, status, stop, task }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// The answer to a request on a connection of its own.
    async fn get(&self, path: &str) -> client::Response {
        self.connect().await.request("GET", path).await
    }

    /// The value of a series of the server's own metrics.
    fn sample(&self, series: &str) -> Option<f64> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let series = format!("remote_assistance_exporter_{series} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse().unwrap())
    }

    /// Waits for the server to end.
    async fn ended(self) {
        within(self.task).await.unwrap();
    }
}

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("this takes longer than it may")
}

/// Waits until something becomes true.
async fn until(mut is_true: impl FnMut() -> bool) {
    within(async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn tenant(name: &str) -> TenantStatus {
    TenantStatus::unpolled(name.into(), "sessions_report", Duration::from_secs(300))
}

/// A part that is never as it was, so that every scrape is rendered on a thread that may block: a
/// [`Gate`] may hold it there.
#[derive(Default)]
struct Unsettled(AtomicU64);

impl Versioned for Unsettled {
    fn version(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn gather(&self) -> Vec<MetricFamily> {
        Vec::new()
    }
}

/// A collector that holds every scrape until it is opened. It opens when it is dropped, too: a failing
/// test must not leave threads behind.
struct Gate {
    held: watch::Receiver<usize>,
    inner: Arc<Inner>,
}

struct Inner {
    gauge: IntGauge,
    held: watch::Sender<usize>,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn install(registry: &Registry) -> Self {
        let (sender, held) = watch::channel(0);
        let gauge = IntGauge::new("gate", "Passed.").unwrap();
        let inner = Arc::new(Inner { gauge, held: sender, open: Mutex::new(false), opened: Condvar::new() });
        registry.register(Box::new(Held(inner.clone()))).unwrap();
        Self { held, inner }
    }

    /// Waits until so many scrapes have come to the gate.
    async fn holds(&mut self, scrapes: usize) {
        within(self.held.wait_for(|held| *held >= scrapes)).await.unwrap();
    }

    fn open(&self) {
        *self.inner.open.lock().unwrap() = true;
        self.inner.opened.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

struct Held(Arc<Inner>);

impl Collector for Held {
    fn desc(&self) -> Vec<&Desc> {
        self.0.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.held.send_modify(|held| *held += 1);
        let open = self.0.open.lock().unwrap();
        drop(self.0.opened.wait_while(open, |open| !*open).unwrap());
        self.0.gauge.collect()
    }
}
