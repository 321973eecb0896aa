//! The sessions report: columnar JSON, paged by `skip` and `top`.

use serde::Deserialize;

use super::columns::{Shape, UNKNOWN_TYPE, columns};
use super::row::{Broken, Shown};
use super::scenario::Scenario;
use super::stream::Snapshot;
use super::wire::{Field, View, Zone, hash, string};

/// Where the action is found.
pub(super) const PATH: &str = "/beta/deviceManagement/reports/getRemoteAssistanceSessionsReport";
/// The most rows that an answer holds, whatever is asked for.
const MAX_TOP: usize = 1000;
/// How many more rows than there are the scenario `short-page` promises.
const PROMISED_IN_VAIN: usize = 7;

/// The body of the request. A member that the action does not have is an error, as in Graph.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct ReportRequest {
    name: Option<String>,
    select: Vec<String>,
    search: Option<String>,
    group_by: Vec<String>,
    order_by: Vec<String>,
    skip: usize,
    top: Option<usize>,
    session_id: Option<String>,
    filter: Option<String>,
}

/// What of the options shapes a page.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Whether the resource's property names occur as columns.
    pub extended: bool,
    /// Rows of a page where the request names no number.
    pub page_size: usize,
}

impl ReportRequest {
    /// Reads the body; an empty one asks for everything by default.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let request: Self = if body.is_empty() {
            Self::default()
        } else {
            serde_json::from_slice(body).map_err(|error| error.to_string())?
        };
        // What these do in the service is not known, so nothing may come to rely on them.
        let unsupported = [
            ("search", request.search.as_ref().is_some_and(|search| !search.is_empty())),
            ("filter", request.filter.as_ref().is_some_and(|filter| !filter.is_empty())),
            ("groupBy", !request.group_by.is_empty()),
            ("orderBy", !request.order_by.is_empty()),
        ];
        match unsupported.iter().find(|(_, used)| *used) {
            Some((member, _)) => Err(format!("The report does not support '{member}'.")),
            None if request.name.as_deref().is_some_and(|name| name != "RemoteAssistanceSessions") => {
                Err("The report's name is not valid.".into())
            }
            None => Ok(request),
        }
    }

    /// The snapshot that the request wants to go on reading.
    pub fn snapshot(&self) -> Option<u128> {
        let id = self.session_id.as_deref()?;
        uuid::Uuid::parse_str(id).ok().map(|id| id.as_u128())
    }
}

/// Encodes the page that the request asks for; `Err` with Graph's message for a wrong column.
pub(super) fn page(
    snapshot: &Snapshot,
    request: &ReportRequest,
    layout: Layout,
    scenario: Scenario,
) -> Result<Vec<u8>, String> {
    let columns = columns(&request.select, layout.extended, scenario, &request.skip.to_string())
        .map_err(|missing| format!("Column '{missing}' does not exist in the report."))?;
    let top = request.top.filter(|top| *top > 0).unwrap_or(layout.page_size).min(MAX_TOP);
    let withheld = scenario == Scenario::EmptyPage && request.skip > 0;
    let top = if withheld { 0 } else { top };
    let rows = snapshot.rows.iter().skip(request.skip).take(top);
    let promised = snapshot.rows.len() + if scenario == Scenario::ShortPage { PROMISED_IN_VAIN } else { 0 };

    let id = uuid::Uuid::from_u128(snapshot.id);
    let mut out = format!(r#"{{"TotalRowCount":{promised},"Schema":["#).into_bytes();
    for (number, column) in columns.iter().enumerate() {
        separate(&mut out, number);
        let (name, kind) = column.heading();
        out.extend_from_slice(format!(r#"{{"Column":"{name}","PropertyType":"{kind}"}}"#).as_bytes());
    }
    out.extend_from_slice(br#"],"Values":["#);
    for (number, shown) in rows.enumerate() {
        separate(&mut out, number);
        write_row(&mut out, shown, &columns, scenario == Scenario::UnknownColumns && number == 0);
    }
    out.extend_from_slice(format!(r#"],"SessionId":"{id}"}}"#).as_bytes());
    Ok(out)
}

fn write_row(out: &mut Vec<u8>, shown: &Shown, columns: &[Shape], unknown_type: bool) {
    let cells = match shown {
        Shown::Ended(session) => cells(&View { session, end: session.end }, columns),
        Shown::Running(session) => cells(&View { session, end: None }, columns),
        Shown::Broken(Broken::NotARow) => return string(out, "row"),
        Shown::Broken(broken) => broken_cells(*broken, columns),
    };
    out.push(b'[');
    for (number, (name, cell)) in cells.iter().enumerate() {
        separate(out, number);
        if unknown_type && *name == "Attribute" {
            string(out, UNKNOWN_TYPE);
        } else {
            out.extend_from_slice(cell);
        }
    }
    out.push(b']');
}

fn cells(view: &View<'_>, columns: &[Shape]) -> Vec<(&'static str, Vec<u8>)> {
    columns.iter().map(|column| (column.heading().0, cell(view, column))).collect()
}

fn cell(view: &View<'_>, column: &Shape) -> Vec<u8> {
    let mut out = Vec::new();
    match column {
        Shape::Unknown((_, _, json)) => out.extend_from_slice(json.as_bytes()),
        Shape::Known((name, _, field)) => {
            let field = field(view);
            let absence = field.absence(&view.session.id, name, false);
            match (absence, field) {
                (Some(absence), _) => absence.write(&mut out, Zone::None),
                // Numbers have been seen as strings.
                (None, Field::Number(Some(number))) if hash(&view.session.id, name).is_multiple_of(4) => {
                    string(&mut out, &number.to_string());
                }
                (None, field) => field.write(&mut out, Zone::None),
            }
        }
    }
    out
}

fn broken_cells(broken: Broken, columns: &[Shape]) -> Vec<(&'static str, Vec<u8>)> {
    let session = super::session::Session { id: format!("broken-{broken:?}"), ..Default::default() };
    let mut cells = cells(&View { session: &session, end: None }, columns);
    let mut replace = |column: &str, json: &str| {
        if let Some((_, cell)) = cells.iter_mut().find(|(name, _)| *name == column) {
            *cell = json.into();
        }
    };
    match broken {
        Broken::Short => drop(cells.pop()),
        Broken::Long => cells.push(("", b"null".to_vec())),
        Broken::MissingId => replace("SessionId", "null"),
        Broken::UnreadableDate => replace("Sessionend", r#""yesterday""#),
        Broken::NotARow => cells.clear(),
    }
    cells
}

fn separate(out: &mut Vec<u8>, number: usize) {
    if number > 0 {
        out.push(b',');
    }
}
