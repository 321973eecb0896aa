//! Tests of the decoder.

use std::io::Write as _;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::session::SessionType;

/// The documented columns of the export.
const HEADER: &str = "Attribute,Date,DateDifference,HelperDeviceAadId,HelperDeviceName,HelperEmail,HelperFirstName,\
    HelperLastName,Sessionend,SessionId,Sessionstart,SharerDeviceAadId,SharerDeviceName,SharerDeviceOS,\
    SharerDeviceSerialNumber,SharerEmail,SharerFirstName,SharerLastName";
const SHORT: &str = "SessionId,Sessionstart,Sessionend,HelperFirstName";

/// What is not to have a fault.
#[track_caller]
fn decoded(csv: impl AsRef<[u8]>) -> Page {
    let (page, fault) = decode(csv.as_ref(), &Columns::default());
    assert!(fault.is_none(), "{fault:?}");
    page
}

fn row(id: &str) -> String {
    format!("{id},2026-03-19T12:00:00,2026-03-19T12:10:00,Zoë")
}

fn ids(page: &Page) -> Vec<&str> {
    page.reports.iter().map(|report| &*report.id).collect()
}

fn fault(csv: impl AsRef<[u8]>) -> String {
    decode(csv.as_ref(), &Columns::default()).1.unwrap().to_string()
}

#[test]
fn the_documented_export_is_read() {
    let csv = format!(
        "\u{feff}{HEADER}\r\nfullControl,2026-03-19,3,h-device,\"H \"\"1\"\"\",h@x.y,Zoë,\"O, N\",2026-03-19T12:10:00,a,\
         2026-03-19T12:00:00,s-device,S1,Windows 11,SN1,s@x.y,\"Line\r\nbreak\",L\r\n\
         ,,,,,,,,,b,2026-03-19 12:00:00.0000000,,--,,\"\",,,\r\n"
    );
    let page = decoded(csv);
    assert_eq!(ids(&page), ["a", "b"]);
    let report = &page.reports[0];
    assert_eq!(report.session_type, SessionType::FullControl);
    assert_eq!((report.end.unwrap() - report.start.unwrap()).num_minutes(), 10);
    assert_eq!(report.helper.device_name.as_deref(), Some("H \"1\""));
    assert_eq!(report.helper.last_name.as_deref(), Some("O, N"));
    assert_eq!(report.sharer.first_name.as_deref(), Some("Line\r\nbreak"));
    assert_eq!(report.sharer.os.as_deref(), Some("Windows 11"));
    assert_eq!(report.sharer_device_serial_number.as_deref(), Some("SN1"));
    let unfinished = &page.reports[1];
    assert!(unfinished.end.is_none() && unfinished.start.is_some());
    assert_eq!((&unfinished.sharer, unfinished.session_type), (&Default::default(), SessionType::Unreported));
}

#[test]
fn line_ends_marks_and_quotes_do_not_matter() {
    let plain = decoded(format!("{SHORT}\n{}\n{}", row("a"), row("b")));
    assert_eq!(ids(&plain), ["a", "b"]);
    for csv in [
        format!("\u{feff}{SHORT}\r\n{}\r\n{}\r\n", row("a"), row("b")),
        format!("{SHORT}\r{}\r\r{}\r", row("a"), row("b")),
        format!(
            "\u{feff}\"SessionId\" ,\"_Sessionstart\",SESSIONEND,\"HelperFirstName\"\n\n{}\n{}\n\n",
            row("a"),
            row("\"b\"")
        ),
    ] {
        assert_eq!(decoded(&csv).reports, plain.reports, "{csv:?}");
    }
}

#[test]
fn columns_may_come_in_any_order_and_be_configured() {
    let columns = Columns::new(vec![(crate::session::Property::EndDateTime, "Finished".to_owned())]);
    let csv = "Finished,Unheard,SessionId,Sessionstart\n2026-03-19T12:10:00,x,a,2026-03-19T12:00:00\n";
    let (page, fault) = decode(csv.as_bytes(), &columns);
    assert!(fault.is_none() && page.reports[0].end.is_some());
    let rows = Rows::new(csv.as_bytes(), &columns).unwrap();
    assert_eq!(rows.schema(), ["Finished", "Unheard", "SessionId", "Sessionstart"]);
    assert!(rows.unmatched().is_empty());
    let more = Columns::new(vec![(crate::session::Property::HelperOs, "Platform".to_owned())]);
    let rows = Rows::new(SHORT.as_bytes(), &more).unwrap();
    assert_eq!(rows.unmatched(), ["helperOs (configured as Platform)"]);
}

#[test]
fn broken_rows_are_rejected_by_number_and_the_others_go_on() {
    let mut csv = format!("{SHORT}\n{}\nb,,\n{},x\n", row("a"), row("c")).into_bytes();
    csv.extend(b"d,2026-03-19T12:00:00,2026-03-19T12:10:00,Zo\xeb\n");
    csv.extend(format!("{}\ne,soon,,\n{}\n", row("--"), row("f")).into_bytes());
    let page = decoded(csv);
    assert_eq!(ids(&page), ["a", "f"]);
    assert_snapshot!(page.rejects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @"
    broken_row: row 2: the row has 3 cells where the header has 4
    broken_row: row 3: the row has 5 cells where the header has 4
    broken_row: row 4: the row is not UTF-8
    missing_id: row 5: id is missing
    unreadable_date: row 6: startDateTime is unreadable: not a date and time such as 2026-03-19T12:08:16Z
    ");
    assert_eq!(page.rows(), 7);
}

#[test]
fn a_header_alone_is_an_export_without_sessions() {
    assert_eq!(decoded(SHORT).rows(), 0);
    assert_eq!(decoded(format!("\u{feff}{HEADER}\r\n")).rows(), 0);
}

#[test]
fn what_is_no_export_says_so() {
    assert_snapshot!(fault(""), @"it has no header and no rows; export it again");
    assert_eq!(fault("\u{feff}\r\n\r\n"), fault(""));
    assert_snapshot!(fault("SessionId;Sessionstart\na;b\n"), @"the report has no column for id, startDateTime, endDateTime; it has SessionId;Sessionstart: name the right ones under source.columns");
    assert!(fault(b"\xff\xfe\x00\x00").contains("no column for id"));
}

#[test]
fn a_quote_that_is_never_closed_costs_the_rows_after_it_and_no_memory() {
    let open = format!("{SHORT}\n{}\n{},\"", row("a"), row("b").replace(",Zoë", ""));
    let endless = open.as_bytes().chain(io::repeat(b'x'));
    let mut rows = Rows::new(endless, &Columns::default()).unwrap();
    assert_eq!(ids(&rows.next_page().unwrap().unwrap()), ["a"]);
    assert_snapshot!(rows.next_page().unwrap_err(), @"row 2 has more than 64 KiB; is a quote before it not closed?");
    assert!(rows.record.as_slice().len() < 4 * MAX_ROW_BYTES);
    let header = Rows::new(io::repeat(b'x'), &Columns::default()).err().unwrap();
    assert!(matches!(header, CsvError::RowTooLong { row: 0 }));
}

#[test]
fn rows_before_a_failure_are_given_away() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is on fire"))
        }
    }
    let csv = format!("{SHORT}\n{}\n{}\n", row("a"), row("b"));
    let mut rows = Rows::new(csv.as_bytes().chain(Failing), &Columns::default()).unwrap();
    assert_eq!(ids(&rows.next_page().unwrap().unwrap()), ["a", "b"]);
    assert_snapshot!(rows.next_page().unwrap_err(), @"row 3 cannot be read: the disk is on fire");
}

#[test]
fn pages_are_bounded_however_long_the_export_is() {
    let mut csv = format!("{SHORT}\n").into_bytes();
    for number in 0..2 * PAGE_ROWS + 1 {
        writeln!(csv, "{}", row(&number.to_string())).unwrap();
    }
    let mut rows = Rows::new(&*csv, &Columns::default()).unwrap();
    let pages: Vec<_> = std::iter::from_fn(|| rows.next_page().unwrap()).map(|page| page.rows()).collect();
    assert_eq!(pages, [PAGE_ROWS, PAGE_ROWS, 1]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, &Columns::default());
        let mut rows = format!("{SHORT}\n").into_bytes();
        rows.extend(bytes);
        let _ = decode(&rows, &Columns::default());
    }

    #[test]
    fn what_a_writer_writes_is_read_again(names in prop::collection::vec("\\PC{1,12}", 0..20)) {
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        writer.write_record(SHORT.split(',')).unwrap();
        for (number, name) in names.iter().enumerate() {
            writer.write_record([&number.to_string(), "", "", name]).unwrap();
        }
        let page = decoded(writer.into_inner().unwrap());
        let read = page.reports.iter().map(|report| report.helper.first_name.as_deref());
        let written = names.iter().map(|name| Some(name.trim()).filter(|name| !name.is_empty() && *name != "--"));
        prop_assert!(read.eq(written));
    }
}

/// Gives a byte at a time.
struct Drops<'a>(&'a [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((byte, rest)) = self.0.split_first() else { return Ok(0) };
        (buffer[0], self.0) = (*byte, rest);
        Ok(1)
    }
}

#[test]
fn a_byte_order_mark_is_seen_however_small_the_pieces_are() {
    let body = "\u{feff}\"SessionId\",Sessionstart,Sessionend\r\na,2026-03-19T12:00:00,2026-03-19T12:10:00\r\n";
    let mut rows = Rows::new(Drops(body.as_bytes()), &Columns::default()).unwrap();
    assert_eq!(rows.schema()[0], "SessionId");
    assert_eq!(&*rows.next_page().unwrap().unwrap().reports[0].id, "a");
    for short in ["", "\u{feff}", "\u{ef}", "a"] {
        assert!(Rows::new(Drops(short.as_bytes()), &Columns::default()).is_err(), "{short:?}");
    }
}
