//! The part that changes with each scrape. It is encoded once for each set of series; a scrape only
//! writes the numbers that are others now.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::digits::Digits;
use super::format::Lines;
use crate::metrics::{Live, Numbers};

/// Sheets that are kept for the next scrapes, of one format: as many as are sent at a time, but where many readers
/// are slow.
const KEPT: usize = 8;

/// A part of the exposition as it was a moment ago, in every format that was asked for.
pub(super) struct Rendering {
    part: Box<dyn Live>,
    shelves: [Arc<Shelf>; Lines::ALL.len()],
}

/// Sheets that no answer holds.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "each scrape moves one twice")]
struct Shelf(Mutex<Vec<Box<Sheet>>>);

/// Lines of text, and where their numbers stand. One scrape at a time has it, until it is sent.
struct Sheet {
    shape: u64,
    /// As of when the numbers in it are right; `None` where they may be of several times.
    version: Option<u64>,
    text: Vec<u8>,
    places: Vec<Range<usize>>,
    digits: Digits,
}

/// A sheet that is read. It is back on its shelf afterwards.
struct Lent {
    sheet: Option<Box<Sheet>>,
    shelf: Arc<Shelf>,
}

impl Rendering {
    pub fn new(part: impl Live) -> Self {
        Self { part: Box::new(part), shelves: Default::default() }
    }

    /// Adds the bytes as they are now, with what ends a whole exposition, to the pieces before them.
    pub fn push_to(&self, pieces: &mut Vec<Bytes>, lines: Lines) -> prometheus::Result<()> {
        let shelf = &self.shelves[lines as usize];
        pieces.push(match self.sheet(shelf, lines)? {
            Some(sheet) => shelf.clone().lend(sheet),
            None => lines.encode(&self.part.gather())?.into(),
        });
        pieces.push(Bytes::from_static(lines.end()));
        Ok(())
    }

    /// A sheet with the numbers of now. None in protobuf, whose numbers are not of one length, and in the moment
    /// in which a series is added.
    fn sheet(&self, shelf: &Shelf, lines: Lines) -> prometheus::Result<Option<Box<Sheet>>> {
        if lines == Lines::Protobuf {
            return Ok(None);
        }
        let known = shelf.sheets().pop();
        let Some(numbers) = self.part.numbers(known.as_ref().and_then(|sheet| sheet.version)) else { return Ok(None) };
        let (mut sheet, numbers) = match known {
            Some(sheet) if sheet.fits(&numbers) => (sheet, numbers),
            _ => {
                let sheet = Sheet::new(numbers.shape, lines, lines.encode(&self.part.gather())?);
                let Some(numbers) = self.part.numbers(sheet.version) else { return Ok(None) };
                (Box::new(sheet), numbers)
            }
        };
        Ok(sheet.fits(&numbers).then(|| {
            sheet.write(&numbers);
            sheet
        }))
    }
}

impl Shelf {
    #[expect(clippy::vec_box, reason = "as they are kept")]
    fn sheets(&self) -> MutexGuard<'_, Vec<Box<Sheet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lend(self: Arc<Self>, sheet: Box<Sheet>) -> Bytes {
        Bytes::from_owner(Lent { sheet: Some(sheet), shelf: self })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.sheet.as_ref().map_or(&[], |sheet| &sheet.text)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut sheets = self.shelf.sheets();
        if sheets.len() < KEPT {
            sheets.extend(self.sheet.take());
        }
    }
}

impl Sheet {
    /// Of encoded families: each line that is no comment ends in a number.
    fn new(shape: u64, lines: Lines, text: Vec<u8>) -> Self {
        let (mut places, mut end) = (Vec::new(), 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            let number = line.iter().rev().position(|byte| *byte == b' ');
            if let (Some(length), false) = (number, line.starts_with(b"#")) {
                places.push(end - length..end - 1);
            }
        }
        Self { shape, version: None, text, places, digits: Digits::new(lines) }
    }

    fn fits(&self, numbers: &Numbers) -> bool {
        (self.shape, self.places.len()) == (numbers.shape, numbers.places)
    }

    /// Writes numbers in the place of those before.
    fn write(&mut self, numbers: &Numbers) {
        self.version = Some(numbers.version);
        for (at, number) in &numbers.values {
            let (place, digits) = (self.places[*at].clone(), self.digits.of(*number));
            if place.len() == digits.len() {
                self.text[place].copy_from_slice(digits);
                continue;
            }
            let longer = digits.len().wrapping_sub(place.len());
            self.text.splice(place, digits.iter().copied());
            self.places[*at].end = self.places[*at].end.wrapping_add(longer);
            for later in &mut self.places[at + 1..] {
                *later = later.start.wrapping_add(longer)..later.end.wrapping_add(longer);
            }
        }
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
    fn what_a_reader_holds_stays_as_it_was() {
        let (http, mut bodies) = (http(), Vec::new());
        let rendering = Rendering::new(http.clone());
        let scrape = || {
            http.answered(http.path("/metrics"), 200, Duration::from_millis(20));
            let mut pieces = Vec::new();
            rendering.push_to(&mut pieces, Lines::Text).unwrap();
            pieces
        };
        for _ in 0..=KEPT {
            let body = scrape();
            bodies.push((body.concat(), body));
        }
        for (first, body) in &bodies {
            assert_eq!(&body.concat(), first);
        }
        let texts: Vec<_> = bodies.iter().map(|(_, body)| body[0].as_ptr()).collect();
        drop(bodies);
        assert_eq!(rendering.shelves[Lines::Text as usize].sheets().len(), KEPT);
        let again = scrape();
        assert!(texts.contains(&again[0].as_ptr()), "it is written over");
        assert_eq!(again.concat(), Lines::Text.encode(&http.gather()).unwrap());
    }

    #[test]
    fn a_registry_is_rendered_whole() {
        let registry = Registry::new();
        registry.register(Box::new(Gauge::new("fish", "Fish.").unwrap())).unwrap();
        let bytes = whole(&Rendering::new(registry), Lines::OpenMetrics);
        assert_eq!(String::from_utf8(bytes).unwrap(), "# HELP fish Fish.\n# TYPE fish gauge\nfish 0.0\n# EOF\n");
    }
}
