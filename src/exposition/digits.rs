//! Numbers as the formats' own encoders write them, and sooner.

use std::io::Write;
use std::ops::Range;

use super::format::Lines;
use super::openmetrics::Float;
use crate::metrics::Number;

/// Numbers as text.
pub(super) struct Digits {
    is_openmetrics: bool,
    /// What the text is of.
    number: Option<Number>,
    text: Vec<u8>,
}

impl Digits {
    pub fn new(lines: Lines) -> Self {
        Self { is_openmetrics: lines == Lines::OpenMetrics, number: None, text: Vec::new() }
    }

    /// A number as the format's own encoder writes it.
    pub fn of(&mut self, number: Number) -> &[u8] {
        // Most are the same as the one before: buckets count all that is below. Of two zeros, one has a sign.
        if self.number != Some(number) || number == Number::Value(0.0) {
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

/// All integers below are numbers of their own.
const MAX_EXACT: u64 = 1 << 53;
const BILLION: u64 = 1_000_000_000;
/// Fractions without an exponent in any format, of 15 digits at most: so many are the shortest text of their
/// number, which is what the encoders look for at length.
const PLAIN: Range<u64> = BILLION / 10_000..100_000 * BILLION;

#[cfg(test)]
mod tests {
    use prometheus::Gauge;
    use proptest::prelude::*;

    use super::*;

    fn is_as_the_encoders_write_it(number: Number) {
        let gauge = Gauge::new("fish", "Fish.").unwrap();
        gauge.set(number.value());
        for lines in [Lines::Text, Lines::OpenMetrics] {
            let encoded = lines.encode(&prometheus::core::Collector::collect(&gauge)).unwrap();
            let encoded = String::from_utf8(encoded).unwrap();
            let wanted = encoded.lines().find_map(|line| line.strip_prefix("fish ")).unwrap();
            assert_eq!(std::str::from_utf8(Digits::new(lines).of(number)).unwrap(), wanted, "{number:?}");
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
}
