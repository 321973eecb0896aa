//! What is said to and heard from `exportJobs`: the request and the job, as values.

use serde_json::{Map, Value, json};

use crate::source::graph::{answer_is_html, one_line};
use crate::source::reading::Unreadable;

/// The report's name at the service.
pub const REPORT: &str = "RemoteAssistanceSessions";
/// A job's id is the report's name and a GUID. The bound keeps nonsense out of addresses and logs.
const MAX_ID_BYTES: usize = 128;
/// How much of a status that nobody knows is quoted.
const MAX_STATUS_CHARS: usize = 40;

/// A job as the service describes it. No `Debug`: the address holds a signature.
pub struct Job {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// Where its file is, once it is completed.
    pub url: Option<String>,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its file can be downloaded.
    Completed,
    /// It has ended without a file.
    Failed,
    /// Anything else, in the service's words: it is waited for, since new names can arrive unannounced.
    Underway(String),
}

/// The body of a submission.
///
/// Enumerations are wanted as they are, with their texts beside them: replaced by texts of the
/// application's language they could not be read.
pub fn submission(select: &[String]) -> Value {
    json!({
        "reportName": REPORT,
        "format": "csv",
        "select": select,
        "localizationType": "localizedValuesAsAdditionalColumn",
    })
}

impl Job {
    /// Reads a job.
    pub fn read(body: &[u8]) -> Result<Self, Unreadable> {
        if answer_is_html(body) {
            let why = "the answer is HTML (a proxy or gateway page?); check graph_url";
            return Err(Unreadable::Wrong(why.to_owned()));
        }
        let wrong = |why: &str| Unreadable::Wrong(format!("the answer is an export job {why}"));
        let job: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| Unreadable::from_json(&error, "an export job"))?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let usable = |id: &&str| !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(plain);
        let id = job.get("id").and_then(Value::as_str).filter(usable).ok_or_else(|| wrong("without a usable id"))?;
        let url = match job.get("url") {
            None | Some(Value::Null) => None,
            Some(Value::String(url)) => Some(url.clone()).filter(|url| !url.trim().is_empty()),
            Some(_) => return Err(wrong("whose url is no text")),
        };
        Ok(Self { id: id.to_owned(), status: Status::read(job.get("status").unwrap_or(&Value::Null)), url })
    }
}

impl Status {
    /// By name, or by the number of the enumeration.
    fn read(value: &Value) -> Self {
        match value {
            Value::String(name) if name.eq_ignore_ascii_case("completed") => Self::Completed,
            Value::String(name) if name.eq_ignore_ascii_case("failed") => Self::Failed,
            Value::String(name) => Self::Underway(one_line(name).chars().take(MAX_STATUS_CHARS).collect()),
            Value::Number(number) => match number.as_u64() {
                Some(3) => Self::Completed,
                Some(4) => Self::Failed,
                _ => Self::Underway(format!("status {number}")),
            },
            _ => Self::Underway("without a status".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: impl ToString) -> Result<Job, String> {
        Job::read(body.to_string().as_bytes()).map_err(|why| match why {
            Unreadable::Cut(why) => format!("cut: {why}"),
            Unreadable::Wrong(why) => why,
            Unreadable::Columns(missing) => missing.to_string(),
        })
    }

    #[test]
    fn a_job_is_submitted_in_the_documented_words() {
        let columns = ["SessionId".to_owned(), "Sessionend".to_owned()];
        assert_eq!(
            submission(&columns).to_string(),
            r#"{"format":"csv","localizationType":"localizedValuesAsAdditionalColumn","reportName":"RemoteAssistanceSessions","select":["SessionId","Sessionend"]}"#
        );
    }

    #[test]
    fn a_status_is_a_name_or_a_number_and_whatever_is_not_known_is_waited_for() {
        let underway = |text: &str| Status::Underway(text.to_owned());
        for (json, expected) in [
            (json!("completed"), Status::Completed),
            (json!("Completed"), Status::Completed),
            (json!(3), Status::Completed),
            (json!("failed"), Status::Failed),
            (json!(4), Status::Failed),
            (json!("notStarted"), underway("notStarted")),
            (json!("inProgress"), underway("inProgress")),
            (json!("unknown"), underway("unknown")),
            (json!("queued\r\nlevel=error"), underway("queued level=error")),
            (json!("x".repeat(1000)), underway(&"x".repeat(40))),
            (json!(0), underway("status 0")),
            (json!(-1.5), underway("status -1.5")),
            (json!(null), underway("without a status")),
            (json!({"a": 1}), underway("without a status")),
        ] {
            assert_eq!(read(json!({"id": "R_1", "status": json})).map(|job| job.status), Ok(expected), "{json}");
        }
        assert_eq!(read(r#"{"id":"R_1"}"#).map(|job| job.status), Ok(underway("without a status")));
    }

    #[test]
    fn an_address_that_is_not_there_yet_is_none() {
        let url = |json: Value| read(json!({"id": "R_1", "status": "completed", "url": json})).map(|job| job.url);
        assert_eq!(url(json!("https://blob.example/?sig=x")), Ok(Some("https://blob.example/?sig=x".to_owned())));
        for absent in [json!(null), json!(""), json!(" ")] {
            assert_eq!(url(absent), Ok(None));
        }
    }

    #[test]
    fn what_is_no_job_is_told_without_being_quoted() {
        let refusal = |body: &str| read(body).err().unwrap_or_else(|| panic!("{body} was a job"));
        let bodies = [
            "",
            r#"{"id": "R_1", "url": "https://blob.example/?sig=s3c"#,
            r#"{"id": 5, "url": "https://blob.example/?sig=s3cr3t"}"#,
            r#"{"id": "R_1", "url": {"sig": "s3cr3t"}}"#,
            r#"["s3cr3t"]"#,
            r#"{"id": "../s3cr3t?x"}"#,
            r#"{"id": ""}"#,
            r#"{"value": []}"#,
            " <html>s3cr3t",
        ];
        insta::assert_snapshot!(bodies.map(refusal).join("\n"), @r"
        cut: the answer is cut off: EOF while parsing a value at line 1 column 0
        cut: the answer is cut off: EOF while parsing a string at line 1 column 51
        the answer is an export job without a usable id
        the answer is an export job whose url is no text
        the answer is not the JSON of an export job: expected a map at line 1 column 0
        the answer is an export job without a usable id
        the answer is an export job without a usable id
        the answer is an export job without a usable id
        the answer is HTML (a proxy or gateway page?); check graph_url
        ");
        assert!(read(json!({"id": "x".repeat(129)})).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), text in proptest::prelude::any::<String>()) {
            let _ = Job::read(&bytes);
            let _ = read(json!({"id": text, "status": text, "url": text}));
        }
    }
}
