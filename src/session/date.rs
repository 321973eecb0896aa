//! Dates as Graph writes them: `Z`, an offset or no zone at all (then UTC), up to seven fractional
//! digits, and year 1 for "no date".

use chrono::{DateTime, Datelike, Utc};

/// The text is not a date. Carries no text: it could hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date and time such as 2026-03-19T12:08:16Z")]
pub struct UnreadableDate;

/// The length of `2026-03-19T12:08:16`, which every shape starts with.
const SECONDS_LENGTH: usize = 19;
/// The longest date that is looked at: nine fractional digits and an offset, with room.
const MAX_LENGTH: usize = 48;

/// Reads a date; `Ok(None)` for the year-1 date that stands for "not reported".
pub fn parse_date(text: &str) -> Result<Option<DateTime<Utc>>, UnreadableDate> {
    let bytes = text.as_bytes();
    if bytes.len() < SECONDS_LENGTH || bytes.len() >= MAX_LENGTH {
        return Err(UnreadableDate);
    }
    let zoned = bytes[SECONDS_LENGTH..].iter().any(|b| matches!(b, b'Z' | b'z' | b'+' | b'-'));
    let date = if zoned {
        DateTime::parse_from_rfc3339(text)
    } else {
        let mut buffer = [0; MAX_LENGTH];
        buffer[..bytes.len()].copy_from_slice(bytes);
        buffer[bytes.len()] = b'Z';
        let with_zone = std::str::from_utf8(&buffer[..=bytes.len()]).map_err(|_| UnreadableDate)?;
        DateTime::parse_from_rfc3339(with_zone)
    };
    let date = date.map_err(|_| UnreadableDate)?.to_utc();
    Ok((date.year() > 1).then_some(date))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn every_shape_is_read() {
        let noon = utc("2026-03-19T12:08:16Z");
        for text in [
            "2026-03-19T12:08:16Z",
            "2026-03-19T12:08:16",
            "2026-03-19 12:08:16",
            "2026-03-19T13:08:16+01:00",
            "2026-03-19T07:08:16-05:00",
            "2026-03-19T12:08:16.0000000",
            "2026-03-19T12:08:16.0Z",
        ] {
            assert_eq!(parse_date(text), Ok(Some(noon)), "{text}");
        }
        let ticks = noon + TimeDelta::nanoseconds(123_456_700);
        assert_eq!(parse_date("2026-03-19T12:08:16.1234567"), Ok(Some(ticks)));
        assert_eq!(parse_date("2026-03-19T12:08:16.1234567Z"), Ok(Some(ticks)));
    }

    #[test]
    fn year_one_is_absent() {
        assert_eq!(parse_date("0001-01-01T00:00:00Z"), Ok(None));
        assert_eq!(parse_date("0001-01-01T00:00:00"), Ok(None));
        assert_eq!(parse_date("0001-01-01T00:00:00+02:00"), Ok(None));
    }

    #[test]
    fn nonsense_is_unreadable() {
        let long = "2026-03-19T12:08:16".repeat(9);
        for text in ["yesterday", "2026-03-19", "2026-13-19T12:08:16Z", "2026-03-19T12:08:16+", "1774000000", &long] {
            assert_eq!(parse_date(text), Err(UnreadableDate), "{text}");
        }
        assert_eq!(parse_date("ééééééééééééééééééé"), Err(UnreadableDate));
    }
}
