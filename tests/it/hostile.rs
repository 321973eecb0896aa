//! Hostile clients against the real program: whatever they do, scrapes go on, memory is bounded, and
//! nothing is left of them in the end.
//!
//! - `shapes`: bytes that are no proper request, or an odd one: each has its answer.
//! - `crowds`: many connections at a time, by processes of their own.

mod crowd;
mod crowds;
mod shapes;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use remote_assistance_exporter::simulator::TenantOptions;

use crate::support::{Answer, Exporter, Lab, PATIENCE, get, wait_for};

/// The most memory that the program may ever have used, whatever is done to it: a quiet one takes 50 MiB
/// in a debug build, and 512 connections may hold 32 KiB of headers each and as much of answers.
const MOST_MEMORY: u64 = 160 << 20;

/// Between two scrapes.
const SCRAPE_PAUSE: Duration = Duration::from_millis(20);

/// The program as hostile clients meet it.
struct Target {
    exporter: Exporter,
    address: SocketAddr,
    descriptors: usize,
    _lab: Lab,
}

impl Target {
    /// With so many tenants, for the size of its pages, and these arguments besides.
    fn start(tenants: usize, arguments: &[&str]) -> Self {
        Self::start_limited(tenants, arguments, "true")
    }

    /// The same after a command of the shell, such as `ulimit`.
    fn start_limited(tenants: usize, arguments: &[&str], before: &str) -> Self {
        let names: Vec<_> = (0..tenants).map(|tenant| format!("tenant-{tenant}")).collect();
        let lab = Lab::new(names.iter().map(|name| TenantOptions::manual(name)).collect(), |_| {});
        let keys: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        let configuration = lab.configuration("poll_interval: 1h", &keys);
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{before} && exec \"$@\""), "bash"]);
        command.arg(env!("CARGO_BIN_EXE_remote-assistance-exporter"));
        command.args(lab.arguments(&configuration)).arg("--web.listen-address=127.0.0.1:0").args(arguments);
        let mut exporter = Exporter::spawn(command);
        let address = exporter.address();
        let ready = || get(address, "/-/ready").ok().filter(|answer| answer.status == 200);
        wait_for("the first polls", ready);
        let descriptors = descriptors(&exporter);
        Self { exporter, address, descriptors, _lab: lab }
    }

    /// Scrapes from now on, again and again.
    fn scraper(&self, connections: Connections) -> Scraper {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, address) = (stop.clone(), self.address);
        let thread = std::thread::spawn(move || {
            let mut kept = BufReader::new(connect(address));
            let mut scrapes = 0;
            while !stopped.load(Ordering::Relaxed) {
                let answer = match connections {
                    Connections::New => get(address, "/metrics"),
                    Connections::Kept => ask(&mut kept, "/metrics"),
                };
                let answer = answer.unwrap_or_else(|error| panic!("scrape {scrapes} failed: {error}"));
                assert_eq!(answer.status, 200, "scrape {scrapes}: {}", answer.text());
                assert!(
                    answer.body.ends_with(b"\n") && answer.text().contains("\nremote_assistance_exporter_build_info")
                );
                scrapes += 1;
                // Leaves time for the crowd: it is the connections that count, not the load.
                std::thread::park_timeout(SCRAPE_PAUSE);
            }
            scrapes
        });
        Scraper { stop, thread }
    }

    /// Ends it, once nothing is left of any client.
    fn end(self) {
        let before = self.descriptors;
        wait_for("the descriptors that there were", || (descriptors(&self.exporter) <= before).then_some(()));
        let memory = memory(&self.exporter);
        assert!(memory < MOST_MEMORY, "{} MiB", memory >> 20);
        let log = self.exporter.stop();
        assert!(!log.iter().any(|line| line.contains("level=error")), "{log:#?}");
    }
}

#[derive(Clone, Copy)]
enum Connections {
    /// One for each scrape.
    New,
    /// One for all.
    Kept,
}

/// A scraper that insists on an answer to every scrape.
struct Scraper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Scraper {
    #[track_caller]
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        assert!(self.thread.join().expect("every scrape succeeds") > 0);
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A GET on a connection that stays open.
fn ask(stream: &mut BufReader<TcpStream>, path: &str) -> std::io::Result<Answer> {
    write!(stream.get_mut(), "GET {path} HTTP/1.1\r\nHost: exporter\r\n\r\n")?;
    let (mut head, mut line) = (Vec::new(), String::new());
    while stream.read_line(&mut line)? > 2 {
        head.push(std::mem::take(&mut line).to_lowercase());
    }
    let status = head.first().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    let (Some(status), Some(length)) = (status, length) else { return Err(std::io::ErrorKind::UnexpectedEof.into()) };
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Answer { status, body })
}

fn descriptors(exporter: &Exporter) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", exporter.id())).unwrap().count()
}

/// The most that it ever had.
fn memory(exporter: &Exporter) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
