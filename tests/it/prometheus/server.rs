//! A real Prometheus that scrapes one target, and its HTTP API.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Exporter, PATIENCE, exchange, wait_for};

/// A running Prometheus, ended when dropped. Its data goes with it.
pub struct Prometheus {
    process: Exporter,
    address: SocketAddr,
    _directory: Option<tempfile::TempDir>,
}

/// The values of an instant query: by the values of its labels, joined by a comma in the order of
/// the labels' names.
pub type Vector = BTreeMap<String, f64>;

impl Prometheus {
    /// Starts one that scrapes the target every second, and waits until it is ready. It listens on
    /// a port of the system's choice, which its log names.
    pub fn start(target: SocketAddr) -> Self {
        Self::with(target, &[])
    }

    /// The same with more flags.
    pub fn with(target: SocketAddr, flags: &[&str]) -> Self {
        Self::with_rules(target, &[], flags)
    }

    /// The same with the rules of these files, evaluated every second.
    pub fn with_rules(target: SocketAddr, rules: &[PathBuf], flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let prometheus = Self::on(target, directory.path(), rules, flags);
        Self { _directory: Some(directory), ..prometheus }
    }

    /// The same in a directory, whose `data` it goes on with.
    pub fn on(target: SocketAddr, directory: &Path, rules: &[PathBuf], flags: &[&str]) -> Self {
        let job = format!("  - job_name: remote-assistance\n    static_configs: [{{targets: [\"{target}\"]}}]\n");
        Self::scraping(&job, directory, rules, flags)
    }

    /// The same with scrape jobs as Prometheus' configuration has them.
    pub fn scraping(jobs: &str, directory: &Path, rules: &[PathBuf], flags: &[&str]) -> Self {
        let path = |name: &str| directory.join(name).display().to_string();
        let configuration = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: {rules:?}\nscrape_configs:\n{jobs}"
        );
        std::fs::write(path("prometheus.yml"), configuration).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", path("prometheus.yml")));
        command.arg(format!("--storage.tsdb.path={}", path("data")));
        command.arg("--web.listen-address=127.0.0.1:0").args(flags);
        let mut process = Exporter::spawn(command);
        let line = process.wait_for_log(&["\"Listening on\"", "address="]);
        let address = line.split("address=").nth(1).unwrap().parse().unwrap();
        let prometheus = Self { process, address, _directory: None };
        wait_for("Prometheus to be ready", || prometheus.get("/-/ready").ok().filter(|answer| answer.status == 200));
        prometheus
    }

    /// The `data` of an API call.
    #[track_caller]
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let answer = self.get(&format!("/api/v1/{path}?{query}")).unwrap();
        let log = || self.process.log();
        assert_eq!(answer.status, 200, "{path} {parameters:?}: {}: {:#?}", answer.text(), log());
        serde_json::from_slice::<Value>(&answer.body).unwrap()["data"].take()
    }

    /// The vector of a query now.
    #[track_caller]
    pub fn query(&self, promql: &str) -> Vector {
        vector(&self.api("query", &[("query", promql)]))
    }

    /// The vector of a query at a point of time, in Unix seconds.
    #[track_caller]
    pub fn query_at(&self, promql: &str, time: f64) -> Vector {
        vector(&self.api("query", &[("query", promql), ("time", &format!("{time:.3}"))]))
    }

    /// The only value of a query now.
    #[track_caller]
    pub fn value(&self, promql: &str) -> f64 {
        only(promql, &self.query(promql))
    }

    /// Waits until the values of a query now satisfy the condition.
    #[track_caller]
    pub fn wait_for(&self, promql: &str, condition: impl Fn(&Vector) -> bool) -> Vector {
        wait_for(promql, || Some(self.query(promql)).filter(&condition))
    }

    /// HTTP/1.0, to which answers come in one piece.
    fn get(&self, path: &str) -> std::io::Result<crate::support::Answer> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        exchange(stream, &format!("GET {path} HTTP/1.0\r\n\r\n"))
    }
}

#[track_caller]
fn only(promql: &str, vector: &Vector) -> f64 {
    assert_eq!(vector.len(), 1, "{promql}: {vector:?}");
    *vector.values().next().unwrap()
}

#[track_caller]
fn vector(data: &Value) -> Vector {
    let entry = |sample: &Value| {
        let labels = sample["metric"].as_object().unwrap().values().map(|value| value.as_str().unwrap());
        // Of a native histogram, how much it holds.
        let value = sample["value"][1].as_str().or(sample["histogram"][1]["count"].as_str());
        let value = value.unwrap_or_else(|| panic!("{sample}")).parse().unwrap();
        (labels.collect::<Vec<_>>().join(","), value)
    };
    data["result"].as_array().unwrap_or_else(|| panic!("{data}")).iter().map(entry).collect()
}
