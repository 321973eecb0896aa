//! Which column of a report holds which property. The report's column names are not published, so the
//! mapping has defaults (the resource's property names and the documented names of the export) and
//! every entry can be overridden by `source.columns`.

mod survey;

use std::fmt;

use crate::session::{Cell, Property, Row, SessionType};

pub use survey::{Found, Survey};

/// The mapping as configured.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    overrides: Vec<(Property, String)>,
}

/// The mapping onto the columns of one schema.
#[derive(Debug)]
pub struct Mapping {
    /// How many columns the schema has.
    pub width: usize,
    /// Configured columns that the schema does not have.
    pub unmatched: Vec<String>,
    properties: Vec<(Property, Vec<Candidate>)>,
}

/// The columns that a session cannot be counted without are not in the report.
#[derive(Debug, PartialEq, Eq)]
pub struct MissingColumns {
    missing: Vec<String>,
    schema: Vec<String>,
}

/// A column that may hold a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    column: usize,
    /// Its meaning is a guess: it is believed only where its value is the name of a session type.
    guess: bool,
}

/// Without these nothing can be counted.
const REQUIRED: [Property; 3] = [Property::Id, Property::StartDateTime, Property::EndDateTime];

/// The export's documented names where they differ from the property's by more than case.
const EXPORT_NAMES: &[(Property, &str)] = &[
    (Property::Id, "SessionId"),
    (Property::StartDateTime, "Sessionstart"),
    (Property::EndDateTime, "Sessionend"),
    (Property::SharerOs, "SharerDeviceOS"),
];

/// A documented column whose meaning is not: it may hold the session type.
const ATTRIBUTE: &str = "Attribute";

/// The suffix of the text column that goes with a column of enum numbers.
const LOCALIZED: &str = "_loc";

/// The properties that may have such a text column. Localized dates would not be readable.
const ENUMERATED: [Property; 3] =
    [Property::SessionType, Property::HelperEnrollmentState, Property::SharerEnrollmentState];

/// How many column names an error lists, and how much of each: a report has about twenty.
const MAX_LISTED: usize = 60;
const MAX_NAME_CHARS: usize = 60;

impl Columns {
    /// The defaults, with some properties taken from other columns.
    pub fn new(overrides: Vec<(Property, String)>) -> Self {
        Self { overrides }
    }

    /// Finds the columns of a schema.
    pub fn resolve(&self, schema: &[&str]) -> Result<Mapping, MissingColumns> {
        let mut mapping = Mapping { width: schema.len(), unmatched: Vec::new(), properties: Vec::new() };
        let mut missing = Vec::new();
        for &property in Property::ALL {
            let configured = self.overrides.iter().find(|(which, _)| *which == property).map(|(_, name)| name.as_str());
            let candidates = candidates(property, configured, schema);
            if candidates.is_empty() {
                if REQUIRED.contains(&property) {
                    missing.push(configured.map_or_else(|| property.name().to_owned(), |name| wanted(property, name)));
                } else if let Some(name) = configured {
                    mapping.unmatched.push(wanted(property, name));
                }
            } else {
                mapping.properties.push((property, candidates));
            }
        }
        if missing.is_empty() {
            return Ok(mapping);
        }
        Err(MissingColumns { missing, schema: schema.iter().map(|name| (*name).to_owned()).collect() })
    }
}

impl Mapping {
    /// A row from as many cells as the schema has columns.
    pub(super) fn row<'a>(&self, cells: &[Cell<'a>]) -> Row<'a> {
        let mut row = Row::default();
        for (property, candidates) in &self.properties {
            let cell = candidates.iter().filter_map(|candidate| candidate.cell(cells)).find(|cell| cell.is_reported());
            if let Some(cell) = cell {
                row.set(*property, cell.clone());
            }
        }
        row
    }
}

impl Candidate {
    fn cell<'c, 'a>(&self, cells: &'c [Cell<'a>]) -> Option<&'c Cell<'a>> {
        cells.get(self.column).filter(|cell| !self.guess || names_a_session_type(cell))
    }
}

/// A name, not a number: a column of numbers could count anything.
fn names_a_session_type(cell: &Cell<'_>) -> bool {
    let Cell::Text(text) = cell else { return false };
    let text = text.trim();
    text.parse::<f64>().is_err() && !matches!(SessionType::parse(text), SessionType::Other | SessionType::Unreported)
}

fn wanted(property: Property, column: &str) -> String {
    format!("{} (configured as {column})", property.name())
}

/// The columns that may hold a property, best first.
fn candidates(property: Property, configured: Option<&str>, schema: &[&str]) -> Vec<Candidate> {
    let columns = |wanted: String, guess: bool| {
        let same =
            move |(column, name): (usize, &&str)| same_name(name, &wanted).then_some(Candidate { column, guess });
        schema.iter().enumerate().filter_map(same)
    };
    if let Some(name) = configured {
        return columns(name.to_owned(), false).collect();
    }
    let export_names = EXPORT_NAMES.iter().filter(|(which, _)| *which == property).map(|(_, name)| *name);
    // The export's name first: `SessionId` can only be the session's, while `Id` could be a row's.
    let mut found: Vec<_> =
        export_names.chain([property.name()]).flat_map(|name| columns(name.to_owned(), false)).collect();
    if found.is_empty() && ENUMERATED.contains(&property) {
        found.extend(columns(format!("{}{LOCALIZED}", property.name()), false));
    }
    if property == Property::SessionType {
        found.extend(columns(ATTRIBUTE.to_owned(), true));
    }
    found
}

/// Columns may carry leading underscores, and their case varies.
fn same_name(column: &str, wanted: &str) -> bool {
    column.trim_start_matches('_').eq_ignore_ascii_case(wanted.trim_start_matches('_'))
}

/// The names are the service's: whatever they hold, a line with them stays one of bounded length.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

impl MissingColumns {
    /// The names of the columns that there are.
    pub fn into_schema(self) -> Vec<String> {
        self.schema
    }
}

impl fmt::Display for MissingColumns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let present: Vec<_> = self.schema.iter().take(MAX_LISTED).map(|name| shown(name)).collect();
        let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
        let missing = self.missing.join(", ");
        write!(f, "the report has no column for {missing}; it has {present}: name the right ones under source.columns")
    }
}

impl std::error::Error for MissingColumns {}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: [&str; 3] = ["SessionId", "Sessionstart", "Sessionend"];

    /// One property of a row with the base columns and some more.
    fn read<'a>(columns: &Columns, property: Property, more: &[(&str, Cell<'a>)]) -> Cell<'a> {
        let schema: Vec<_> = BASE.into_iter().chain(more.iter().map(|(name, _)| *name)).collect();
        let cells: Vec<_> =
            BASE.into_iter().map(|_| "base".into()).chain(more.iter().map(|(_, cell)| cell.clone())).collect();
        columns.resolve(&schema).unwrap().row(&cells).get(property).clone()
    }

    #[test]
    fn the_documented_columns_of_the_export_are_known() {
        let columns = Columns::default();
        for (name, property) in [
            ("HelperDeviceAadId", Property::HelperDeviceAadId),
            ("HelperDeviceName", Property::HelperDeviceName),
            ("HelperEmail", Property::HelperEmail),
            ("HelperFirstName", Property::HelperFirstName),
            ("HelperLastName", Property::HelperLastName),
            ("SharerDeviceAadId", Property::SharerDeviceAadId),
            ("SharerDeviceName", Property::SharerDeviceName),
            ("SharerDeviceOS", Property::SharerOs),
            ("SharerDeviceSerialNumber", Property::SharerDeviceSerialNumber),
            ("SharerEmail", Property::SharerEmail),
            ("SharerFirstName", Property::SharerFirstName),
            ("__sharerlastname", Property::SharerLastName),
        ] {
            assert_eq!(read(&columns, property, &[(name, "x".into())]), "x".into(), "{name}");
        }
        assert_eq!(read(&columns, Property::Id, &[("Id", "7".into())]), "base".into());
    }

    #[test]
    fn the_text_beside_an_enum_is_used_only_without_the_enum() {
        let columns = Columns::default();
        let (number, text) =
            (("HelperEnrollmentState", Cell::Integer(1)), ("HelperEnrollmentState_loc", "Failed".into()));
        let state = Property::HelperEnrollmentState;
        assert_eq!(read(&columns, state, &[text.clone(), number.clone()]), Cell::Integer(1));
        assert_eq!(read(&columns, state, &[number, text.clone()]), Cell::Integer(1));
        assert_eq!(read(&columns, state, &[text]), "Failed".into());
        let localized_dates = ["SessionId", "Sessionstart_loc", "Sessionend_loc", "startDateTime_loc"];
        assert!(columns.resolve(&localized_dates).is_err());
    }

    #[test]
    fn attribute_is_the_session_type_only_where_it_names_one() {
        let columns = Columns::default();
        let attribute = |cell: Cell<'static>| read(&columns, Property::SessionType, &[("Attribute", cell)]);
        assert_eq!(attribute("Full control".into()), "Full control".into());
        for other in
            ["1".into(), "5".into(), "Compliant".into(), "--".into(), Cell::Integer(1), Cell::Absent, Cell::Unusable]
        {
            assert_eq!(attribute(other), Cell::Absent);
        }
        let both = |better: Cell<'static>| {
            let more = [("Attribute", "elevation".into()), ("RemoteAssistanceSessionType", better)];
            read(&columns, Property::SessionType, &more)
        };
        assert_eq!(both(Cell::Integer(0)), Cell::Integer(0));
        assert_eq!(both("holographic".into()), "holographic".into());
        assert_eq!(both("".into()), "elevation".into());
    }

    #[test]
    fn a_configured_column_replaces_the_defaults_and_leaves_other_properties_alone() {
        let columns = Columns::new(vec![
            (Property::DeviceId, "sharerDeviceAadId".to_owned()),
            (Property::SharerOs, "Platform".to_owned()),
        ]);
        let more =
            [("SharerDeviceAadId", "d".into()), ("SharerDeviceOS", "Windows".into()), ("_platform", "macOS".into())];
        assert_eq!(read(&columns, Property::DeviceId, &more), "d".into());
        assert_eq!(read(&columns, Property::SharerDeviceAadId, &more), "d".into());
        assert_eq!(read(&columns, Property::SharerOs, &more), "macOS".into());
    }

    #[test]
    fn a_configured_column_that_is_not_there_is_told() {
        let columns = Columns::new(vec![(Property::SharerOs, "Platform".to_owned())]);
        assert_eq!(columns.resolve(&BASE).unwrap().unmatched, ["sharerOs (configured as Platform)"]);
        let columns = Columns::new(vec![(Property::Id, "Key".to_owned())]);
        assert_eq!(
            columns.resolve(&BASE).unwrap_err().to_string(),
            "the report has no column for id (configured as Key); it has SessionId, Sessionstart, Sessionend: \
             name the right ones under source.columns"
        );
        assert!(Columns::default().resolve(&[]).unwrap_err().to_string().contains("it has none: "));
    }

    #[test]
    fn an_error_lists_a_bounded_part_of_the_schema() {
        let name = "x\n".repeat(1000);
        let message = Columns::default().resolve(&vec![name.as_str(); 1000]).unwrap_err().to_string();
        assert!(message.len() < 4000 && !message.contains('\n'), "{message}");
    }
}
