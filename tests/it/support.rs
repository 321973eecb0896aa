//! What several topics need: the program as a process, scrapes, and a simulated Graph to read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use remote_assistance_exporter::clock;
use remote_assistance_exporter::simulator::{Options, Simulator, TenantOptions};

/// How long any wait in a test may take before the test fails. Generous: machines are shared.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` gives a value, asking again and again; panics with `what` otherwise.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// From here on, inline snapshots have stand-ins for what differs from run to run.
pub fn stand_ins() -> insta::internals::SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"localhost:\d+", "localhost:PORT");
    settings.add_filter(r"request-id [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "request-id GUID");
    settings.add_filter(r"Sessions_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "Sessions_GUID");
    settings.add_filter(r"Activity ID: [0-9a-f-]+", "Activity ID: GUID");
    settings.add_filter(r"/\S+/\.tmp\w+/", "DIRECTORY/");
    settings.bind_to_scope()
}

/// The program, running as a process of its own. Killed when dropped.
pub struct Exporter {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    address: Option<SocketAddr>,
}

impl Exporter {
    /// Starts the program with these arguments and a free port to listen on.
    pub fn start<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
        command.args(arguments).arg("--web.listen-address=127.0.0.1:0");
        Self::spawn(command)
    }

    /// Starts a command that ends up as the program. It should listen on a free port.
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with_output(command, Stdio::null())
    }

    /// The same with a place for what it writes to standard output.
    pub fn spawn_with_output(mut command: Command, output: impl Into<Stdio>) -> Self {
        command.stdin(Stdio::null()).stdout(output);
        Self::spawn_as_it_is(command)
    }

    /// The same with what the command says of its standard input and output.
    pub fn spawn_as_it_is(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (log.clone(), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, log, reader: Some(reader), address: None }
    }

    /// What it has logged so far, a line each.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line that holds all these parts.
    #[track_caller]
    pub fn wait_for_log(&mut self, parts: &[&str]) -> String {
        wait_for(&format!("a log line with {parts:?}"), || {
            let log = self.log();
            let found = log.iter().find(|line| parts.iter().all(|part| line.contains(part))).cloned();
            if found.is_none() && self.child.try_wait().unwrap().is_some() {
                panic!("the program ended before logging {parts:?}: {log:#?}");
            }
            found
        })
    }

    /// Where it listens, as it says in its log.
    #[track_caller]
    pub fn address(&mut self) -> SocketAddr {
        if self.address.is_none() {
            let line = self.wait_for_log(&["msg=Listening", "address="]);
            let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap();
            self.address = Some(address.parse().unwrap());
        }
        self.address.unwrap()
    }

    /// Its metrics now.
    #[track_caller]
    pub fn scrape(&mut self) -> Scrape {
        let answer = get(self.address(), "/metrics").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        Scrape::parse(&answer.text())
    }

    /// Its status table as JSON.
    #[track_caller]
    pub fn status(&mut self) -> serde_json::Value {
        serde_json::from_slice(&get(self.address(), "/status").unwrap().body).unwrap()
    }

    /// Has it reload, and returns its answer.
    #[track_caller]
    pub fn reload(&mut self) -> Answer {
        let address = self.address();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("POST /-/reload HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        exchange(stream, &request).unwrap()
    }

    /// Waits until a scrape satisfies the condition, and returns that scrape.
    #[track_caller]
    pub fn wait_for_scrape(&mut self, what: &str, condition: impl Fn(&Scrape) -> bool) -> Scrape {
        wait_for(what, || Some(self.scrape()).filter(|scrape| condition(scrape)))
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a crash would: SIGKILL, no farewell. Returns its whole log.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.wait().1
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its end, and returns its status and its whole log.
    #[track_caller]
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let status = wait_for("the program's end", || self.child.try_wait().unwrap());
        self.reader.take().unwrap().join().unwrap();
        (status, self.log())
    }

    /// Ends it in good order.
    #[track_caller]
    pub fn stop(self) -> Vec<String> {
        self.signal("TERM");
        let (status, log) = self.wait();
        assert!(status.success(), "{status}: {log:#?}");
        log
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Fails where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// A GET over a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    get_with(address, path, "")
}

/// A GET with further header lines, each ended by `\r\n`.
pub fn get_with(address: SocketAddr, path: &str, headers: &str) -> std::io::Result<Answer> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"))
}

/// One request, after whose answer the other side closes the connection.
pub fn exchange(mut stream: impl Read + Write, request: &str) -> std::io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let body = bytes.split_off(end + 4);
    if length.is_some_and(|length: usize| length != body.len()) {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(Answer { status, body })
}

/// The samples of one scrape, by series: `name{label="value",…}` without the project's prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    pub samples: BTreeMap<String, f64>,
    /// Which names are of counters; a histogram's `_bucket`, `_sum` and `_count` are too.
    counters: Vec<String>,
}

impl Scrape {
    /// Reads the text format 0.0.4.
    pub fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                let name = name.trim_start_matches("remote_assistance_");
                match kind {
                    "counter" => scrape.counters.push(name.to_owned()),
                    "histogram" => {
                        scrape.counters.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
                    }
                    _ => {}
                }
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let series = series.trim_start_matches("remote_assistance_");
                scrape.samples.insert(series.to_owned(), value.parse().unwrap());
            }
        }
        scrape
    }

    /// One series; panics if there is none.
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// The sum of all series of a name whose labels hold all these parts, such as `tenant="a"`.
    pub fn sum(&self, name: &str, parts: &[&str]) -> f64 {
        let of_name = |series: &&String| series.split('{').next() == Some(name);
        self.samples
            .iter()
            .filter(|(series, _)| of_name(series) && parts.iter().all(|part| series.contains(part)))
            .map(|(_, value)| value)
            .sum()
    }

    /// The series that count what the ledger holds: those that must never go down, not even when
    /// the program is killed.
    pub fn durable_counters(&self) -> impl Iterator<Item = (&String, f64)> {
        const OF_THE_PROCESS: &[&str] = &["process_", "exporter_", "polls_", "poll_failures_", "graph_", "ledger_"];
        self.samples.iter().filter_map(|(series, value)| {
            let name = series.split('{').next()?;
            let durable = self.counters.iter().any(|counter| counter == name)
                && !OF_THE_PROCESS.iter().any(|prefix| name.starts_with(prefix));
            durable.then_some((series, *value))
        })
    }
}

/// A simulated Graph and a configuration that reads it, in a directory of their own.
pub struct Lab {
    pub simulator: Simulator,
    pub directory: tempfile::TempDir,
    /// Runs the simulator; must live as long.
    pub runtime: tokio::runtime::Runtime,
    clock: Arc<Frozen>,
}

/// A clock that can be stopped.
#[derive(Default)]
struct Frozen(Mutex<Option<DateTime<Utc>>>);

impl Lab {
    /// Starts a simulator of these tenants, after `change` to its options.
    pub fn new(tenants: Vec<TenantOptions>, change: impl FnOnce(&mut Options)) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let frozen = Arc::new(Frozen::default());
        let told = frozen.clone();
        let mut options = Options::new(move || told.now(), tenants);
        change(&mut options);
        let simulator = runtime.block_on(Simulator::start(options)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ca.pem"), simulator.ca_pem()).unwrap();
        Self { simulator, directory, runtime, clock: frozen }
    }

    /// Stops the simulator's clock: from now on no session ends, and none appears.
    pub fn freeze(&self) -> DateTime<Utc> {
        *self.clock.0.lock().unwrap().get_or_insert_with(clock::now)
    }

    /// The simulator's time.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A configuration, without a limit of requests, with these `global` keys and, for each named tenant, these keys besides name,
    /// id and client secret.
    pub fn configuration(&self, global: &str, tenants: &[(&str, &str)]) -> PathBuf {
        let url = self.simulator.url();
        let mut yaml = format!(
            "global: {{graph_url: \"{url}\", authority_url: \"{url}\", ca_file: ca.pem, requests_per_minute: 100000, {global}}}\ntenants:\n"
        );
        for (name, keys) in tenants {
            let tenant = self.simulator.tenant(name).unwrap();
            let options = tenant.options();
            yaml += &format!("  - {{name: {name}, tenant_id: {}, ", options.tenant_id);
            if !keys.contains("credential:") {
                let (id, secret) = (&options.client_id, &options.client_secret);
                yaml += &format!("credential: {{kind: client_secret, client_id: {id}, client_secret: {secret}}}, ");
            }
            yaml += &format!("{keys}}}\n");
        }
        let path = self.directory.path().join("exporter.yaml");
        fs::write(&path, yaml).unwrap();
        path
    }

    /// Arguments for `serve` with that configuration and the ledger in the lab's directory.
    pub fn arguments(&self, configuration: &Path) -> Vec<String> {
        vec![
            format!("--config.file={}", configuration.display()),
            format!("--storage.path={}", self.directory.path().join("data").display()),
        ]
    }
}

impl Frozen {
    fn now(&self) -> DateTime<Utc> {
        self.0.lock().unwrap().unwrap_or_else(clock::now)
    }
}
