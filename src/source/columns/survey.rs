//! What became of a report's columns, for people who set a mapping up.

use super::{Columns, ENUMERATED, LOCALIZED, MAX_LISTED, REQUIRED, candidates, same_name, shown};
use crate::session::Property;

/// Every property, and the columns that none of them is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// One for each property, in the order of [`Property::ALL`].
    pub properties: Vec<Found>,
    /// Names of columns that hold no property, as the service writes them; at most sixty.
    pub unused: Vec<String>,
}

/// Where one property is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The property.
    pub property: Property,
    /// Whether a report without it cannot be read.
    pub required: bool,
    /// The column that `source.columns` names for it.
    pub configured: Option<String>,
    /// The columns that it is read from, best first; none where the report has none.
    pub columns: Vec<String>,
}

impl Survey {
    /// Whether every property that no session can do without has a column.
    pub fn is_readable(&self) -> bool {
        self.properties.iter().all(|found| !found.required || !found.columns.is_empty())
    }
}

impl Columns {
    /// Looks at a schema as [`Columns::resolve`] does, and tells of every property.
    pub fn survey(&self, schema: &[String]) -> Survey {
        let names: Vec<&str> = schema.iter().map(String::as_str).collect();
        let mut used = vec![false; names.len()];
        let mut find = |&property: &Property| {
            let configured = self.overrides.iter().find(|(which, _)| *which == property).map(|(_, name)| name.as_str());
            let found = candidates(property, configured, &names);
            found.iter().for_each(|candidate| used[candidate.column] = true);
            Found {
                property,
                required: REQUIRED.contains(&property),
                configured: configured.map(shown),
                columns: found.iter().map(|candidate| shown(names[candidate.column])).collect(),
            }
        };
        let properties = Property::ALL.iter().map(&mut find).collect();
        let idle = |(name, used): (&&str, &bool)| (!used && !is_text_of_an_enum(name)).then(|| shown(name));
        let unused = names.iter().zip(&used).filter_map(idle).take(MAX_LISTED).collect();
        Survey { properties, unused }
    }
}

/// Whether a column is the text beside an enum's number, which is not read where the number is there.
fn is_text_of_an_enum(name: &str) -> bool {
    ENUMERATED.iter().any(|property| same_name(name, &format!("{}{LOCALIZED}", property.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(columns: &Columns, schema: &[&str]) -> Survey {
        columns.survey(&schema.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    fn columns(survey: &Survey, property: Property) -> Vec<&str> {
        let found = survey.properties.iter().find(|found| found.property == property).unwrap();
        found.columns.iter().map(String::as_str).collect()
    }

    #[test]
    fn each_property_has_its_columns_and_the_rest_is_told() {
        let schema = [
            "_SessionId",
            "Sessionstart",
            "Sessionend",
            "Attribute",
            "Date",
            "HelperEnrollmentState",
            "_helperEnrollmentState_loc",
        ];
        let survey = survey(&Columns::default(), &schema);
        assert_eq!(survey.properties.len(), Property::ALL.len());
        assert_eq!(columns(&survey, Property::Id), ["_SessionId"]);
        assert_eq!(columns(&survey, Property::SessionType), ["Attribute"]);
        let state = ["HelperEnrollmentState", "_helperEnrollmentState_loc"];
        assert_eq!(columns(&survey, Property::HelperEnrollmentState), state);
        assert_eq!(columns(&survey, Property::HelperOs), Vec::<&str>::new());
        assert_eq!(survey.unused, ["Date"]);
        assert!(survey.is_readable());
        let required = survey.properties.iter().filter(|found| found.required).count();
        assert_eq!(required, 3);
    }

    #[test]
    fn a_configured_column_that_is_not_there_leaves_its_property_without_one() {
        let configured = Columns::new(vec![(Property::EndDateTime, "Finished".to_owned())]);
        let schema = ["SessionId", "Sessionstart", "Sessionend"];
        let survey = survey(&configured, &schema);
        assert!(!survey.is_readable() && configured.resolve(&schema).is_err());
        assert_eq!(survey.properties[2].configured.as_deref(), Some("Finished"));
        assert_eq!(survey.unused, ["Sessionend"]);
    }

    #[test]
    fn names_are_one_line_of_bounded_length_and_number() {
        let name = "x\n".repeat(1000);
        let survey = survey(&Columns::default(), &vec![name.as_str(); 1000]);
        assert_eq!((survey.unused.len(), survey.unused[0].len()), (MAX_LISTED, 60));
    }
}
