//! The part that changes with each scrape. What stands between its numbers is encoded once for each
//! set of series; a scrape only fills in the numbers.

use std::io::Write;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::format::Lines;
use super::openmetrics::Float;
use crate::metrics::{Live, Number, Numbers};

/// The longest that a number usually gets, for the room that is reserved.
const NUMBER_BYTES: usize = 12;

/// A part of the exposition with what is between its numbers, in every format that was asked for.
pub(super) struct Rendering {
    part: Box<dyn Live>,
    templates: [ArcSwapOption<Template>; Lines::ALL.len()],
}

/// Lines of text without their numbers.
struct Template {
    shape: u64,
    /// The text before each number and after the last one.
    text: Vec<u8>,
    /// Where in it the numbers belong.
    places: Vec<usize>,
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
        let known = self.templates[lines as usize].load_full().filter(|known| known.fits(&numbers));
        let template = match known {
            Some(known) => known,
            None => {
                let made = Arc::new(Template::new(numbers.shape, &lines.encode(&self.part.gather())?));
                if !made.fits(&numbers) {
                    return Ok(None);
                }
                self.templates[lines as usize].store(Some(made.clone()));
                made
            }
        };
        Ok(Some(template.fill_in(lines, &numbers.values)))
    }
}

impl Template {
    /// Of encoded families: each line that is no comment ends in a number.
    fn new(shape: u64, encoded: &[u8]) -> Self {
        let (mut text, mut places) = (String::new(), Vec::new());
        for line in String::from_utf8_lossy(encoded).lines() {
            match line.rsplit_once(' ') {
                Some((sample, _)) if !line.starts_with('#') => {
                    text += sample;
                    text.push(' ');
                    places.push(text.len());
                }
                _ => text += line,
            }
            text.push('\n');
        }
        Self { shape, text: text.into_bytes(), places }
    }

    fn fits(&self, numbers: &Numbers) -> bool {
        (self.shape, self.places.len()) == (numbers.shape, numbers.values.len())
    }

    fn fill_in(&self, lines: Lines, numbers: &[Number]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + numbers.len() * NUMBER_BYTES);
        let mut from = 0;
        for (place, number) in self.places.iter().zip(numbers) {
            out.extend_from_slice(&self.text[from..*place]);
            write(&mut out, lines, *number);
            from = *place;
        }
        out.extend_from_slice(&self.text[from..]);
        out
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
                let template = Template::new(0, &encoded);
                assert_eq!(
                    String::from_utf8(template.fill_in(lines, &[Number::Value(value)])).unwrap(),
                    String::from_utf8(encoded).unwrap()
                );
            }
        }
    }

    #[test]
    fn families_are_made_once_for_each_set_of_series() {
        let counted = Counted(http(), Arc::default());
        let rendering = Rendering::new(counted.clone());
        let made = || *counted.1.lock().unwrap();
        for _ in 0..3 {
            counted.0.answered("/metrics", 200, Duration::ZERO);
            rendering.bytes(Lines::Text).unwrap();
        }
        assert_eq!(made(), 1);
        counted.0.answered("other", 404, Duration::ZERO);
        for _ in 0..3 {
            rendering.bytes(Lines::Text).unwrap();
        }
        assert_eq!(made(), 2);
    }

    #[test]
    fn a_registry_is_rendered_whole() {
        let registry = Registry::new();
        registry.register(Box::new(Gauge::new("fish", "Fish.").unwrap())).unwrap();
        let bytes = Rendering::new(registry).bytes(Lines::OpenMetrics).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "# HELP fish Fish.\n# TYPE fish gauge\nfish 0.0\n# EOF\n");
    }
}
