//! A real Prometheus scrapes the exporter, and PromQL agrees with what really happened.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use remote_assistance_exporter::metrics::catalogue::{self, Kind};
use remote_assistance_exporter::simulator::{COLLECTION_PATH, Scenario, TenantOptions};
use serde_json::Value;

use super::support::{Exporter, Lab, PATIENCE, get, wait_for};

/// A Prometheus that scrapes every second what `targets.json` names. Killed when dropped.
struct Prometheus {
    child: Child,
    directory: tempfile::TempDir,
    address: SocketAddr,
}

impl Prometheus {
    fn start() -> Self {
        // The port is free when asked for; where somebody takes it before Prometheus does, it ends.
        for _ in 0..5 {
            if let Some(prometheus) = Self::try_start() {
                return prometheus;
            }
        }
        panic!("Prometheus did not start on any of five free ports");
    }

    fn try_start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let configuration = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n  \
                             - {job_name: remote-assistance, file_sd_configs: [{files: [targets.json]}]}\n";
        fs::write(directory.path().join("prometheus.yml"), configuration).unwrap();
        fs::write(directory.path().join("targets.json"), "[]").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--log.level=error"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the Debian package prometheus is installed (tests/run does that)");
        let mut prometheus = Self { child, directory, address };
        wait_for("Prometheus to be ready or to end", || {
            let ended = prometheus.child.try_wait().unwrap().is_some();
            let ready = get(address, "/-/ready").is_ok_and(|answer| answer.status == 200);
            (ended || ready).then_some(!ended)
        })
        .then_some(prometheus)
    }

    /// Scrapes this exporter from now on, as the same instance wherever it listens.
    fn scrape(&self, target: SocketAddr) {
        let targets = format!(r#"[{{"targets": ["{target}"], "labels": {{"instance": "exporter"}}}}]"#);
        let path = self.directory.path().join("targets.json");
        fs::write(path.with_extension("new"), targets).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// What the API answers. By HTTP/1.0, whose bodies are never chunked.
    fn api(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /api/v1/{path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].take()
    }

    /// An instant query: values by the label named, at a time or now.
    fn query(&self, promql: &str, label: &str, time: Option<f64>) -> BTreeMap<String, f64> {
        let mut parameters = url::form_urlencoded::Serializer::new(String::new());
        parameters.append_pair("query", promql);
        if let Some(time) = time {
            parameters.append_pair("time", &time.to_string());
        }
        let data = self.api(&format!("query?{}", parameters.finish()));
        let series = data["result"].as_array().unwrap().iter();
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        series.map(|series| (series["metric"][label].as_str().unwrap_or_default().to_owned(), value(series))).collect()
    }

    /// An instant query of one value without labels; `None` while there is no sample.
    fn value(&self, promql: &str, time: Option<f64>) -> Option<f64> {
        self.query(promql, "", time).get("").copied()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn promql_agrees_with_what_happened_and_a_restart_resets_nothing() {
    let live = |name: &str| TenantOptions { live_per_second: 5.0, sessions_per_day: 0.0, ..TenantOptions::new(name) };
    let lab = Lab::new(vec![live("contoso"), live("fabrikam")], |_| ());
    let prometheus = Prometheus::start();
    // Nothing is counted until Prometheus has seen the zeros: an increase is told from there on.
    let tenants = ["contoso", "fabrikam"].map(|name| lab.simulator.tenant(name).unwrap());
    tenants.iter().for_each(|tenant| tenant.set_scenario(Scenario::MissingRole));
    let collection = format!("source: {{kind: collection, path: {COLLECTION_PATH}}}");
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", &collection), ("fabrikam", "")]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    prometheus.scrape(exporter.address());
    wait_for("Prometheus to scrape zeros", || {
        prometheus.value("sum(remote_assistance_sessions_total)", None).filter(|sum| *sum == 0.0)
    });
    tenants.iter().for_each(|tenant| tenant.set_scenario(Scenario::None));
    wait_for("Prometheus to see sessions of most types", || {
        let seen =
            prometheus.query("sum by (session_type) (remote_assistance_sessions_total) > 0", "session_type", None);
        (seen.len() >= 3 && seen.values().sum::<f64>() > 60.0).then_some(())
    });
    let now = lab.freeze();
    let truth = truth(&tenants, now);
    let total: f64 = truth.values().sum();
    let by_type = "sum by (session_type) (remote_assistance_sessions_total)";
    wait_for("Prometheus to have seen everything", || {
        prometheus.value("sum(remote_assistance_sessions_total)", None).filter(|sum| *sum >= total)
    });
    assert_eq!(nonzero(prometheus.query(by_type, "session_type", None)), truth);

    // `increase` stretches what it saw to the range's ends: to the left not below zero, where these
    // series begin, and to the right by at most 1.1 sample intervals. Of n samples it saw n - 1.
    let time = prometheus.value("vector(time())", None).unwrap();
    let samples = prometheus.value("min(count_over_time(remote_assistance_sessions_total[1h]))", Some(time)).unwrap();
    let increase = "sum by (session_type) (increase(remote_assistance_sessions_total[1h]))";
    let increased = nonzero(prometheus.query(increase, "session_type", Some(time)));
    assert_eq!(increased.keys().collect::<Vec<_>>(), truth.keys().collect::<Vec<_>>());
    for (session_type, ended) in &truth {
        let most = ended * (1.0 + 1.1 / (samples - 1.0)) + 1e-6;
        let is = increased[session_type];
        assert!(*ended - 1e-6 <= is && is <= most, "{session_type}: {is} of {ended}, at most {most} by {samples}");
    }
    let median = "histogram_quantile(0.5, sum by (le) (remote_assistance_session_duration_seconds_bucket))";
    let median = prometheus.value(median, None).unwrap();
    assert!((30.0..7200.0).contains(&median), "half of the sessions take less than {median} s");
    metadata(&prometheus);

    // As after a crash: killed, and started again elsewhere.
    exporter.kill();
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    let restarted = "changes(process_start_time_seconds[1h])";
    prometheus.scrape(exporter.address());
    wait_for("Prometheus to scrape the new process", || {
        prometheus.value("max(up)", None).filter(|up| *up == 1.0)?;
        prometheus.value(&format!("max({restarted})"), None).filter(|changes| *changes > 0.0)
    });
    for counter in ["sessions_total", "session_duration_seconds_count", "participants_total", "reports_read_total"] {
        let resets = prometheus.value(&format!("sum(resets(remote_assistance_{counter}[1h]))"), None);
        assert_eq!(resets, Some(0.0), "{counter}");
    }
    wait_for("the new process to show the same", || {
        (nonzero(prometheus.query(by_type, "session_type", None)) == truth).then_some(())
    });
    exporter.stop();
}

/// Ended sessions of all tenants by type, under the names of our label.
fn truth(
    tenants: &[remote_assistance_exporter::simulator::Tenant],
    now: chrono::DateTime<chrono::Utc>,
) -> BTreeMap<String, f64> {
    let mut truth = BTreeMap::new();
    for tenant in tenants {
        for (session_type, of_type) in tenant.truth(now).by_type {
            *truth.entry(session_type).or_default() += of_type.sessions as f64;
        }
    }
    truth
}

fn nonzero(mut values: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    values.retain(|_, value| *value != 0.0);
    values
}

/// Prometheus has taken over type and HELP of every metric that has samples.
fn metadata(prometheus: &Prometheus) {
    let known = prometheus.api("metadata");
    let present = prometheus.query("count by (__name__) ({__name__=~\"remote_assistance_.+\"})", "__name__", None);
    assert!(present.len() > 40, "{present:?}");
    for metric in catalogue::all() {
        let has_samples = present.keys().any(|name| name.starts_with(metric.name));
        if !has_samples {
            continue;
        }
        // OpenMetrics declares a counter without its `_total`.
        let family = metric.name.strip_suffix("_total").unwrap_or(metric.name);
        let declared = [metric.name, family].into_iter().find_map(|name| known[name].get(0));
        let declared = declared.unwrap_or_else(|| panic!("no metadata of {}", metric.name));
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(declared["type"], kind, "{}", metric.name);
        assert_eq!(declared["help"], metric.help, "{}", metric.name);
        assert_eq!(declared["unit"], metric.unit().unwrap_or_default(), "{}", metric.name);
    }
}

#[test]
fn prometheus_scrapes_the_demo_and_promtool_finds_nothing() {
    let storage = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start();
    let mut demo = Exporter::start(["demo".to_owned(), format!("--storage.path={}", storage.path().display())]);
    prometheus.scrape(demo.address());
    wait_for("Prometheus to see the demo's three tenants up", || {
        prometheus.value("sum(remote_assistance_up)", None).filter(|up| *up == 3.0)
    });
    assert_eq!(prometheus.value("sum(up)", None), Some(1.0));
    wait_for("sessions of every demo tenant in Prometheus", || {
        let by_tenant = prometheus.query("sum by (tenant) (remote_assistance_sessions_total) > 0", "tenant", None);
        (by_tenant.len() == 3).then_some(())
    });
    let text = get(demo.address(), "/metrics").unwrap().text();
    promtool_is_silent(&text);
    demo.stop();
}

/// `promtool check metrics` accepts the text and has nothing to remark.
pub fn promtool_is_silent(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (tests/run does that)");
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
