//! What the first page of reports holds.

use std::collections::BTreeMap;

use super::{Columns, Detail, Finding, Outcome, PageRead, PropertyFound};
use crate::session::{Label, Os, Property, Role, SessionReport};
use crate::source::columns::Survey;
use crate::source::{Page, SetAside, Source, SourceError};
use crate::status::FailureReason;

/// Without these a session cannot be counted.
const COUNTED_BY: [Property; 2] = [Property::Id, Property::EndDateTime];

/// A page as far as it came.
#[derive(Default)]
pub(super) struct Read {
    page: Option<Page>,
    survey: Option<Survey>,
    /// Why the columns made the page unreadable.
    unreadable: Option<SourceError>,
}

/// Reads the first page, as a poll does.
pub(super) async fn read(source: &Source) -> Finding<Read> {
    let mut reading = source.read();
    let page = reading.next_page().await;
    let (survey, total) = (reading.survey(), reading.rows_total());
    match page {
        Err(error) if survey.as_ref().is_some_and(|survey| !survey.is_readable()) => {
            let detail = Detail::Page(PageRead { rows: None, rejected: 0, total });
            let passed_on = Read { page: None, survey, unreadable: Some(error) };
            Finding { outcome: Outcome::Fine, detail: Some(detail), passed_on }
        }
        Err(error) => Finding { outcome: Outcome::Failed(error), detail: None, passed_on: Read::default() },
        Ok(page) => {
            let page = page.unwrap_or_default();
            let (rows, rejected) = (page.rows() as u64, page.rejects.len() as u64);
            let set_aside = reading.set_aside();
            if let Some(SetAside { files, first }) = &set_aside
                && rows == 0
            {
                let message = format!("no row was found; files set aside: {files}, the first for this reason: {first}");
                let outcome = Outcome::Failed(SourceError::new(FailureReason::Files, message));
                return Finding { outcome, detail: None, passed_on: Read::default() };
            }
            let outcome = trouble(&page, set_aside).map_or(Outcome::Fine, Outcome::Warning);
            let detail = Some(Detail::Page(PageRead { rows: Some(rows), rejected, total }));
            Finding { outcome, detail, passed_on: Read { page: Some(page), survey, unreadable: None } }
        }
    }
}

/// What of a page, and of the files before it, could not be read.
fn trouble(page: &Page, set_aside: Option<SetAside>) -> Option<String> {
    let files = set_aside.map(|SetAside { files, first }| {
        format!("files set aside: {files}, the first for this reason: {first}; mend them or take them away")
    });
    let rows = page.rejects.first().map(|first| {
        format!(
            "{} of {} rows cannot be read, the first for this reason: {first}; they are counted in \
             reports_rejected_total, and as sessions once they are repaired",
            page.rejects.len(),
            page.rows()
        )
    });
    let all: Vec<_> = files.into_iter().chain(rows).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Says where each property is found, and what it holds.
pub(super) fn columns(read: &Read) -> Finding<()> {
    let reports = read.page.as_ref().map_or(&[][..], |page| &page.reports);
    if let Some(error) = &read.unreadable {
        let detail = Detail::Columns(found(read.survey.as_ref(), reports));
        return Finding { outcome: Outcome::Failed(error.clone()), detail: Some(detail), passed_on: () };
    }
    if reports.is_empty() && read.survey.is_none() {
        let outcome = Outcome::NotApplicable("the page holds no session to look at".to_owned());
        return Finding { outcome, detail: None, passed_on: () };
    }
    let found = found(read.survey.as_ref(), reports);
    let outcome = doubts(read.survey.as_ref(), &found).map_or(Outcome::Fine, Outcome::Warning);
    Finding { outcome, detail: Some(Detail::Columns(found)), passed_on: () }
}

fn found(survey: Option<&Survey>, reports: &[SessionReport]) -> Columns {
    let columns_of = |property: Property| {
        let all = survey.map_or(&[][..], |survey| &survey.properties);
        all.iter().find(|found| found.property == property)
    };
    let look = |&property: &Property| PropertyFound {
        property,
        required: columns_of(property).map_or(COUNTED_BY.contains(&property), |found| found.required),
        columns: columns_of(property).map_or_else(Vec::new, |found| found.columns.clone()),
        reported: reports.iter().filter(|report| report.has(property)).count() as u64,
        values: values(property, reports),
    };
    Columns {
        mapped: survey.is_some(),
        rows: reports.len() as u64,
        properties: Property::ALL.iter().map(look).collect(),
        unused: survey.map_or_else(Vec::new, |survey| survey.unused.clone()),
    }
}

/// How often each value came, of the properties whose values are labels: nothing of these is personal.
fn values(property: Property, reports: &[SessionReport]) -> BTreeMap<&'static str, u64> {
    let os = |report: &SessionReport, role| Os::classify(report.participant(role).os.as_deref()).as_str();
    let state = |report: &SessionReport, role| report.participant(role).enrollment_state.as_str();
    let mut counts = BTreeMap::new();
    for report in reports.iter().filter(|report| report.has(property)) {
        let value = match property {
            Property::SessionType => report.session_type.as_str(),
            Property::HelperEnrollmentState => state(report, Role::Helper),
            Property::SharerEnrollmentState => state(report, Role::Sharer),
            Property::HelperOs => os(report, Role::Helper),
            Property::SharerOs => os(report, Role::Sharer),
            _ => break,
        };
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// What is worth a look, on one line.
fn doubts(survey: Option<&Survey>, found: &Columns) -> Option<String> {
    let configured = survey.into_iter().flat_map(|survey| &survey.properties);
    let gone = configured.filter(|found| found.columns.is_empty()).filter_map(|found| {
        let column = found.configured.as_ref()?;
        Some(format!("the report has no column {column} for {}; check source.columns", found.property.name()))
    });
    let rows = found.rows;
    let never = |found: &&PropertyFound| rows > 0 && COUNTED_BY.contains(&found.property) && found.reported == 0;
    let never = found.properties.iter().filter(never).map(|found| {
        format!(
            "no row has {}, without which no session is counted; check what the source holds",
            found.property.name()
        )
    });
    let unknown = found.properties.iter().filter_map(|found| {
        let other = found.values.get("other")?;
        let name = found.property.name();
        Some(format!("{other} rows have a value of {name} that this version does not know; they count as other"))
    });
    let doubts: Vec<_> = gone.chain(never).chain(unknown).collect();
    (!doubts.is_empty()).then(|| doubts.join("; "))
}
