//! The columns of the sessions report and of the export: those of the export are documented, those of
//! the report are taken to be the same.

use super::properties::PROPERTIES;
use super::scenario::Scenario;
use super::wire::{Field, View, hash};

/// A column's name, its type, and its cell.
pub(super) type Column = (&'static str, &'static str, for<'a> fn(&'a View<'a>) -> Field<'a>);

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
pub(super) const UNKNOWN_TYPE: &str = "annotation";

/// A column of an answer.
pub(super) enum Shape {
    /// One that holds a property.
    Known(Column),
    /// One that nobody knows: name, type, and the cell of every row as JSON.
    Unknown(&'static (&'static str, &'static str, &'static str)),
}

impl Shape {
    /// Its name and type.
    pub fn heading(&self) -> (&'static str, &'static str) {
        match self {
            Self::Known((name, kind, _)) | Self::Unknown((name, kind, _)) => (name, kind),
        }
    }
}

/// The selected columns, or all; `Err` with the name of one that does not exist. Sorted by name, whatever
/// order they were selected in; `part` tells the parts of an answer apart whose order differs under
/// `shuffled-columns`.
pub(super) fn columns(select: &[String], extended: bool, scenario: Scenario, part: &str) -> Result<Vec<Shape>, String> {
    let extended = PROPERTIES.iter().filter(|(name, _)| extended && EXTENDED.contains(name)).map(|property| {
        let kind = if property.0.ends_with("DateTime") { "DateTime" } else { "String" };
        (property.0, kind, property.1)
    });
    let mut columns: Vec<_> = DOCUMENTED.iter().copied().chain(extended).map(Shape::Known).collect();
    if let Some(missing) = select.iter().find(|name| columns.iter().all(|column| column.heading().0 != **name)) {
        return Err(missing.clone());
    }
    if !select.is_empty() {
        columns.retain(|column| select.iter().any(|name| name == column.heading().0));
    }
    if scenario == Scenario::UnknownColumns {
        columns.extend(UNKNOWN.iter().map(Shape::Unknown));
    }
    if scenario == Scenario::ShuffledColumns {
        columns.sort_by_key(|column| hash(part, column.heading().0));
    } else {
        columns.sort_by_key(|column| column.heading().0.to_lowercase());
    }
    Ok(columns)
}

fn midnight(time: chrono::DateTime<chrono::Utc>) -> Option<chrono::DateTime<chrono::Utc>> {
    Some(time.date_naive().and_hms_opt(0, 0, 0)?.and_utc())
}

fn minutes(view: &View<'_>) -> Option<i64> {
    Some((view.end? - view.session.start?).num_minutes())
}
