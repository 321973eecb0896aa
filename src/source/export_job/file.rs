//! placeholder
use crate::source::columns::Columns;
use crate::source::{Page, SourceError};
use crate::status::FailureReason;
use bytes::Bytes;
use std::sync::Arc;
pub struct File {
    archive: Bytes,
    from: String,
    columns: Arc<Columns>,
}
impl File {
    pub fn new(archive: Bytes, from: String, columns: Arc<Columns>) -> Self {
        Self { archive, from, columns }
    }
    pub async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        let _ = (&self.columns, self.archive.len());
        Err(SourceError::new(FailureReason::InvalidResponse, self.from.clone()))
    }
}
