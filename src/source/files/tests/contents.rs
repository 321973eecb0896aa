//! Tests of the formats.

use std::fmt::Write as _;
use std::io::{Cursor, Read, Seek, SeekFrom, Write as _};

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::content::{Fault, decode, read};
use crate::source::Page;
use crate::source::columns::Columns;

fn object(id: &str) -> Value {
    json!({"id": id, "startDateTime": "2026-03-19T12:00:00Z", "endDateTime": "2026-03-19T12:10:00Z",
           "helperFirstName": "Z\"o]ë}", "more": {"value": [1, "]"]}})
}

fn objects(ids: &[&str]) -> Vec<Value> {
    ids.iter().map(|id| object(id)).collect()
}

fn report(ids: &[&str]) -> Value {
    let schema: Vec<_> =
        ["SessionId", "Sessionstart", "Sessionend", "HelperFirstName"].map(|c| json!({"Column": c})).into();
    let rows: Vec<_> =
        ids.iter().map(|id| json!([id, "2026-03-19T12:00:00", "2026-03-19T12:10:00", "Z\"o]ë}"])).collect();
    json!({"TotalRowCount": ids.len(), "Schema": schema, "Values": rows, "SessionId": "x"})
}

fn csv(ids: &[&str]) -> String {
    let mut csv = "SessionId,Sessionstart,Sessionend,HelperFirstName\r\n".to_owned();
    for id in ids {
        write!(csv, "{id},2026-03-19T12:00:00,2026-03-19T12:10:00,\"Z\"\"o]ë}}\"\r\n").unwrap();
    }
    csv
}

fn zip(contents: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("x.bin", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(contents).unwrap();
    writer.finish().unwrap().into_inner()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

#[track_caller]
fn decoded(bytes: impl AsRef<[u8]>) -> Page {
    let (page, fault) = decode(bytes.as_ref(), &Columns::default());
    assert!(fault.is_none(), "{fault:?}");
    page
}

fn ids(page: &Page) -> Vec<&str> {
    page.reports.iter().map(|report| &*report.id).collect()
}

/// The ids that were read, the rejects and the fault.
fn told(bytes: impl AsRef<[u8]>) -> String {
    let (page, fault) = decode(bytes.as_ref(), &Columns::default());
    let rejects: String = page.rejects.iter().map(|reject| format!("{reject}\n")).collect();
    format!("{}\n{rejects}{}", ids(&page).join(" "), fault.map_or_else(String::new, |fault| fault.to_string()))
}

#[test]
fn every_format_is_told_by_its_contents_and_reads_the_same() {
    let some = ["a", "b", "c"];
    let (array, page) = (Value::from(objects(&some)), json!({"@odata.context": "x", "value": objects(&some)}));
    let mut backwards = report(&some).to_string();
    let values = backwards.find("\"Values\"").unwrap();
    let schema = backwards.find("\"Schema\"").unwrap();
    assert!(schema < values, "serde_json sorts members");
    backwards = format!("{{{},{}", &backwards[values..backwards.len() - 1], &backwards[schema..values - 1]) + "}";
    let files: Vec<Vec<u8>> = vec![
        array.to_string().into(),
        serde_json::to_vec_pretty(&array).unwrap(),
        page.to_string().into(),
        serde_json::to_vec_pretty(&page).unwrap(),
        format!("{{\"value\":[\n{}\n,{}\n,{}]}}\n", object("a"), object("b"), object("c")).into(),
        format!(
            "{}\n{}",
            json!({"value": objects(&["a"])}),
            json!({"value": objects(&["b", "c"]), "@odata.nextLink": "n"})
        )
        .into(),
        lines(&objects(&some)).into(),
        lines(&objects(&some)).trim_end().replace('\n', "\r\n\r\n").into(),
        objects(&some).iter().map(|row| serde_json::to_string_pretty(row).unwrap()).collect::<String>().into(),
        report(&some).to_string().into(),
        serde_json::to_vec_pretty(&report(&some)).unwrap(),
        backwards.into(),
        csv(&some).into(),
        zip(csv(&some).as_bytes()),
        zip(array.to_string().as_bytes()),
        zip(lines(&objects(&some)).as_bytes()),
    ];
    let expected = decoded(&files[0]);
    assert_eq!(ids(&expected), some);
    for file in &files {
        let text = String::from_utf8_lossy(file);
        assert_eq!(decoded(file).reports, expected.reports, "{text}");
        let marked = [b"\xEF\xBB\xBF", &**file].concat();
        if !file.starts_with(b"PK") {
            assert_eq!(decoded(&marked).reports, expected.reports, "{text}");
        }
    }
}

#[test]
fn files_without_rows_are_fine() {
    for empty in ["", " \n", "\u{feff}", "[]", "[ ]", "{\"value\": []}", "SessionId,Sessionstart,Sessionend\n"] {
        assert_eq!(decoded(empty).rows(), 0, "{empty:?}");
    }
    for empty in [json!({"Schema": [], "Values": []}), json!({"Values": [], "TotalRowCount": 0}), report(&[])] {
        assert_eq!(decoded(empty.to_string()).rows(), 0, "{empty}");
    }
}

#[test]
fn a_broken_row_costs_itself_only() {
    let array = format!(
        r#"[{}, 5, {{"id": tru}}, {{}}, {{"id": "x", "endDateTime": 5}}, "\ud800", {}]"#,
        object("a"),
        object("b")
    );
    assert_snapshot!(told(array), @"
    a b
    broken_row: row 2: the row is not an object
    broken_row: row 3: the row holds a value that is not JSON
    missing_id: row 4: id is missing
    unreadable_date: row 5: endDateTime is unreadable: it is not text
    broken_row: row 6: the row holds a value that is not JSON
    ");
    let mut text = lines(&objects(&["a", "b"]));
    text.insert_str(0, "{\"id\": \"cut\n");
    text += "nonsense\n\n[1]\n";
    text += &object("c").to_string()[..40];
    assert_snapshot!(told(text), @"
    a b
    broken_row: row 1: the row holds a value that is not JSON
    broken_row: row 4: the row holds a value that is not JSON
    broken_row: row 6: the row is not an object
    broken_row: row 7: the row holds a value that is not JSON
    ");
    let mut columnar = report(&["a", "b", "c"]);
    columnar["Values"][1] = json!(["b"]);
    assert_snapshot!(told(columnar.to_string()), @"
    a c
    broken_row: row 2: the row has 1 cells where the schema has 4 columns
    ");
}

#[test]
fn a_file_that_is_cut_off_counts_up_to_there() {
    let array = Value::from(objects(&["a", "b"])).to_string();
    assert_snapshot!(told(&array[..array.len() - 10]), @"
    a
    it is cut off in row 2; copy it again
    ");
    assert_snapshot!(told(&array[..array.len() - 1]), @"
    a b
    it is cut off in row 2; copy it again
    ");
    assert_snapshot!(told(format!("[{} {}]", object("a"), object("b"))), @"
    a
    it is not JSON after row 1; nothing behind it was read
    ");
    assert_snapshot!(told(format!("[{}] x", object("a"))), @"
    a
    it is not JSON after row 1; nothing behind it was read
    ");
    assert_snapshot!(told(&object("a").to_string()[..40]), @"it is cut off in row 1; copy it again");
    for format in [array, json!({"value": objects(&["a", "b"])}).to_string(), report(&["a", "b"]).to_string()] {
        for cut in 1..format.len() {
            if format.is_char_boundary(cut) {
                assert!(
                    matches!(
                        decode(&format.as_bytes()[..cut], &Columns::default()).1,
                        Some(Fault::Cut(_) | Fault::Columns(_))
                    ),
                    "{}",
                    &format[..cut]
                );
            }
        }
    }
}

#[test]
fn what_is_no_report_says_what_it_is() {
    assert_snapshot!(told("<!doctype html>"), @"it is a web page and no report; export it again");
    assert_snapshot!(told(b"\xFF\xFES\0e\0"), @"it is UTF-16; save it as UTF-8");
    assert_snapshot!(told(b"\x1F\x8B\x08"), @"it is packed by gzip; unpack it, or pack it as ZIP");
    assert_snapshot!(told("PK\x03\x04 and no more"), @"it is not a ZIP archive, or is cut off; fetch or copy it again");
    assert_snapshot!(told("one line of text"), @"the report has no column for id, startDateTime, endDateTime; it has one line of text: name the right ones under source.columns");
    assert_snapshot!(told(json!({"Schema": [{"Column": "A"}], "Values": [["a"]]}).to_string()), @"the report has no column for id, startDateTime, endDateTime; it has A: name the right ones under source.columns");
    assert_snapshot!(told(json!({"Schema": [{"Name": "A"}], "Values": [["a"]]}).to_string()), @"the Schema of the report page cannot be read; save the page as it was delivered");
    assert_snapshot!(told(json!({"Values": [["a"]]}).to_string()), @"the report has no column for id, startDateTime, endDateTime; it has none: name the right ones under source.columns");
    assert_snapshot!(told("{\"value\": [] \"x\""), @"it is not JSON after row 0; nothing behind it was read");
    let errors = [Fault::TooLarge(8 << 30), Fault::Irregular, Fault::Io(std::io::ErrorKind::PermissionDenied.into())];
    assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
    it is larger than 8 GiB; split it
    it is not a regular file
    it cannot be read (permission denied); check its permissions
    ");
}

#[test]
fn columns_may_be_configured() {
    let columns = Columns::new(vec![(crate::session::Property::Id, "Key".to_owned())]);
    for file in [csv(&["a"]).replace("SessionId", "Key"), report(&["a"]).to_string().replace("SessionId\"}", "Key\"}")]
    {
        let (page, fault) = decode(file.as_bytes(), &columns);
        assert!(fault.is_none() && ids(&page) == ["a"], "{file}: {fault:?}");
    }
}

/// A file that never was anywhere: so many bytes of rows.
struct Endless {
    start: &'static [u8],
    row: &'static [u8],
    at: u64,
    length: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (start, row) = (self.start.len() as u64, self.row.len() as u64);
        let left = self.length.saturating_sub(self.at);
        let source = match self.at.checked_sub(start) {
            None => &self.start[self.at as usize..],
            Some(at) => &self.row[(at % row) as usize..],
        };
        let read = source.len().min(buffer.len()).min(left as usize);
        buffer[..read].copy_from_slice(&source[..read]);
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Endless {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let SeekFrom::Start(at) = to else { panic!("{to:?}") };
        self.at = at;
        Ok(at)
    }
}

#[test]
fn pages_are_bounded_and_rows_without_an_end_are_passed() {
    let row = b"{\"id\":\"a\",\"endDateTime\":\"2026-03-19T12:10:00Z\"},";
    let mut largest = 0;
    let mut rows = 0;
    let file = Endless { start: b"[", row, at: 0, length: 4 << 20 };
    let result = read(file, &Columns::default(), &mut |page| {
        largest = largest.max(page.rows());
        rows += page.rows();
        true
    });
    assert!(matches!(result, Err(Fault::Cut(_))));
    assert_eq!((largest, rows), (crate::source::csv::PAGE_ROWS, (4 << 20) / row.len()));
    for (start, row) in [(&b"[\""[..], &b"x"[..]), (b"[", b"["), (b"{\"id\":\"a\"}\n{", b"x"), (b"{", b"\"id\":5,")] {
        let file = Endless { start, row, at: 0, length: 8 << 20 };
        let mut page = Page::default();
        let result = read(file, &Columns::default(), &mut |next| {
            page = next;
            true
        });
        assert!(result.is_err() || page.rejects.len() == 1, "{result:?} {page:?}");
    }
    let long = format!("[{}, \"{}\", {}]", object("a"), "x".repeat(2 << 20), object("b"));
    assert_snapshot!(told(long), @"
    a b
    broken_row: row 2: the row has more than 64 KiB
    ");
    let long = format!("{}\n\"{}\"\n{}", object("a"), "x".repeat(2 << 20), object("b"));
    assert_snapshot!(told(long), @"
    a b
    broken_row: row 2: the row has more than 64 KiB
    ");
}

#[test]
fn whoever_wants_no_more_gets_no_more() {
    for file in [csv(&["a"; 5000]), Value::from(objects(&["a"; 5000])).to_string(), lines(&objects(&["a"; 5000]))] {
        let mut pages = 0;
        let result = read(Cursor::new(file), &Columns::default(), &mut |_| {
            pages += 1;
            false
        });
        assert!(result.is_ok() && pages == 1, "{result:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), start in "(\\[|\\{|\\{\"value\":\\[|\\{\"Schema\":|)") {
        let _ = decode(&[start.as_bytes(), &bytes].concat(), &Columns::default());
    }

    #[test]
    fn no_json_makes_it_panic(text in "[\\[\\]{}\",:a1 \n\\\\]{0,60}") {
        let _ = decode(text.as_bytes(), &Columns::default());
    }

    #[test]
    fn rows_are_cut_out_as_a_tree_has_them(rows in prop::collection::vec("\\PC{0,20}", 0..20)) {
        let objects: Vec<_> = rows.iter().enumerate().map(|(id, name)| json!({"id": id, "helperFirstName": name, "x": [name, {"y": name}]})).collect();
        let expected = crate::source::collection::decode(json!({"value": objects}).to_string().as_bytes()).unwrap().page;
        for file in [Value::from(objects.clone()).to_string(), serde_json::to_string_pretty(&objects).unwrap(), lines(&objects)] {
            let page = decoded(&file);
            prop_assert_eq!(&page.reports, &expected.reports);
        }
    }
}
