//! The part that changes with each scrape. It is encoded once for each set of series; a scrape only
//! writes the numbers that are others now.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};

use super::format::Lines;
use super::openmetrics::Float;
use crate::metrics::{Live, Number, Numbers};

/// Numbers that may have changed since a template was filled before it is filled anew: a scrape changes the
/// histogram of one path and one counter, and the probes between two scrapes two more of each.
const CHANGED: usize = 64;
/// Lines without a number that changes are sent from where they are if they are so many bytes. Fewer are
/// copied sooner than they are strung together: a piece costs some 200 instructions on its way out.
const UNCOPIED_BYTES: usize = 1024;
/// Room for the lines of one path's histogram and counter, and for what is copied between them.
const FILLED_BYTES: usize = 3072;

/// A part of the exposition as it was a moment ago, in every format that was asked for.
pub(super) struct Rendering {
    part: Box<dyn Live>,
    templates: [ArcSwapOption<Template>; Lines::ALL.len()],
}

/// Lines of text, and where their numbers stand.
struct Template {
    shape: u64,
    /// As of when the numbers in it are right.
    version: u64,
    text: Bytes,
    places: Vec<Range<usize>>,
}

impl Rendering {
    pub fn new(part: impl Live) -> Self {
        Self { part: Box::new(part), templates: Default::default() }
    }

    /// Adds the bytes as they are now, with what ends a whole exposition, to the pieces before them.
    pub fn push_to(&self, pieces: &mut Vec<Bytes>, lines: Lines) -> prometheus::Result<()> {
        if !self.fill_in(pieces, lines)? {
            pieces.push(lines.encode(&self.part.gather())?.into());
        }
        pieces.push(Bytes::from_static(lines.end()));
        Ok(())
    }

    /// False where there is no template: in protobuf, whose numbers are not of one length, and in the
    /// moment in which a series is added.
    fn fill_in(&self, pieces: &mut Vec<Bytes>, lines: Lines) -> prometheus::Result<bool> {
        if lines == Lines::Protobuf {
            return Ok(false);
        }
        let kept = &self.templates[lines as usize];
        let known = kept.load();
        let Some(numbers) = self.part.numbers(known.as_ref().map(|known| known.version)) else { return Ok(false) };
        if let Some(known) = known.as_ref().filter(|known| known.fits(&numbers)) {
            let before = pieces.len();
            known.fill_in(pieces, lines, &numbers.values);
            if numbers.values.len() > CHANGED {
                kept.store(Some(Arc::new(Template::new(&numbers, pieces[before..].concat().into()))));
            }
            return Ok(true);
        }
        // Which numbers are in this is not known, so all are filled in.
        let text = lines.encode(&self.part.gather())?.into();
        let Some(numbers) = self.part.numbers(None) else { return Ok(false) };
        let template = Template::new(&numbers, text);
        if !template.fits(&numbers) {
            return Ok(false);
        }
        let text = template.filled_in(lines, &numbers.values);
        pieces.push(text.clone());
        kept.store(Some(Arc::new(Template::new(&numbers, text))));
        Ok(true)
    }
}

impl Template {
    /// Of encoded families: each line that is no comment ends in a number.
    fn new(numbers: &Numbers, text: Bytes) -> Self {
        let (mut places, mut end) = (Vec::new(), 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            let number = line.iter().rev().position(|byte| *byte == b' ');
            if let (Some(length), false) = (number, line.starts_with(b"#")) {
                places.push(end - length..end - 1);
            }
        }
        Self { shape: numbers.shape, version: numbers.version, text, places }
    }

    fn fits(&self, numbers: &Numbers) -> bool {
        (self.shape, self.places.len()) == (numbers.shape, numbers.places)
    }

    /// The text with these numbers, in one piece.
    fn filled_in(&self, lines: Lines, numbers: &[(usize, Number)]) -> Bytes {
        let mut pieces = Vec::new();
        self.fill_in(&mut pieces, lines, numbers);
        pieces.concat().into()
    }

    /// Adds the text with these numbers.
    fn fill_in(&self, pieces: &mut Vec<Bytes>, lines: Lines, numbers: &[(usize, Number)]) {
        let (mut filled, mut digits, mut from) = (BytesMut::with_capacity(FILLED_BYTES), Digits::new(lines), 0);
        for (at, number) in numbers {
            let place = self.places[*at].clone();
            self.go_on(from..place.start, &mut filled, pieces);
            filled.extend_from_slice(digits.of(*number));
            from = place.end;
        }
        self.go_on(from..self.text.len(), &mut filled, pieces);
        pieces.push(filled.freeze());
    }

    /// Puts text at the end of what is filled in so far.
    #[inline]
    fn go_on(&self, range: Range<usize>, filled: &mut BytesMut, pieces: &mut Vec<Bytes>) {
        if range.len() < UNCOPIED_BYTES {
            return filled.extend_from_slice(&self.text[range]);
        }
        if !filled.is_empty() {
            pieces.push(filled.split().freeze());
        }
        pieces.push(self.text.slice(range));
    }
}

/// Numbers as text.
struct Digits {
    is_openmetrics: bool,
    /// What the text is of.
    number: Option<Number>,
    text: Vec<u8>,
}

impl Digits {
    fn new(lines: Lines) -> Self {
        Self { is_openmetrics: lines == Lines::OpenMetrics, number: None, text: Vec::with_capacity(LONGEST) }
    }

    /// A number as the format's own encoder writes it.
    fn of(&mut self, number: Number) -> &[u8] {
        // Most are the same as the one before: buckets count all that is below.
        if self.number != Some(number) {
            self.number = Some(number);
            self.text.clear();
            self.write(number);
        }
        &self.text
    }

    fn write(&mut self, number: Number) {
        let Self { is_openmetrics, text, .. } = self;
        // Beyond these, there are exponents, and integers that are not exact.
        let most_whole = if *is_openmetrics { 1_000_000 } else { MAX_EXACT };
        let mut digits = itoa::Buffer::new();
        match number {
            Number::Count(count) => text.extend_from_slice(digits.format(count).as_bytes()),
            Number::Whole(whole) if whole < most_whole => {
                text.extend_from_slice(digits.format(whole).as_bytes());
                text.extend_from_slice(if *is_openmetrics { b".0" } else { b"" });
            }
            Number::Billionths(billionths) if billionths % BILLION == 0 => {
                self.write(Number::Whole(billionths / BILLION));
            }
            Number::Billionths(billionths) if PLAIN.contains(&billionths) => {
                text.extend_from_slice(digits.format(billionths / BILLION).as_bytes());
                let decimals = text.len();
                text.extend_from_slice(digits.format(BILLION + billionths % BILLION).trim_end_matches('0').as_bytes());
                // In place of the one that kept the zeros after it.
                text[decimals] = b'.';
            }
            // Writing to memory cannot fail.
            other if *is_openmetrics => _ = write!(text, "{}", Float(other.value())),
            other => _ = write!(text, "{}", other.value()),
        }
    }
}

/// Enough for most numbers.
const LONGEST: usize = 24;
/// All integers below are numbers of their own.
const MAX_EXACT: u64 = 1 << 53;
const BILLION: u64 = 1_000_000_000;
/// Fractions without an exponent in any format, of 15 digits at most: so many are the shortest text of their
/// number, which is what the encoders look for at length.
const PLAIN: Range<u64> = BILLION / 10_000..100_000 * BILLION;

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

        fn numbers(&self, since: Option<u64>) -> Option<Numbers> {
            self.0.numbers(since)
        }
    }

    fn http() -> HttpMetrics {
        let http = HttpMetrics::new(DateTime::default).unwrap();
        http.declare(http.path("/metrics"), &[200, 503]);
        http.declare(http.path("a \"b\" \\ c"), &[200]);
        http
    }

    fn whole(rendering: &Rendering, lines: Lines) -> Vec<u8> {
        let mut pieces = Vec::new();
        rendering.push_to(&mut pieces, lines).unwrap();
        pieces.concat()
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
                let path = http.path(if code == 203 { "other" } else { "/metrics" });
                http.answered(path, code, Duration::from_nanos(nanoseconds));
                for lines in Lines::ALL {
                    let mut wanted = lines.encode(&http.gather()).unwrap();
                    wanted.extend_from_slice(lines.end());
                    prop_assert_eq!(whole(&rendering, lines), wanted);
                }
            }
            drop(requests);
        }
    }

    fn is_as_the_encoders_write_it(number: Number) {
        let gauge = Gauge::new("fish", "Fish.").unwrap();
        gauge.set(number.value());
        for lines in [Lines::Text, Lines::OpenMetrics] {
            let encoded = lines.encode(&prometheus::core::Collector::collect(&gauge)).unwrap();
            let numbers = Numbers { shape: 0, places: 1, version: 0, values: vec![(0, number)] };
            let filled = Template::new(&numbers, encoded.clone().into()).filled_in(lines, &numbers.values);
            assert_eq!(String::from_utf8(filled.into()).unwrap(), String::from_utf8(encoded).unwrap(), "{number:?}");
        }
    }

    #[test]
    fn numbers_are_as_the_encoders_write_them() {
        for value in [0.0, -0.0, 0.25, -1.0, 1e-7, 1e5, 1e6, 1e22, f64::NAN, f64::INFINITY] {
            is_as_the_encoders_write_it(Number::Value(value));
        }
        for whole in [0, 1, 99_999, 999_999, 1_000_000, MAX_EXACT - 1, MAX_EXACT + 1, u64::MAX] {
            is_as_the_encoders_write_it(Number::Whole(whole));
            is_as_the_encoders_write_it(Number::Billionths(whole));
            is_as_the_encoders_write_it(Number::Billionths(whole.saturating_mul(BILLION)));
        }
        for bound in [PLAIN.start, PLAIN.end] {
            for billionths in bound - 1..=bound + 1 {
                is_as_the_encoders_write_it(Number::Billionths(billionths));
            }
        }
    }

    proptest! {
        #[test]
        fn any_number_is_as_the_encoders_write_it(whole in any::<u64>(), shift in 0..64_u32, bits in any::<u64>()) {
            is_as_the_encoders_write_it(Number::Whole(whole >> shift));
            is_as_the_encoders_write_it(Number::Billionths(whole >> shift));
            is_as_the_encoders_write_it(Number::Value(f64::from_bits(bits)));
        }
    }

    #[test]
    fn families_are_made_once_for_each_set_of_series() {
        let counted = Counted(http(), Arc::default());
        let made = || *counted.1.lock().unwrap();
        for lines in [Lines::Text, Lines::OpenMetrics] {
            let (rendering, before) = (Rendering::new(counted.clone()), made());
            for _ in 0..3 {
                counted.0.answered(counted.0.path("/metrics"), 200, Duration::ZERO);
                whole(&rendering, lines);
            }
            assert_eq!(made(), before + 1, "{lines:?}");
            let path = counted.0.path(if lines == Lines::Text { "a" } else { "b" });
            counted.0.answered(path, 404, Duration::ZERO);
            for _ in 0..3 {
                whole(&rendering, lines);
            }
            assert_eq!(made(), before + 2, "{lines:?}");
        }
    }

    #[test]
    fn a_registry_is_rendered_whole() {
        let registry = Registry::new();
        registry.register(Box::new(Gauge::new("fish", "Fish.").unwrap())).unwrap();
        let bytes = whole(&Rendering::new(registry), Lines::OpenMetrics);
        assert_eq!(String::from_utf8(bytes).unwrap(), "# HELP fish Fish.\n# TYPE fish gauge\nfish 0.0\n# EOF\n");
    }
}
