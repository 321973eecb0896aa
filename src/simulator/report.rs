//! The sessions report: columnar JSON, paged by `skip` and `top`.

use serde::Deserialize;

use super::properties::PROPERTIES;
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

/// A column's name, its type, and its cell.
type Column = (&'static str, &'static str, for<'a> fn(&'a View<'a>) -> Field<'a>);

/// The documented columns. What `Attribute`, `Date` and `DateDifference` hold is not published; the
/// service may differ.
const DOCUMENTED: &[Column] = &[
    ("Attribute", "String", |view| Field::Name(view.session.session_type.as_deref())),
    ("Date", "DateTime", |view| Field::Date(view.session.start.or(view.session.end).and_then(midnight))),
    ("DateDifference", "Int32", |view| Field::Number(minutes(view))),
    ("HelperDeviceAadId", "String", |view| Field::Text(view.session.helper.device_aad_id.as_deref())),
    ("HelperDeviceName", "String", |view| Field::Text(view.session.helper.device_name.as_deref())),
    ("HelperEmail", "String", |view| Field::Text(view.session.helper.email.as_deref())),
    ("HelperFirstName", "String", |view| Field::Text(view.session.helper.first_name.as_deref())),
    ("HelperLastName", "String", |view| Field::Text(view.session.helper.last_name.as_deref())),
    ("Sessionend", "DateTime", |view| Field::Date(view.end)),
    ("SessionId", "String", |view| Field::Text(Some(&view.session.id))),
    ("Sessionstart", "DateTime", |view| Field::Date(view.session.start)),
    ("SharerDeviceAadId", "String", |view| Field::Text(view.session.sharer.device_aad_id.as_deref())),
    ("SharerDeviceName", "String", |view| Field::Text(view.session.sharer.device_name.as_deref())),
    ("SharerDeviceOS", "String", |view| Field::Text(view.session.sharer.os.as_deref())),
    ("SharerDeviceSerialNumber", "String", |view| Field::Text(view.session.sharer_device_serial_number.as_deref())),
    ("SharerEmail", "String", |view| Field::Text(view.session.sharer.email.as_deref())),
    ("SharerFirstName", "String", |view| Field::Text(view.session.sharer.first_name.as_deref())),
    ("SharerLastName", "String", |view| Field::Text(view.session.sharer.last_name.as_deref())),
];

/// The properties that no documented column tells.
const EXTENDED: &[&str] = &[
    "helperTenantId",
    "helperOs",
    "helperEnrollmentState",
    "sharerTenantId",
    "sharerEnrollmentState",
    "helperUserId",
    "sharerUserId",
    "deviceId",
    "helperCompanyName",
    "sessionCreateDateTime",
    "sessionDiagnosticCode",
];

/// Columns that the scenario `unknown-columns` adds, and what all rows hold there, as JSON.
const UNKNOWN: &[(&str, &str, &str)] = &[
    ("_RiskLevel", "Int32", "3"),
    ("_RiskLevel_loc", "String", r#""Elevated""#),
    ("Quality", "Double", "0.75"),
    ("Tags", "String", r#"["a",{"b":null}]"#),
];
/// A session type that is not documented.
const UNKNOWN_TYPE: &str = "annotation";

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
    let columns = columns(request, layout, scenario)?;
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

/// What of the options shapes a page.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Whether the resource's property names occur as columns.
    pub extended: bool,
    /// Rows of a page where the request names no number.
    pub page_size: usize,
}

enum Shape {
    Known(Column),
    Unknown(&'static (&'static str, &'static str, &'static str)),
}

impl Shape {
    fn heading(&self) -> (&'static str, &'static str) {
        match self {
            Self::Known((name, kind, _)) | Self::Unknown((name, kind, _)) => (name, kind),
        }
    }
}

/// The columns of the answer: sorted by name, whatever order they were selected in.
fn columns(request: &ReportRequest, layout: Layout, scenario: Scenario) -> Result<Vec<Shape>, String> {
    let extended = PROPERTIES.iter().filter(|(name, _)| layout.extended && EXTENDED.contains(name)).map(|property| {
        let kind = if property.0.ends_with("DateTime") { "DateTime" } else { "String" };
        (property.0, kind, property.1)
    });
    let mut columns: Vec<_> = DOCUMENTED.iter().copied().chain(extended).map(Shape::Known).collect();
    if let Some(missing) = request.select.iter().find(|name| columns.iter().all(|column| column.heading().0 != **name))
    {
        return Err(format!("Column '{missing}' does not exist in the report."));
    }
    if !request.select.is_empty() {
        columns.retain(|column| request.select.iter().any(|name| name == column.heading().0));
    }
    if scenario == Scenario::UnknownColumns {
        columns.extend(UNKNOWN.iter().map(Shape::Unknown));
    }
    if scenario == Scenario::ShuffledColumns {
        let page = request.skip.to_string();
        columns.sort_by_key(|column| hash(&page, column.heading().0));
    } else {
        columns.sort_by_key(|column| column.heading().0.to_lowercase());
    }
    Ok(columns)
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

fn midnight(time: chrono::DateTime<chrono::Utc>) -> Option<chrono::DateTime<chrono::Utc>> {
    Some(time.date_naive().and_hms_opt(0, 0, 0)?.and_utc())
}

fn minutes(view: &View<'_>) -> Option<i64> {
    Some((view.end? - view.session.start?).num_minutes())
}
