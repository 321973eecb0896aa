//! The tools by which others read what we expose: promtool, and PyPI's prometheus_client.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use remote_assistance_exporter::exposition::Format;

/// Where `tests/run` puts the official Python client.
const PYTHON: &str = "target/python/bin/python";

/// Reads an exposition by the client's parser and prints the samples, and the families, as JSON.
const PARSE: &str = r#"
import json, sys
if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.buffer.read().decode("utf-8")))
json.dump({
    "families": {f.name: [f.type, f.documentation, f.unit] for f in families},
    "samples": [[s.name, s.labels, s.value] for f in families for s in f.samples],
}, sys.stdout, allow_nan=False)
"#;

/// Reads delimited messages by the fixture's schema and prints a line for each family and each metric.
/// A field that the schema does not know would be shown by its number.
const DECODE: &str = r#"
import sys
import grpc
from google.protobuf import text_format
from google.protobuf.internal.decoder import _DecodeVarint32
sys.path.insert(0, sys.argv[1])
schema = grpc.protos("metrics.proto")
data, at = sys.stdin.buffer.read(), 0
while at < len(data):
    size, at = _DecodeVarint32(data, at)
    family = schema.MetricFamily.FromString(data[at:at + size])
    at += size
    assert at <= len(data), "the last message is cut off"
    print(family.name, schema.MetricType.Name(family.type), family.help)
    for metric in family.metric:
        print("   ", text_format.MessageToString(metric, as_one_line=True, as_utf8=True, print_unknown_fields=True))
"#;

/// What a parser made of an exposition.
#[derive(Debug, serde::Deserialize)]
pub struct Parsed {
    /// Type, HELP and unit by the family's name, which has no `_total`.
    pub families: BTreeMap<String, (String, String, String)>,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Parsed {
    /// The samples in one order, whatever the format's. Bounds are numbers: `30` is `30.0`.
    pub fn samples(&self) -> Vec<(String, BTreeMap<String, String>, f64)> {
        let mut samples = self.samples.clone();
        for (_, labels, _) in &mut samples {
            if let Some(bound) = labels.get_mut("le") {
                *bound = bound.parse::<f64>().unwrap().to_string();
            }
        }
        samples.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        samples
    }
}

/// Reads an exposition as the official Python client does. Its OpenMetrics parser is strict.
#[track_caller]
pub fn parse(format: Format, exposition: &str) -> Parsed {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(PYTHON);
    let name = if format == Format::Text { "text" } else { "openmetrics" };
    let output = feed(Command::new(python).args(["-c", PARSE, name]), exposition);
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A protobuf exposition in readable form, by Google's own reader and the schema in the fixtures.
#[track_caller]
pub fn decode(exposition: &[u8]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join(PYTHON));
    command.args(["-c", DECODE]).arg(root.join("tests/fixtures/protobuf"));
    let output = feed(&mut command, exposition);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The lines that a Python program prints for this input.
#[track_caller]
pub fn python(program: &str, input: &[u8]) -> String {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(PYTHON);
    let output = feed(Command::new(python).args(["-c", program]), input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `promtool check metrics` has nothing to say about an exposition in the text format.
#[track_caller]
pub fn promtool_is_silent(exposition: &str) {
    let output = feed(Command::new("promtool").args(["check", "metrics"]), exposition);
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}: {}", output.status, String::from_utf8_lossy(&said));
}

/// Runs a tool on this input.
#[track_caller]
pub fn feed(command: &mut Command, input: impl AsRef<[u8]>) -> Output {
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.as_ref().to_owned();
    // Beside the reading of its output: neither side waits for the other's pipe.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // One that ended early says why by its status.
    let _ = writer.join().unwrap();
    output
}

#[test]
#[should_panic(expected = "no help text")]
fn promtool_would_complain() {
    promtool_is_silent("# TYPE fish_total counter\nfish_total 1\n");
}

#[test]
#[should_panic(expected = "openmetrics: ")]
fn the_strict_parser_would_complain() {
    parse(Format::OpenMetrics, "# TYPE fish counter\nfish_total 1\n");
}
