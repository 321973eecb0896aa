//! One row of a report, whatever format it came in, and how it becomes a [`SessionReport`].

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::label::label;
use super::{EnrollmentState, Label as _, MAX_ID_BYTES, Participant, SessionReport, SessionType, parse_date};

macro_rules! properties {
    ($($variant:ident = $name:literal,)+) => {
        /// The properties of `microsoft.graph.remoteAssistanceReporting`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Property { $(#[doc = concat!("`", $name, "`")] $variant,)+ }

        impl Property {
            /// Every property.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The property of this name in Graph's spelling.
            #[inline]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }

            /// Graph's spelling.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        const PROPERTIES: usize = [$(Property::$variant,)+].len();
    };
}

properties! {
    Id = "id",
    StartDateTime = "startDateTime",
    EndDateTime = "endDateTime",
    SessionType = "remoteAssistanceSessionType",
    HelperEmail = "helperEmail",
    HelperTenantId = "helperTenantId",
    HelperFirstName = "helperFirstName",
    HelperLastName = "helperLastName",
    HelperOs = "helperOs",
    HelperDeviceAadId = "helperDeviceAadId",
    HelperDeviceName = "helperDeviceName",
    HelperEnrollmentState = "helperEnrollmentState",
    SharerEmail = "sharerEmail",
    SharerTenantId = "sharerTenantId",
    SharerFirstName = "sharerFirstName",
    SharerLastName = "sharerLastName",
    SharerOs = "sharerOs",
    SharerDeviceAadId = "sharerDeviceAadId",
    SharerDeviceName = "sharerDeviceName",
    SharerEnrollmentState = "sharerEnrollmentState",
    HelperUserId = "helperUserId",
    SharerUserId = "sharerUserId",
    DeviceId = "deviceId",
    SharerDeviceSerialNumber = "sharerDeviceSerialNumber",
    HelperCompanyName = "helperCompanyName",
    SessionCreateDateTime = "sessionCreateDateTime",
    SessionDiagnosticCode = "sessionDiagnosticCode",
}

label! {
    /// Why a row could not be read. The row counts as soon as a later poll brings it repaired.
    RejectReason("reason") {
        /// Not an object, or more or fewer cells than the schema has columns.
        BrokenRow = "broken_row",
        /// No id.
        MissingId = "missing_id",
        /// An id that cannot be one: not text, or too long.
        InvalidId = "invalid_id",
        /// A start or an end that is not a date.
        UnreadableDate = "unreadable_date",
        /// An end over a day in the future.
        FutureEnd = "future_end",
    }
}

/// A row that could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The label of the counter.
    pub reason: RejectReason,
    /// The session's id where it had one, for the log.
    pub id: Option<Box<str>>,
    /// What is wrong, in plain words; names the property but quotes no personal data.
    pub detail: Cow<'static, str>,
}

impl Reject {
    /// A row without any readable id.
    pub fn anonymous(reason: RejectReason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, id: None, detail: detail.into() }
    }
}

/// One value of a row as the wire had it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell<'a> {
    /// Missing or null.
    #[default]
    Absent,
    /// Text, borrowed from the body where it has no escapes.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true`, `false`, an array or an object: no property is one.
    Unusable,
}

impl<'a> Cell<'a> {
    /// Whether the cell holds anything but one of the spellings of "not reported".
    pub fn is_reported(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Text(text) => present(text).is_some(),
            Self::Integer(_) | Self::Float(_) | Self::Unusable => true,
        }
    }

    /// The cell's text, or nothing where it holds one of the spellings of "not reported".
    fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => present(text).map(Cow::Borrowed),
            Self::Integer(number) => Some(Cow::Owned(number.to_string())),
            Self::Float(number) => Some(Cow::Owned(number.to_string())),
            Self::Absent | Self::Unusable => None,
        }
    }

    fn boxed(&self) -> Option<Box<str>> {
        self.text().map(|text| text.into())
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Cell<'a> {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// `""` and `--` both stand for "not reported".
fn present(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text != "--").then_some(text)
}

/// The cells of one row by property. A property that no one sets is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    cells: [Cell<'a>; PROPERTIES],
}

impl Default for Row<'_> {
    fn default() -> Self {
        Self { cells: [const { Cell::Absent }; PROPERTIES] }
    }
}

impl<'a> Row<'a> {
    /// Sets a property; the last cell wins, as in JSON.
    pub fn set(&mut self, property: Property, cell: Cell<'a>) {
        self.cells[property as usize] = cell;
    }

    /// The cell of a property.
    pub fn get(&self, property: Property) -> &Cell<'a> {
        &self.cells[property as usize]
    }

    /// Reads the row as a session.
    pub fn read(&self) -> Result<SessionReport, Reject> {
        use Property as P;
        let id = self.id()?;
        let (start, end) = match (self.date(P::StartDateTime), self.date(P::EndDateTime)) {
            (Ok(start), Ok(end)) => (start, end),
            (Err(detail), _) | (_, Err(detail)) => {
                return Err(Reject { reason: RejectReason::UnreadableDate, id: Some(id), detail });
            }
        };
        Ok(SessionReport {
            id,
            start,
            end,
            session_type: self.enumerated(P::SessionType, SessionType::parse, SessionType::from_number),
            helper: Participant {
                user_id: self.get(P::HelperUserId).boxed(),
                email: self.get(P::HelperEmail).boxed(),
                tenant_id: self.get(P::HelperTenantId).boxed(),
                first_name: self.get(P::HelperFirstName).boxed(),
                last_name: self.get(P::HelperLastName).boxed(),
                os: self.get(P::HelperOs).boxed(),
                device_aad_id: self.get(P::HelperDeviceAadId).boxed(),
                device_name: self.get(P::HelperDeviceName).boxed(),
                enrollment_state: self.state(P::HelperEnrollmentState),
            },
            sharer: Participant {
                user_id: self.get(P::SharerUserId).boxed(),
                email: self.get(P::SharerEmail).boxed(),
                tenant_id: self.get(P::SharerTenantId).boxed(),
                first_name: self.get(P::SharerFirstName).boxed(),
                last_name: self.get(P::SharerLastName).boxed(),
                os: self.get(P::SharerOs).boxed(),
                device_aad_id: self.get(P::SharerDeviceAadId).boxed(),
                device_name: self.get(P::SharerDeviceName).boxed(),
                enrollment_state: self.state(P::SharerEnrollmentState),
            },
            helper_company_name: self.get(P::HelperCompanyName).boxed(),
            sharer_device_serial_number: self.get(P::SharerDeviceSerialNumber).boxed(),
            device_id: self.get(P::DeviceId).boxed(),
            // Nothing is counted by it, so a broken one is no reason to lose the session.
            created: self.date(P::SessionCreateDateTime).unwrap_or(None),
            diagnostic_code: self.get(P::SessionDiagnosticCode).boxed(),
        })
    }

    fn id(&self) -> Result<Box<str>, Reject> {
        match self.get(Property::Id) {
            Cell::Unusable => Err(Reject::anonymous(RejectReason::InvalidId, "id is not text")),
            cell => {
                let id = cell.text().ok_or_else(|| Reject::anonymous(RejectReason::MissingId, "id is missing"))?;
                if id.len() > MAX_ID_BYTES {
                    let detail = format!("id has {} bytes; at most {MAX_ID_BYTES} are believed", id.len());
                    return Err(Reject::anonymous(RejectReason::InvalidId, detail));
                }
                Ok(id.into())
            }
        }
    }

    fn date(&self, property: Property) -> Result<Option<DateTime<Utc>>, Cow<'static, str>> {
        let unreadable =
            |what: &dyn std::fmt::Display| Cow::Owned(format!("{} is unreadable: {what}", property.name()));
        match self.get(property) {
            Cell::Absent => Ok(None),
            Cell::Text(text) => match present(text) {
                None => Ok(None),
                Some(text) => parse_date(text).map_err(|error| unreadable(&error)),
            },
            Cell::Integer(_) | Cell::Float(_) | Cell::Unusable => Err(unreadable(&"it is not text")),
        }
    }

    fn state(&self, property: Property) -> EnrollmentState {
        self.enumerated(property, EnrollmentState::parse, EnrollmentState::from_number)
    }

    fn enumerated<T: Default>(&self, property: Property, parse: fn(&str) -> T, from_number: fn(i64) -> T) -> T {
        /// A number that no enum has, for values that are no number at all.
        const NO_SUCH_NUMBER: i64 = -1;
        match self.get(property) {
            Cell::Absent => T::default(),
            Cell::Text(text) => present(text).map_or_else(T::default, parse),
            Cell::Integer(number) => from_number(*number),
            Cell::Float(number) if number.fract() == 0.0 => from_number(*number as i64),
            Cell::Float(_) | Cell::Unusable => from_number(NO_SUCH_NUMBER),
        }
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, Cell<'static>)]) -> Row<'static> {
        let mut row = Row::default();
        for (name, cell) in cells {
            row.set(Property::from_name(name).unwrap(), cell.clone());
        }
        row
    }

    #[test]
    fn every_property_is_found_by_its_name() {
        assert_eq!(PROPERTIES, 27);
        for property in Property::ALL {
            assert_eq!(Property::from_name(property.name()), Some(*property));
        }
        assert_eq!(Property::from_name("Id"), None);
    }

    #[test]
    fn every_property_reaches_the_report() {
        let mut row = Row::default();
        for property in Property::ALL {
            let cell = match property.name() {
                name if name.ends_with("DateTime") => "2026-03-19T12:08:16".into(),
                name if name.ends_with("EnrollmentState") => Cell::Integer(2),
                "remoteAssistanceSessionType" => Cell::Text("elevation".into()),
                name => Cell::from(name),
            };
            row.set(*property, cell);
        }
        let report = format!("{:?}", row.read().unwrap());
        for property in Property::ALL {
            let date_or_enum = ["DateTime", "State", "SessionType"].iter().any(|end| property.name().ends_with(end));
            assert!(date_or_enum || report.contains(&format!("{:?}", property.name())), "{property:?} in {report}");
        }
        assert_eq!(report.matches("2026-03-19T12:08:16Z").count(), 3);
        assert_eq!(report.matches("PendingReset").count(), 2);
        assert!(!report.contains("None"), "{report}");
    }

    #[test]
    fn a_report_has_what_its_row_had() {
        for property in Property::ALL {
            let value = match property.name() {
                name if name.ends_with("DateTime") => "2026-03-19T12:08:16",
                _ => "1",
            };
            let report = row(&[("id", "7".into()), (property.name(), value.into())]).read().unwrap();
            for other in Property::ALL {
                let expected = [*property, Property::Id].contains(other);
                assert_eq!(report.has(*other), expected, "{property:?} {other:?}");
            }
        }
    }

    #[test]
    fn the_spellings_of_absence() {
        let base = row(&[("id", "1".into())]).read().unwrap();
        for absent in ["", "--", "  ", " -- "] {
            let same =
                row(&[("id", "1".into()), ("helperEmail", absent.into()), ("sharerEnrollmentState", absent.into())]);
            assert_eq!(same.read().unwrap(), base);
        }
        let dates =
            row(&[("id", "1".into()), ("endDateTime", "0001-01-01T00:00:00Z".into()), ("startDateTime", "".into())]);
        assert_eq!(dates.read().unwrap(), base);
    }

    #[test]
    fn numbers_stand_for_text_and_enums() {
        let report = row(&[
            ("id", Cell::Integer(17)),
            ("remoteAssistanceSessionType", Cell::Float(1.0)),
            ("helperEnrollmentState", "4".into()),
            ("sharerEnrollmentState", Cell::Unusable),
        ]);
        let report = report.read().unwrap();
        assert_eq!(&*report.id, "17");
        assert_eq!(report.session_type, SessionType::FullControl);
        assert_eq!(report.helper.enrollment_state, EnrollmentState::NotContacted);
        assert_eq!(report.sharer.enrollment_state, EnrollmentState::Other);
    }

    #[test]
    fn what_makes_a_row_unreadable() {
        let reason = |cells: &[(&str, Cell<'static>)]| row(cells).read().unwrap_err().reason;
        assert_eq!(reason(&[]), RejectReason::MissingId);
        assert_eq!(reason(&[("id", "--".into())]), RejectReason::MissingId);
        assert_eq!(reason(&[("id", Cell::Unusable)]), RejectReason::InvalidId);
        assert_eq!(reason(&[("id", "x".repeat(257).into())]), RejectReason::InvalidId);
        let soon = [("id", "1".into()), ("endDateTime", "soon".into())];
        assert_eq!(reason(&soon), RejectReason::UnreadableDate);
        assert_eq!(
            row(&soon).read().unwrap_err().detail,
            "endDateTime is unreadable: not a date and time such as 2026-03-19T12:08:16Z"
        );
        assert_eq!(reason(&[("id", "1".into()), ("startDateTime", Cell::Integer(5))]), RejectReason::UnreadableDate);
    }

    #[test]
    fn an_unreadable_creation_date_loses_nothing() {
        assert!(row(&[("id", "1".into()), ("sessionCreateDateTime", "soon".into())]).read().is_ok());
    }
}
