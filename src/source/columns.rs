//! Which column of a report holds which property. The report's column names are not published, so the
//! mapping has defaults (the resource's property names and the documented names of the export) and
//! every entry can be overridden by `source.columns`.

mod survey;
mod told;

use std::fmt;

use crate::session::{Cell, EnrollmentState, Property, Row, SessionType};

pub use survey::{Found, Survey};
pub(super) use told::Told;

/// The mapping as configured.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    overrides: Vec<(Property, String)>,
}

/// The mapping onto the columns of one schema.
#[derive(Debug, Default)]
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
    belief: Belief,
}

/// How far a column is believed to hold a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    /// It does, whatever its value is.
    Sure,
    /// Only where its value is a name that the property may have: its meaning is a guess, or it is
    /// text beside a better column.
    Named,
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
pub(super) const LOCALIZED: &str = "_loc";

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
            let mut found = candidates.iter().filter_map(|candidate| candidate.cell(*property, cells));
            let Some(first) = found.find(|cell| cell.is_reported()) else { continue };
            // Numbers are published for most values, not for all; the text beside one then tells.
            let better = if is_unknown_number(*property, first) {
                found.find(|cell| names_a_value(*property, cell))
            } else {
                None
            };
            row.set(*property, better.unwrap_or(first).clone());
        }
        row
    }
}

impl Candidate {
    fn cell<'c, 'a>(&self, property: Property, cells: &'c [Cell<'a>]) -> Option<&'c Cell<'a>> {
        cells.get(self.column).filter(|cell| self.belief == Belief::Sure || names_a_value(property, cell))
    }
}

/// A name that the property may have, not a number: a column of numbers could count anything.
fn names_a_value(property: Property, cell: &Cell<'_>) -> bool {
    let Cell::Text(text) = cell else { return false };
    let text = text.trim();
    text.parse::<f64>().is_err()
        && match property {
            Property::SessionType => !matches!(SessionType::parse(text), SessionType::Other | SessionType::Unreported),
            _ => !matches!(EnrollmentState::parse(text), EnrollmentState::Other | EnrollmentState::Unreported),
        }
}

/// A number that an enum's published numbers do not have.
fn is_unknown_number(property: Property, cell: &Cell<'_>) -> bool {
    let number = match cell {
        Cell::Integer(number) => *number,
        Cell::Text(text) => match text.trim().parse() {
            Ok(number) => number,
            Err(_) => return false,
        },
        Cell::Absent | Cell::Float(_) | Cell::Unusable => return false,
    };
    ENUMERATED.contains(&property)
        && match property {
            Property::SessionType => SessionType::from_number(number) == SessionType::Other,
            _ => EnrollmentState::from_number(number) == EnrollmentState::Other,
        }
}

fn wanted(property: Property, column: &str) -> String {
    format!("{} (configured as {column})", property.name())
}

/// The columns that may hold a property, best first.
fn candidates(property: Property, configured: Option<&str>, schema: &[&str]) -> Vec<Candidate> {
    let columns = |wanted: String, belief: Belief| {
        let same =
            move |(column, name): (usize, &&str)| same_name(name, &wanted).then_some(Candidate { column, belief });
        schema.iter().enumerate().filter_map(same)
    };
    if let Some(name) = configured {
        let mut found: Vec<_> = columns(name.to_owned(), Belief::Sure).collect();
        if ENUMERATED.contains(&property) && !found.is_empty() {
            found.extend(columns(format!("{name}{LOCALIZED}"), Belief::Named));
        }
        return found;
    }
    let export_names = EXPORT_NAMES.iter().filter(|(which, _)| *which == property).map(|(_, name)| *name);
    // The export's name first: `SessionId` can only be the session's, while `Id` could be a row's.
    let mut found: Vec<_> =
        export_names.chain([property.name()]).flat_map(|name| columns(name.to_owned(), Belief::Sure)).collect();
    if ENUMERATED.contains(&property) {
        let belief = if found.is_empty() { Belief::Sure } else { Belief::Named };
        found.extend(columns(format!("{}{LOCALIZED}", property.name()), belief));
    }
    if property == Property::SessionType {
        found.extend(columns(ATTRIBUTE.to_owned(), Belief::Named));
        found.extend(columns(format!("{ATTRIBUTE}{LOCALIZED}"), Belief::Named));
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
    /// What is missing: the properties, each with the column that is configured for it.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

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
    fn the_text_beside_an_enum_tells_what_an_unpublished_number_means() {
        let columns = Columns::default();
        let (number, text) = ("_remoteAssistanceSessionType", "_remoteAssistanceSessionType_loc");
        let both = |raw: Cell<'static>, beside: &'static str| {
            read(&columns, Property::SessionType, &[(text, beside.into()), (number, raw)])
        };
        assert_eq!(both(Cell::Integer(7), "Unattended"), "Unattended".into());
        assert_eq!(both("7".into(), "Unattended"), "Unattended".into());
        assert_eq!(both("".into(), "Unattended"), "Unattended".into());
        // In another language it tells nothing, and a known number needs no text.
        assert_eq!(both(Cell::Integer(7), "Unbeaufsichtigt"), Cell::Integer(7));
        assert_eq!(both(Cell::Integer(1), "Unattended"), Cell::Integer(1));
        assert_eq!(both("holographic".into(), "Unattended"), "holographic".into());
        let state = Property::SharerEnrollmentState;
        let both = [("sharerEnrollmentState", Cell::Integer(9)), ("sharerEnrollmentState_loc", "Not contacted".into())];
        assert_eq!(read(&columns, state, &both), "Not contacted".into());
        // A number is one of an enum only: no other property has a text beside it.
        let name = [("HelperFirstName", "9".into()), ("HelperFirstName_loc", "Enrolled".into())];
        assert_eq!(read(&columns, Property::HelperFirstName, &name), "9".into());
    }

    #[test]
    fn underscores_case_order_and_doubles_of_columns_do_not_matter() {
        let columns = Columns::default();
        // The report sorts its columns by name; a first column of the name that holds something wins.
        let more = [("__HELPEREMAIL", "".into()), ("helperEmail", "a@b.c".into()), ("_helperemail", "d@e.f".into())];
        assert_eq!(read(&columns, Property::HelperEmail, &more), "a@b.c".into());
        let mut backwards = more.clone();
        backwards.reverse();
        assert_eq!(read(&columns, Property::HelperEmail, &backwards), "d@e.f".into());
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
        let localized = [("Attribute", Cell::Integer(7)), ("Attribute_loc", "View only".into())];
        assert_eq!(read(&columns, Property::SessionType, &localized), "View only".into());
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
    fn the_text_beside_a_configured_column_of_numbers_tells_too() {
        let columns =
            Columns::new(vec![(Property::SessionType, "Kind".to_owned()), (Property::SharerOs, "Platform".to_owned())]);
        let kind = |number| {
            let more = [("Kind_loc", "Unattended".into()), ("_kind", Cell::Integer(number))];
            read(&columns, Property::SessionType, &more)
        };
        assert_eq!(kind(7), "Unattended".into());
        assert_eq!(kind(1), Cell::Integer(1), "a known number is believed");
        assert_eq!(read(&columns, Property::SharerOs, &[("Platform_loc", "Windows".into())]), Cell::Absent);
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
