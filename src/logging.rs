//! The log, which goes to standard error: one event is one line, in Prometheus' logfmt or in JSON, with the same
//! keys: `time`, `level`, `msg`, `target` for events of libraries, then the event's own fields and
//! those of the spans around it.
//!
//! No secret is logged at any level: values of ours do not show any, and libraries are held to
//! levels at which they show none (see `filter`).

use std::fmt::Write as _;

use chrono::SecondsFormat;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::{Layer, Registry};

use crate::cli::{LogFormat, LogLevel};
use crate::clock;

/// The target of this program's own events.
const OURS: &str = "remote_assistance_exporter";
/// Errors behind an error that are told. HTTP over TLS over a socket has about four.
const MAX_CAUSES: usize = 8;
/// Libraries that may log at `debug`: their events there hold hosts and sizes. At `trace` some of them
/// show headers and bodies, with tokens; `h2` tells of each frame at `debug` already.
const TALKATIVE: &[&str] = &["hyper", "hyper_util"];

/// The level of a log that goes on.
#[derive(Clone, Debug)]
pub struct Level(reload::Handle<Targets, Registry>);

impl Level {
    /// Has the log hold events of this level and those above it from now on. What libraries may log
    /// stays within its bounds.
    pub fn set(&self, level: LogLevel) {
        // Fails only where the log is gone.
        let _ = self.0.reload(filter(level));
    }
}

/// Gives the process's events to `sink`, each as a line. A second call changes nothing of the log.
pub fn init(level: LogLevel, format: LogFormat, sink: impl Fn(&str) + Send + Sync + 'static) -> Level {
    let (subscriber, level) = adjustable(level, format, sink);
    // Fails only where a subscriber is set already, which then goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
    level
}

/// Gives each event as a line, with its line feed, to `sink`.
pub fn subscriber(
    level: LogLevel,
    format: LogFormat,
    sink: impl Fn(&str) + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    adjustable(level, format, sink).0
}

fn adjustable(
    level: LogLevel,
    format: LogFormat,
    sink: impl Fn(&str) + Send + Sync + 'static,
) -> (impl Subscriber + Send + Sync, Level) {
    let (filter, handle) = reload::Layer::new(filter(level));
    (Registry::default().with(filter).with(Lines { format, sink }), Level(handle))
}

/// What is logged. Every library is held to warnings at most: at lower levels the Azure SDK logs
/// requests, and reqwest addresses and proxies with what is secret in them. A few that are known to
/// be harmless may say more when somebody is debugging.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let libraries = level.min(LevelFilter::WARN);
    let talkative = if level >= LevelFilter::DEBUG { LevelFilter::DEBUG } else { libraries };
    Targets::new()
        .with_default(libraries)
        .with_targets(TALKATIVE.iter().map(|target| (*target, talkative)))
        .with_target(OURS, level)
}

/// Writes events as lines.
struct Lines<S> {
    format: LogFormat,
    sink: S,
}

/// Names and values, in the order in which they were recorded.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl<S, F> Layer<S> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut own = Fields::default();
        event.record(&mut own);
        let message = own.take("message").unwrap_or_default();

        let mut line = Line::new(self.format);
        line.push("time", Value::from(clock::now().to_rfc3339_opts(SecondsFormat::Millis, true)));
        line.push("level", Value::from(metadata.level().as_str().to_ascii_lowercase()));
        line.push("msg", message);
        if !metadata.target().starts_with(OURS) {
            line.push("target", Value::from(metadata.target()));
        }
        for (name, value) in own.0 {
            line.push(name, value);
        }
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                for (name, value) in &fields.0 {
                    line.push(name, value.clone());
                }
            }
        }
        (self.sink)(&line.finish());
    }
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(place).1)
    }

    fn set(&mut self, field: &Field, value: Value) {
        self.take(field.name());
        self.0.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.set(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.set(field, Value::from(with_causes(value)));
    }
}

/// What an error says, and why: many say only what failed, and leave the reason to the error behind them.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()).take(MAX_CAUSES) {
        let cause = cause.to_string();
        // Some say it themselves.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// A line that is being written. A key that is there already is left as it is: the event's own word
/// counts before that of a span.
enum Line {
    Logfmt(String, Vec<&'static str>),
    Json(Map<String, Value>),
}

impl Line {
    fn new(format: LogFormat) -> Self {
        match format {
            LogFormat::Logfmt => Self::Logfmt(String::new(), Vec::new()),
            LogFormat::Json => Self::Json(Map::new()),
        }
    }

    fn push(&mut self, name: &'static str, value: Value) {
        match self {
            Self::Json(object) => {
                object.entry(name).or_insert(value);
            }
            Self::Logfmt(_, names) if names.contains(&name) => {}
            Self::Logfmt(text, names) => {
                let separator = if names.is_empty() { "" } else { " " };
                names.push(name);
                text.push_str(separator);
                text.push_str(name);
                text.push('=');
                match value {
                    Value::String(value) => quote(text, &value),
                    value => text.push_str(&value.to_string()),
                }
            }
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Logfmt(text, _) => text + "\n",
            Self::Json(object) => Value::Object(object).to_string() + "\n",
        }
    }
}

/// Appends a value: as it is, or in quotes where it could be taken for something else.
fn quote(text: &mut String, value: &str) {
    let special = |c: char| c.is_whitespace() || matches!(c, '=' | '"' | '\\') || is_unprintable(c);
    if !value.is_empty() && !value.contains(special) {
        text.push_str(value);
        return;
    }
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Writing to a string does not fail.
            c if is_unprintable(c) => drop(write!(text, "\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Characters that end lines, steer terminals or turn the direction of writing.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{debug, error, info, info_span, trace, warn};

    use super::*;

    /// The lines that `events` makes.
    fn log(level: LogLevel, format: LogFormat, events: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let subscriber = subscriber(level, format, move |line| sink.lock().unwrap().push(line.to_owned()));
        tracing::subscriber::with_default(subscriber, events);
        let lines = lines.lock().unwrap();
        lines.clone()
    }

    fn without_time(line: &str) -> &str {
        let (time, rest) = line.split_once(' ').unwrap();
        let time = time.strip_prefix("time=").unwrap();
        assert!(time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
        rest
    }

    #[test]
    fn logfmt_is_as_prometheus_writes_it() {
        let lines = log(LogLevel::Info, LogFormat::Logfmt, || {
            let _span = info_span!("poll", tenant = "contoso", cycle = 7).entered();
            info!(reports = 3_u64, tenant = "own", ratio = 0.5, "Poll ended");
            error!(error = "cannot \"connect\"\n=end\\", empty = "", "fail\u{1b}[31m\u{2028}ed");
            info!("short");
        });
        let lines: Vec<_> = lines.iter().map(|line| without_time(line)).collect();
        assert_eq!(
            lines,
            [
                "level=info msg=\"Poll ended\" reports=3 tenant=own ratio=0.5 cycle=7\n",
                "level=error msg=\"fail\\u001b[31m\\u2028ed\" error=\"cannot \\\"connect\\\"\\n=end\\\\\" empty=\"\" tenant=contoso cycle=7\n",
                "level=info msg=short tenant=contoso cycle=7\n",
            ]
        );
    }

    #[test]
    fn json_has_the_same_keys() {
        let lines = log(LogLevel::Info, LogFormat::Json, || {
            let span = info_span!("poll", tenant = tracing::field::Empty);
            span.record("tenant", "contoso");
            let _entered = span.enter();
            warn!(target: "hyper::proto", count = -3, done = true, what = ?Some("x\n"), "say \"hi\"");
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line.matches('\n').count(), 1);
        let mut object: Map<String, Value> = serde_json::from_str(line).unwrap();
        assert!(object.remove("time").is_some());
        let expected = serde_json::json!({
            "level": "warn", "msg": "say \"hi\"", "target": "hyper::proto", "count": -3, "done": true,
            "what": "Some(\"x\\n\")", "tenant": "contoso",
        });
        assert_eq!(Value::Object(object), expected);
    }

    #[test]
    fn an_error_is_told_with_its_causes_each_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Told(&'static str, #[source] Option<Box<Told>>);
        let told = |texts: &[&'static str]| {
            let error = texts.iter().rev().fold(None, |cause, text| Some(Box::new(Told(text, cause)))).unwrap();
            let lines = log(LogLevel::Info, LogFormat::Logfmt, || {
                info!(error = &*error as &dyn std::error::Error, "x");
            });
            without_time(&lines[0]).trim_end().strip_prefix("level=info msg=x error=").unwrap().to_owned()
        };
        assert_eq!(told(&["closed"]), "closed");
        assert_eq!(told(&["cannot write", "broken pipe"]), r#""cannot write: broken pipe""#);
        assert_eq!(told(&["a: b", "b", "c"]), r#""a: b: c""#);
        assert_eq!(told(&["no", "1", "2", "3", "4", "5", "6", "7", "8", "9"]), r#""no: 1: 2: 3: 4: 5: 6: 7: 8""#);
    }

    #[test]
    fn the_level_can_be_changed_while_it_goes_on() {
        let lines = Arc::new(Mutex::new(String::new()));
        let sink = lines.clone();
        let (subscriber, level) =
            adjustable(LogLevel::Info, LogFormat::Logfmt, move |line| sink.lock().unwrap().push_str(line));
        tracing::subscriber::with_default(subscriber, || {
            for (round, to) in
                [LogLevel::Debug, LogLevel::Error, LogLevel::Trace, LogLevel::Info].into_iter().enumerate()
            {
                debug!(round, "told");
                debug!(target: "reqwest::connect", round, "Authorization");
                level.set(to);
            }
            debug!(round = 4, "told");
        });
        let lines = lines.lock().unwrap();
        let rounds: Vec<_> = lines.lines().map(|line| line.rsplit_once("msg=told round=").unwrap().1).collect();
        assert_eq!(rounds, ["1", "3"], "{lines}");
    }

    /// What is logged of one event at each level, from a target.
    macro_rules! heard {
        ($level:expr, $target:literal) => {
            log($level, LogFormat::Logfmt, || {
                error!(target: $target, "error");
                warn!(target: $target, "warn");
                info!(target: $target, "info");
                debug!(target: $target, "debug");
                trace!(target: $target, "trace");
            })
            .len()
        };
    }

    #[test]
    fn levels_hold_for_this_program_and_libraries_are_held_to_warnings() {
        let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
        assert_eq!(levels.map(|level| heard!(level, "remote_assistance_exporter::poll")), [1, 2, 3, 4, 5]);
        assert_eq!(levels.map(|level| heard!(level, "hyper::proto::h1")), [1, 2, 2, 4, 4]);
        assert_eq!(levels.map(|level| heard!(level, "h2::codec")), [1, 2, 2, 2, 2]);
        assert_eq!(levels.map(|level| heard!(level, "reqwest::connect")), [1, 2, 2, 2, 2]);
        assert_eq!(levels.map(|level| heard!(level, "rustls::client")), [1, 2, 2, 2, 2]);
        assert_eq!(levels.map(|level| heard!(level, "azure_identity::client_secret")), [1, 2, 2, 2, 2]);
        assert_eq!(levels.map(|level| heard!(level, "typespec_client_core::http")), [1, 2, 2, 2, 2]);
    }
}
