//! The part that changes with each scrape. It is encoded once for each set of series; a scrape only
//! writes the numbers that are others now.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::format::Lines;
use super::openmetrics::Float;
use crate::metrics::{Live, Number, Numbers};

/// Numbers that may have changed since a template was filled before it is filled anew: a scrape changes
/// the buckets, sum and count of one path, and the counter of one code.
const CHANGED: usize = 32;
/// Room for numbers that have become longer.
const LONGER_BYTES: usize = 512;

/// A part of the exposition as it was a moment ago, in every format that was asked for.
pub(super) struct Rendering {
    part: Box<dyn Live>,
    templates: [ArcSwapOption<Template>; Lines::ALL.len()],
}

/// Lines of text, and where their numbers stand.
struct Template {
    shape: u64,
    text: Vec<u8>,
    places: Vec<Range<usize>>,
    /// The numbers in `text`: none where it is not known which these are.
    numbers: Vec<Number>,
}

impl Rendering {
    pub fn new(part: impl Live) -> Self {
        Self { part: Box::new(part), templates: Default::default() }
    }

    /// The bytes as they are now, with what ends a whole exposition.
    pub fn bytes(&self, lines: Lines) -> prometheus::Result<Vec<u8>> {
        let mut bytes = match self.filled_in(lines)? {
            Some(bytes) => bytes,
            None => lines.encode(&self.part.gather())?,
        };
        bytes.extend_from_slice(lines.end());
        Ok(bytes)
    }

    /// `None` where there is no template: in protobuf, whose numbers are not of one length, and in the
    /// moment in which a series is added.
    fn filled_in(&self, lines: Lines) -> prometheus::Result<Option<Vec<u8>>> {
        if lines == Lines::Protobuf {
            return Ok(None);
        }
        let Some(numbers) = self.part.numbers() else { return Ok(None) };
        let kept = &self.templates[lines as usize];
        let known = kept.load_full().filter(|known| known.fits(&numbers));
        let template = match known {
            Some(known) => known,
            None => Arc::new(Template::new(numbers.shape, lines.encode(&self.part.gather())?)),
        };
        if !template.fits(&numbers) {
            return Ok(None);
        }
        let (text, changed) = template.fill_in(lines, &numbers.values);
        if changed > CHANGED || template.numbers.is_empty() {
            let filled = Template { numbers: numbers.values, ..Template::new(numbers.shape, text.clone()) };
            kept.store(Some(Arc::new(filled)));
        }
        Ok(Some(text))
    }
}

impl Template {
    /// Of encoded families: each line that is no comment ends in a number.
    fn new(shape: u64, text: Vec<u8>) -> Self {
        let (mut places, mut end) = (Vec::new(), 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            let number = line.iter().rev().position(|byte| *byte == b' ');
            if let (Some(length), false) = (number, line.starts_with(b"#")) {
                places.push(end - length..end - 1);
            }
        }
        Self { shape, text, places, numbers: Vec::new() }
    }

    fn fits(&self, numbers: &Numbers) -> bool {
        (self.shape, self.places.len()) == (numbers.shape, numbers.values.len())
    }

    /// The text with these numbers, and how many of them were others before.
    fn fill_in(&self, lines: Lines, numbers: &[Number]) -> (Vec<u8>, usize) {
        let mut out = Vec::with_capacity(self.text.len() + LONGER_BYTES);
        let (mut from, mut changed) = (0, 0);
        for (position, (place, number)) in self.places.iter().zip(numbers).enumerate() {
            if self.numbers.get(position).is_some_and(|known| known.is_written_as(*number)) {
                continue;
            }
            out.extend_from_slice(&self.text[from..place.start]);
            write(&mut out, lines, *number);
            (from, changed) = (place.end, changed + 1);
        }
        out.extend_from_slice(&self.text[from..]);
        (out, changed)
    }
}

/// A number as the format's own encoder writes it.
fn write(out: &mut Vec<u8>, lines: Lines, number: Number) {
    let end = if lines == Lines::OpenMetrics { ".0" } else { "" };
    match number {
        Number::Count(count) => out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes()),
        // Most are whole: what is counted, and the sums of nothing.
        Number::Value(value) if value.fract() == 0.0 && value.is_sign_positive() && value < 1e5 => {
            out.extend_from_slice(itoa::Buffer::new().format(value as u32).as_bytes());
            out.extend_from_slice(end.as_bytes());
        }
        // Writing to memory cannot fail.
        Number::Value(value) if lines == Lines::OpenMetrics => _ = write!(out, "{}", Float(value)),
        Number::Value(value) => _ = write!(out, "{value}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use chrono::DateTime;
    use prometheus::proto::MetricFamily;
    use prometheus::{Gauge, Registry};
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::HttpMetrics;

    /// Counts how often families are made.
    #[derive(Clone)]
    struct Counted(HttpMetrics, Arc<Mutex<usize>>);

    impl Live for Counted {
        fn gather(&self) -> Vec<MetricFamily> {
            *self.1.lock().unwrap() += 1;
            self.0.gather()
        }

        fn numbers(&self) -> Option<Numbers> {
            self.0.numbers()
        }
    }

    fn http() -> HttpMetrics {
        let http = HttpMetrics::new(DateTime::default).unwrap();
        http.declare("/metrics", &[200, 503]);
        http.declare("a \"b\" \\ c", &[200]);
        http
    }

    proptest! {
        #[test]
        fn what_is_filled_in_is_what_the_encoder_writes(
            took in prop::collection::vec((0u64..20_000_000_000, 200u16..204), 0..40),
            in_flight in 0usize..3,
        ) {
            let http = http();
            let rendering = Rendering::new(http.clone());
            let requests: Vec<_> = (0..in_flight).map(|_| http.begin()).collect();
            for (nanoseconds, code) in took {
                http.answered("/metrics", code, Duration::from_nanos(nanoseconds));
                for lines in Lines::ALL {
                    let mut wanted = lines.encode(&http.gather()).unwrap();
                    wanted.extend_from_slice(lines.end());
                    prop_assert_eq!(rendering.bytes(lines).unwrap(), wanted);
                }
            }
            drop(requests);
        }
    }

    #[test]
    fn numbers_are_as_the_encoders_write_them() {
        let gauge = Gauge::new("fish", "Fish.").unwrap();
        for value in [0.0, -0.0, 1.0, -1.0, 99_999.0, 1e5, 999_999.0, 1e6, 1e15, 1e22, 0.1, 1e-7, f64::NAN] {
            gauge.set(value);
            for lines in [Lines::Text, Lines::OpenMetrics] {
                let encoded = lines.encode(&prometheus::core::Collector::collect(&gauge)).unwrap();
                let template = Template::new(0, encoded.clone());
                let (text, changed) = template.fill_in(lines, &[Number::Value(value)]);
                assert_eq!(String::from_utf8(text).unwrap(), String::from_utf8(encoded).unwrap());
                assert_eq!(changed, 1);
            }
        }
    }

    #[test]
    fn families_are_made_once_for_each_set_of_series() {
        let counted = Counted(http(), Arc::default());
        let made = || *counted.1.lock().unwrap();
        for lines in [Lines::Text, Lines::OpenMetrics] {
            let (rendering, before) = (Rendering::new(counted.clone()), made());
            for _ in 0..3 {
                counted.0.answered("/metrics", 200, Duration::ZERO);
                rendering.bytes(lines).unwrap();
            }
            assert_eq!(made(), before + 1, "{lines:?}");
            counted.0.answered(if lines == Lines::Text { "a" } else { "b" }, 404, Duration::ZERO);
            for _ in 0..3 {
                rendering.bytes(lines).unwrap();
            }
            assert_eq!(made(), before + 2, "{lines:?}");
        }
    }

    #[test]
    fn a_registry_is_rendered_whole() {
        let registry = Registry::new();
        registry.register(Box::new(Gauge::new("fish", "Fish.").unwrap())).unwrap();
        let bytes = Rendering::new(registry).bytes(Lines::OpenMetrics).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "# HELP fish Fish.\n# TYPE fish gauge\nfish 0.0\n# EOF\n");
    }
}
