//! Who reads compressed answers: other people's readers, and many scrapes while the totals change.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use flate2::bufread::GzDecoder;
use remote_assistance_exporter::exposition::Format;
use remote_assistance_exporter::simulator::TenantOptions;

use crate::support::{Exporter, Lab, PATIENCE, Scrape};
use crate::tools;

/// Scrapes by each of the clients.
const SCRAPES: usize = 500;
const CLIENTS: usize = 3;

/// Fails unless the input is one member, whole, with nothing behind it; prints what is in it.
const ONE_MEMBER: &str = r#"
import gzip, sys, zlib
data = sys.stdin.buffer.read()
one = zlib.decompressobj(wbits=31)
plain = one.decompress(data) + one.flush()
assert one.eof and not one.unused_data and not one.unconsumed_tail, (one.eof, len(one.unused_data))
assert gzip.decompress(data) == plain
sys.stdout.buffer.write(plain)
"#;

fn lab() -> (Lab, Exporter) {
    let busy = |name| TenantOptions { live_per_second: 50.0, ..TenantOptions::new(name) };
    let lab = Lab::new(vec![busy("contoso"), busy("fabrikam")], |_| {});
    let report = "source: {kind: sessions_report, page_size: 500}";
    let configuration = lab.configuration("poll_interval: 1s", &[("contoso", report), ("fabrikam", report)]);
    let mut exporter = Exporter::start(lab.arguments(&configuration));
    exporter.wait_for_scrape("a first session", |scrape| scrape.sum("sessions_total", &[]) > 0.0);
    (lab, exporter)
}

#[test]
fn a_compressed_page_is_read_whole_by_everybody() {
    let (_lab, mut exporter) = lab();
    let address = exporter.address();
    let packed = Client::new(address).scrape();
    let page = unpack(&packed);
    assert_eq!(tools::python(ONE_MEMBER, &packed), page);
    for command in [["gzip", "-cd"], ["zcat", "-"]] {
        let output = tools::feed(Command::new(command[0]).arg(command[1]), &packed);
        assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), page, "{command:?}");
    }
    assert!(tools::feed(Command::new("gzip").arg("-t"), &packed).status.success());

    // curl with the headers of the answer, which say that it came compressed.
    let url = format!("http://{address}/metrics");
    let output = tools::feed(Command::new("curl").args(["--silent", "--compressed", "--include", &url]), "");
    let fetched = String::from_utf8(output.stdout).unwrap();
    let (head, body) = fetched.split_once("\r\n\r\n").unwrap();
    assert!(output.status.success() && head.to_ascii_lowercase().contains("content-encoding: gzip"), "{head}");
    // Sessions go on: what a poll counted in between may have added series, and takes none away.
    let later = Scrape::parse(body).samples;
    let gone: Vec<_> = Scrape::parse(&page).samples.into_keys().filter(|series| !later.contains_key(series)).collect();
    assert!(gone.is_empty(), "{gone:?}");

    // What is served live, through the official parsers.
    tools::promtool_is_silent(&page);
    assert!(tools::parse(Format::Text, &page).families.contains_key("process_cpu_seconds"));
    exporter.stop();
}

/// Each answer is one whole member, and no total in it is below one of an answer before.
#[test]
fn answers_stay_whole_while_the_totals_change() {
    let (_lab, mut exporter) = lab();
    let address = exporter.address();
    let clients: Vec<_> = (0..CLIENTS).map(|_| std::thread::spawn(move || scrape_often(address))).collect();
    let seen: usize = clients.into_iter().map(|client| client.join().unwrap()).max().unwrap();
    assert!(seen > 1, "the totals did not change");
    exporter.stop();
}

/// How many different totals it saw.
fn scrape_often(address: SocketAddr) -> usize {
    let mut client = Client::new(address);
    let (mut before, mut seen) = (BTreeMap::<String, f64>::new(), 0);
    // As many as it takes for the totals to have changed, too.
    for number in 0.. {
        let page = unpack(&client.scrape());
        if number % 10 == 0 {
            let scrape = Scrape::parse(&page);
            let now: BTreeMap<_, _> = scrape.durable_counters().map(|(name, value)| (name.clone(), value)).collect();
            for (series, value) in &before {
                assert!(now[series] >= *value, "{series} fell from {value} to {}", now[series]);
            }
            let counted: f64 = scrape.sum("sessions_total", &[]);
            let of_fates = scrape.sum("reports_read_total", &[])
                - ["duplicate", "amended", "unfinished", "too_old", "baseline"]
                    .map(|fate| scrape.sum(&format!("reports_{fate}_total"), &[]))
                    .iter()
                    .sum::<f64>()
                - scrape.sum("reports_rejected_total", &[]);
            assert_eq!(counted, of_fates, "an answer is of one snapshot");
            seen += usize::from(now != before);
            before = now;
        }
        if number >= SCRAPES && seen > 1 {
            break;
        }
    }
    seen
}

#[track_caller]
fn unpack(packed: &[u8]) -> String {
    let (mut decoder, mut page) = (GzDecoder::new(packed), String::new());
    decoder.read_to_string(&mut page).unwrap();
    assert!(decoder.into_inner().is_empty(), "nothing is behind the member");
    assert!(page.ends_with('\n'), "{page}");
    page
}

/// A client that keeps its connection and takes gzip.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn scrape(&mut self) -> Vec<u8> {
        self.0
            .get_mut()
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: exporter\r\nAccept-Encoding: gzip\r\n\r\n")
            .unwrap();
        let (mut length, mut packed) = (0, false);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("content-encoding", value)) => packed = value == "gzip",
                Some(_) => {}
                None if line == "\r\n" => break,
                None => assert!(line.starts_with("HTTP/1.1 200 "), "{line}"),
            }
        }
        assert!(packed);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        body
    }
}
