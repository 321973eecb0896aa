//! What the Prometheus protobuf format has and the crate's types have not: native buckets and the
//! time at which a series was created. Both travel as fields that the types do not know, by the
//! numbers of `io/prometheus/client/metrics.proto`; the crate's own encoder writes them out, and
//! text encoders leave them alone.

use chrono::{DateTime, Utc};
use prometheus::proto::{Counter, Histogram, Metric};
use protobuf::{CodedOutputStream, UnknownFields, UnknownValue};

use crate::ledger::totals::native::{Native, SCHEMA, ZERO_THRESHOLD};

/// `Counter.created_timestamp`.
const COUNTER_CREATED: u32 = 3;
/// `Histogram.schema`, `sint32`.
const HISTOGRAM_SCHEMA: u32 = 5;
/// `Histogram.zero_threshold`, `double`.
const HISTOGRAM_ZERO_THRESHOLD: u32 = 6;
/// `Histogram.zero_count`, `uint64`.
const HISTOGRAM_ZERO_COUNT: u32 = 7;
/// `Histogram.positive_span`, repeated `BucketSpan`.
const HISTOGRAM_POSITIVE_SPAN: u32 = 12;
/// `Histogram.positive_delta`, repeated `sint64`.
const HISTOGRAM_POSITIVE_DELTA: u32 = 13;
/// `Histogram.created_timestamp`.
const HISTOGRAM_CREATED: u32 = 15;
/// `BucketSpan.offset`, `sint32`.
const SPAN_OFFSET: u32 = 1;
/// `BucketSpan.length`, `uint32`.
const SPAN_LENGTH: u32 = 2;

/// `Timestamp.seconds`, `int64`.
const TIMESTAMP_SECONDS: u32 = 1;
/// `Timestamp.nanos`, `int32`.
const TIMESTAMP_NANOS: u32 = 2;

/// A gap of up to this many empty buckets is bridged by zeros, which take less room than a new span.
const MAX_BRIDGED: i32 = 2;

/// Says when a counter's series was created.
pub fn set_counter_created(counter: &mut Counter, created: DateTime<Utc>) {
    add_timestamp(counter.special_fields.mut_unknown_fields(), COUNTER_CREATED, created);
}

/// Says when a histogram's series was created.
pub fn set_histogram_created(histogram: &mut Histogram, created: DateTime<Utc>) {
    add_timestamp(histogram.special_fields.mut_unknown_fields(), HISTOGRAM_CREATED, created);
}

/// Says when the series of a counter or a histogram was created.
pub fn set_created(metric: &mut Metric, created: DateTime<Utc>) {
    if let Some(counter) = metric.counter.as_mut() {
        set_counter_created(counter, created);
    }
    if let Some(histogram) = metric.histogram.as_mut() {
        set_histogram_created(histogram, created);
    }
}

/// Makes a histogram a native one as well.
pub fn set_native(histogram: &mut Histogram, native: &Native) {
    let fields = histogram.special_fields.mut_unknown_fields();
    fields.add_value(HISTOGRAM_SCHEMA, UnknownValue::sint32(SCHEMA));
    fields.add_value(HISTOGRAM_ZERO_THRESHOLD, UnknownValue::double(ZERO_THRESHOLD));
    fields.add_value(HISTOGRAM_ZERO_COUNT, UnknownValue::Varint(native.zero));
    let (spans, deltas) = spans(native);
    // A native histogram without observations would read as a classic one, had it no span at all.
    for span in if spans.is_empty() { vec![Span { offset: 0, length: 0 }] } else { spans } {
        let message = message(|out| {
            out.write_sint32(SPAN_OFFSET, span.offset)?;
            out.write_uint32(SPAN_LENGTH, span.length)
        });
        fields.add_length_delimited(HISTOGRAM_POSITIVE_SPAN, message);
    }
    for delta in deltas {
        fields.add_value(HISTOGRAM_POSITIVE_DELTA, UnknownValue::sint64(delta));
    }
}

/// Buckets that follow each other.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    /// The first bucket's index for the first span; for the others, the empty buckets before it.
    offset: i32,
    /// How many buckets.
    length: u32,
}

/// The buckets as spans, and each bucket's count as the difference to the one before.
fn spans(native: &Native) -> (Vec<Span>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::<Span>::new(), Vec::new());
    let (mut next, mut last) = (0, 0);
    for (&index, &count) in &native.buckets {
        let gap = index - next;
        match spans.last_mut() {
            Some(span) if gap <= MAX_BRIDGED => {
                for _ in 0..gap {
                    deltas.push(-last);
                    last = 0;
                }
                span.length += gap.unsigned_abs() + 1;
            }
            _ => spans.push(Span { offset: gap, length: 1 }),
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        deltas.push(count - last);
        (next, last) = (index + 1, count);
    }
    (spans, deltas)
}

/// A `google.protobuf.Timestamp`.
fn add_timestamp(fields: &mut UnknownFields, number: u32, time: DateTime<Utc>) {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    let message = message(|out| {
        out.write_int64(TIMESTAMP_SECONDS, time.timestamp())?;
        out.write_int32(TIMESTAMP_NANOS, nanos)
    });
    fields.add_length_delimited(number, message);
}

fn message(write: impl FnOnce(&mut CodedOutputStream<'_>) -> protobuf::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = CodedOutputStream::vec(&mut bytes);
    // Writing to memory cannot fail.
    let _ = write(&mut out).and_then(|()| out.flush());
    drop(out);
    bytes
}

/// When a series was created, as the protobuf format tells it.
#[cfg(test)]
pub fn created(metric: &Metric) -> Option<DateTime<Utc>> {
    let field = match (metric.counter.as_ref(), metric.histogram.as_ref()) {
        (Some(counter), _) => counter.special_fields.unknown_fields().get(COUNTER_CREATED),
        (_, Some(histogram)) => histogram.special_fields.unknown_fields().get(HISTOGRAM_CREATED),
        _ => None,
    };
    let Some(protobuf::UnknownValueRef::LengthDelimited(timestamp)) = field else { return None };
    let mut timestamp = protobuf::CodedInputStream::from_bytes(timestamp);
    timestamp.read_raw_varint32().ok()?;
    DateTime::from_timestamp(timestamp.read_int64().ok()?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(buckets: &[(i32, u64)]) -> Native {
        Native { zero: 0, buckets: buckets.iter().copied().collect() }
    }

    #[test]
    fn buckets_become_spans_and_differences() {
        let span = |offset, length| Span { offset, length };
        for (buckets, wanted, deltas) in [
            (&[][..], vec![], vec![]),
            (&[(-3, 2)], vec![span(-3, 1)], vec![2]),
            (&[(0, 2), (1, 2), (2, 1)], vec![span(0, 3)], vec![2, 0, -1]),
            // Gaps of two are bridged; a gap of three is cheaper as a span of its own.
            (&[(5, 1), (8, 4)], vec![span(5, 4)], vec![1, -1, 0, 4]),
            (&[(5, 1), (9, 4), (10, 1)], vec![span(5, 1), span(3, 2)], vec![1, 3, -3]),
        ] {
            assert_eq!(spans(&native(buckets)), (wanted, deltas), "{buckets:?}");
        }
    }

    #[test]
    fn fields_are_written_by_the_numbers_of_the_schema() {
        use protobuf::Message as _;
        let mut histogram = Histogram::default();
        set_native(&mut histogram, &Native { zero: 3, buckets: [(-1, 2)].into() });
        set_histogram_created(&mut histogram, DateTime::from_timestamp(1_774_000_000, 5).unwrap());
        let fields = histogram.special_fields.unknown_fields();
        let get = |number| fields.get(number).map(|value| format!("{value:?}")).unwrap();
        assert_eq!(get(5), "Varint(6)");
        assert_eq!(get(6), format!("Fixed64({})", ZERO_THRESHOLD.to_bits()));
        assert_eq!(get(7), "Varint(3)");
        // Offset -1 as zig-zag 1, length 1.
        assert_eq!(get(12), "LengthDelimited([8, 1, 16, 1])");
        assert_eq!(get(13), "Varint(4)");
        assert_eq!(get(15), "LengthDelimited([8, 128, 175, 244, 205, 6, 16, 5])");
        assert_eq!(Histogram::parse_from_bytes(&histogram.write_to_bytes().unwrap()).unwrap(), histogram);
        let mut counter = Counter::default();
        set_counter_created(&mut counter, DateTime::UNIX_EPOCH);
        assert_eq!(counter.write_to_bytes().unwrap(), [26, 4, 8, 0, 16, 0]);
    }

    #[test]
    fn a_native_histogram_without_observations_is_still_one() {
        let mut histogram = Histogram::default();
        set_native(&mut histogram, &Native::default());
        let span = histogram.special_fields.unknown_fields().get(HISTOGRAM_POSITIVE_SPAN).map(|s| format!("{s:?}"));
        assert_eq!(span.as_deref(), Some("LengthDelimited([8, 0, 16, 0])"));
    }
}
