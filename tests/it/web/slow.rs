//! Readers that stop in the middle of a large answer hold nothing that others need.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};
use remote_assistance_exporter::clock;
use remote_assistance_exporter::exposition::{Exposition, HttpMetrics};
use remote_assistance_exporter::metrics::Versioned;

use super::Server;

/// Who stops reading.
const READERS: usize = 12;
/// How often everything changes meanwhile.
const CHANGES: u64 = 10;
/// Together far more than the systems of both sides take in for a connection.
const SERIES: usize = 20_000;
const LABEL_BYTES: usize = 800;

/// A large part, all of whose values are its version.
#[derive(Clone, Default)]
struct Large(Arc<AtomicU64>);

impl Versioned for Large {
    fn version(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn gather(&self) -> Vec<MetricFamily> {
        let gauges = IntGaugeVec::new(Opts::new("large", "Large."), &["of"]).unwrap();
        let version = i64::try_from(self.version()).unwrap();
        (0..SERIES).for_each(|of| gauges.with_label_values(&[&format!("{of:0LABEL_BYTES$}")]).set(version));
        gauges.collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stop_delay_nobody_and_still_get_their_own_version_whole() {
    let large = Large::default();
    let part = large.clone();
    let server = Server::with(move |state| {
        let http = HttpMetrics::new(clock::now).unwrap();
        state.exposition = Exposition::new(vec![Box::new(part)], http);
    });
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = server.connect().await;
        reader.send("GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n").await;
        // It has begun to come, and nothing more is read of it.
        assert!(reader.begins().await.starts_with("HTTP/1.1 200 "));
        readers.push(reader);
    }
    for version in 1..=CHANGES {
        large.0.store(version, Ordering::SeqCst);
        let answer = server.get("/metrics").await;
        assert_eq!(values(answer.text()), [version]);
        assert_eq!(server.get("/-/healthy").await.status, 200);
    }
    for mut reader in readers {
        let rest = reader.rest_of_answer().await;
        assert_eq!(values(std::str::from_utf8(&rest).unwrap()), [0]);
    }
}

/// The different values of the large part; fails unless it is whole.
#[track_caller]
fn values(page: &str) -> Vec<u64> {
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with("large{")).collect();
    assert_eq!(lines.len(), SERIES);
    let mut values: Vec<u64> = lines.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    values.sort_unstable();
    values.dedup();
    values
}
