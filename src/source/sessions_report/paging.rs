//! Pages of the sessions report: `skip` and `top`, until `TotalRowCount` rows are read.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::Arc;

use http::{HeaderMap, Method};
use serde_json::json;
use url::Url;

use super::{DecodeError, ReportPage};
use crate::source::columns::{Columns, Told};
use crate::source::graph::{Request, below};
use crate::source::reading::{Decoded, Decoder, Paging, Unreadable};
use crate::source::{Endpoint, Page, SourceError};
use crate::status::FailureReason;

/// A page that repeats the one before, row by row, this often in a row is a service that does not look
/// at `skip`. Once can be a fault that passes.
const MAX_REPEATED_PAGES: u32 = 2;

/// The report by its address.
pub struct Report {
    url: Url,
    page_size: u32,
    columns: Columns,
    told: Told,
}

/// A reading of it.
struct Pages {
    report: Arc<Report>,
    skip: u64,
    session_id: Option<String>,
    /// The hash of the last page's ids.
    last_page: Option<u64>,
    repeated: u32,
    hasher: RandomState,
}

impl Report {
    /// The report at a path below an origin, read `page_size` rows at a time.
    pub fn new(origin: &Url, path: &str, page_size: u32, columns: Columns) -> Self {
        Self { url: below(origin, path), page_size, columns, told: Told::default() }
    }

    /// Starts at its first page.
    pub fn read(self: &Arc<Self>) -> Box<dyn Paging> {
        Box::new(Pages {
            report: self.clone(),
            skip: 0,
            session_id: None,
            last_page: None,
            repeated: 0,
            hasher: RandomState::new(),
        })
    }
}

impl Paging for Pages {
    fn request(&self) -> Request {
        let mut body = json!({ "skip": self.skip, "top": self.report.page_size });
        if let Some(id) = &self.session_id {
            body["sessionId"] = id.as_str().into();
        }
        Request {
            endpoint: Endpoint::SessionsReport,
            method: Method::POST,
            url: self.report.url.clone(),
            headers: HeaderMap::new(),
            body: Some(body.to_string().into()),
        }
    }

    fn decoder(&self) -> Arc<dyn Decoder> {
        self.report.clone()
    }

    fn columns(&self) -> Option<&Columns> {
        Some(&self.report.columns)
    }

    fn advance(&mut self, read: &Decoded, total: Option<u64>) -> Result<bool, SourceError> {
        // As many as came, not as many as were asked for: the service may cap `top`.
        self.skip += read.page.rows() as u64;
        self.session_id = self.session_id.take().or_else(|| read.session_id.clone());
        // An empty page ends the paging, even before the total: nothing says that more would follow.
        if read.page.rows() == 0 || total.is_some_and(|total| self.skip >= total) {
            return Ok(false);
        }
        let page = self.hash(&read.page);
        self.repeated = if self.last_page == Some(page) { self.repeated + 1 } else { 0 };
        self.last_page = Some(page);
        if self.repeated >= MAX_REPEATED_PAGES && !read.page.reports.is_empty() {
            let message = format!("the service sends the same page again at skip {}: it does not page", self.skip);
            return Err(SourceError::new(FailureReason::Paging, message));
        }
        Ok(true)
    }
}

impl Pages {
    fn hash(&self, page: &Page) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        page.reports.iter().for_each(|report| report.id.hash(&mut hasher));
        hasher.finish()
    }
}

impl Decoder for Report {
    fn decode(&self, body: &[u8]) -> Result<Decoded, Unreadable> {
        let mut decoded = super::decode(body, &self.columns).map_err(|error| match error {
            DecodeError::Json(error) => Unreadable::from_json(&error, "a sessions report"),
            DecodeError::Columns(missing) => Unreadable::Columns(missing),
        })?;
        self.told.unmatched(std::mem::take(&mut decoded.unmatched));
        let ReportPage { page, total, session_id, schema, .. } = decoded;
        Ok(Decoded { page, total, session_id, schema, next_link: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cli::{LogFormat, LogLevel};
    use crate::logging;
    use crate::session::Property;

    #[test]
    fn a_configured_column_that_is_not_there_is_told_once_and_not_with_each_page() {
        let columns =
            Columns::new(vec![(Property::SharerOs, "Platform".into()), (Property::HelperOs, "Desk".to_owned())]);
        let report = Report::new(&Url::parse("https://graph.example").unwrap(), "/report", 50, columns);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let subscriber = logging::subscriber(LogLevel::Warn, LogFormat::Logfmt, move |line| {
            sink.lock().unwrap().push(line.split_once("column=").unwrap().1.trim_end().to_owned());
        });
        tracing::subscriber::with_default(subscriber, || {
            for more in [&["Desk"][..], &["Desk"], &["Desk", "Platform"], &["Platform"], &["Platform"], &[]] {
                let names = ["SessionId", "Sessionstart", "Sessionend"].iter().chain(more);
                let schema: Vec<_> = names.map(|name| json!({"Column": name})).collect();
                let body = json!({"TotalRowCount": 0, "Schema": schema, "Values": []}).to_string();
                assert!(report.decode(body.as_bytes()).is_ok());
            }
        });
        let (platform, desk) = (r#""sharerOs (configured as Platform)""#, r#""helperOs (configured as Desk)""#);
        assert_eq!(*lines.lock().unwrap(), [platform, desk, platform]);
    }
}
