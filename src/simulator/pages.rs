//! Pages without a server, for benchmarks of reading.

use chrono::DateTime;

use super::collection::{Style, envelope};
use super::generator::Generator;
use super::options::{Options, TenantOptions};
use super::properties::{ORIGINAL, PROPERTIES};
use super::row::Shown;

/// Pages of an OData collection with so many reports of about 800 bytes each: the properties that
/// the type was first published with, every session ended, every id once.
pub fn odata_pages(seed: u64, reports: usize, page_size: usize) -> Vec<Vec<u8>> {
    const START: i64 = 1_750_000_000;
    const ORIGIN: &str = "https://graph.example";
    let start = DateTime::from_timestamp(START, 0).unwrap_or_default();
    let tenant = TenantOptions { live_per_second: 1.0, ..TenantOptions::new("contoso") };
    let options = Options { seed, ..Options::new(move || start, vec![]) };
    let generator = Generator::new(&options, &tenant);
    let mut live = generator.live(start);
    let rows: Vec<_> =
        std::iter::from_fn(|| generator.next(&mut live)).take(reports).map(|row| Shown::Ended(row.session)).collect();
    let style = Style { properties: &PROPERTIES[..ORIGINAL], shuffle: None, unknown: None };
    let pages = rows.chunks(page_size.max(1));
    let last = pages.len().saturating_sub(1);
    pages
        .enumerate()
        .map(|(number, rows)| {
            let link = format!("{ORIGIN}/beta/deviceManagement/remoteAssistanceSessions?$skiptoken={number}");
            envelope(rows, ORIGIN, (number < last).then_some(&*link), None, &style)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_the_reports_asked_for_in_about_800_bytes_each() {
        let pages = odata_pages(3, 1_050, 100);
        assert_eq!(pages.len(), 11);
        let bytes: usize = pages.iter().map(Vec::len).sum();
        assert!((750..900).contains(&(bytes / 1_050)), "{}", bytes / 1_050);
        let mut ids = std::collections::HashSet::new();
        for (number, page) in pages.iter().enumerate() {
            let page: serde_json::Value = serde_json::from_slice(page).unwrap();
            assert_eq!(page.get("@odata.nextLink").is_some(), number < 10);
            for report in page["value"].as_array().unwrap() {
                assert!(report["endDateTime"].as_str().unwrap().ends_with('Z'));
                assert!(ids.insert(report["id"].as_str().unwrap().to_owned()));
            }
        }
        assert_eq!(ids.len(), 1_050);
        assert_eq!(pages, odata_pages(3, 1_050, 100));
        assert_ne!(pages, odata_pages(4, 1_050, 100));
        assert!(odata_pages(3, 0, 100).is_empty());
    }
}
