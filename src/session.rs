//! The domain: one remote-assistance session as a service reports it.
//!
//! Everything here is a value: no clock, no I/O, no metrics library. A source turns its wire format
//! into [`Row`]s of [`Cell`]s; [`Row::read`] turns a row into a [`SessionReport`] or a [`Reject`].
//! Imports nothing of ours.

mod date;
mod devices;
mod label;
mod row;

use chrono::{DateTime, Utc};

pub use date::{UnreadableDate, parse_date};
pub use devices::DeviceStates;
pub(crate) use label::label;
pub use label::{EnrollmentState, Label, Os, Role, SessionType};
pub use row::{Cell, Property, Reject, RejectReason, Row};

/// The longest session id that is believed, in bytes. Known ids are GUIDs of 36; the bound keeps a
/// broken upstream from filling memory and ledger with one property.
pub const MAX_ID_BYTES: usize = 256;

/// Default upper bounds of `session_duration_seconds`, in seconds: from a glance to a working day.
pub const DURATION_BOUNDS: &[f64] = &[30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0];

/// One remote-assistance session as reported: the properties of
/// `microsoft.graph.remoteAssistanceReporting` (beta). `None` means "not reported".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionReport {
    /// `id`: the session's only identity, and the key for counting it once. Never empty.
    pub id: Box<str>,
    /// `startDateTime`.
    pub start: Option<DateTime<Utc>>,
    /// `endDateTime`; `None` while the session goes on.
    pub end: Option<DateTime<Utc>>,
    /// `remoteAssistanceSessionType`.
    pub session_type: SessionType,
    /// The technician.
    pub helper: Participant,
    /// The person being helped.
    pub sharer: Participant,
    /// `helperCompanyName`.
    pub helper_company_name: Option<Box<str>>,
    /// `sharerDeviceSerialNumber`.
    pub sharer_device_serial_number: Option<Box<str>>,
    /// `deviceId`: Intune's id of the device that was helped.
    pub device_id: Option<Box<str>>,
    /// `sessionCreateDateTime`.
    pub created: Option<DateTime<Utc>>,
    /// `sessionDiagnosticCode`.
    pub diagnostic_code: Option<Box<str>>,
}

/// One side of a session: the properties that helper and sharer have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Participant {
    /// `…UserId`: the user's id in Entra.
    pub user_id: Option<Box<str>>,
    /// `…Email`.
    pub email: Option<Box<str>>,
    /// `…TenantId`.
    pub tenant_id: Option<Box<str>>,
    /// `…FirstName`.
    pub first_name: Option<Box<str>>,
    /// `…LastName`.
    pub last_name: Option<Box<str>>,
    /// `…Os`, as reported; [`Os::classify`] names the family.
    pub os: Option<Box<str>>,
    /// `…DeviceAadId`: the device's id in Entra.
    pub device_aad_id: Option<Box<str>>,
    /// `…DeviceName`.
    pub device_name: Option<Box<str>>,
    /// `…EnrollmentState`.
    pub enrollment_state: EnrollmentState,
}

impl SessionReport {
    /// The participant in the given role.
    pub fn participant(&self, role: Role) -> &Participant {
        match role {
            Role::Helper => &self.helper,
            Role::Sharer => &self.sharer,
        }
    }

    /// Whether the property was reported.
    pub fn has(&self, property: Property) -> bool {
        let (helper, sharer) = (&self.helper, &self.sharer);
        let text = |text: &Option<Box<str>>| text.is_some();
        match property {
            Property::Id => true,
            Property::StartDateTime => self.start.is_some(),
            Property::EndDateTime => self.end.is_some(),
            Property::SessionType => self.session_type != SessionType::Unreported,
            Property::HelperEmail => text(&helper.email),
            Property::HelperTenantId => text(&helper.tenant_id),
            Property::HelperFirstName => text(&helper.first_name),
            Property::HelperLastName => text(&helper.last_name),
            Property::HelperOs => text(&helper.os),
            Property::HelperDeviceAadId => text(&helper.device_aad_id),
            Property::HelperDeviceName => text(&helper.device_name),
            Property::HelperEnrollmentState => helper.enrollment_state != EnrollmentState::Unreported,
            Property::SharerEmail => text(&sharer.email),
            Property::SharerTenantId => text(&sharer.tenant_id),
            Property::SharerFirstName => text(&sharer.first_name),
            Property::SharerLastName => text(&sharer.last_name),
            Property::SharerOs => text(&sharer.os),
            Property::SharerDeviceAadId => text(&sharer.device_aad_id),
            Property::SharerDeviceName => text(&sharer.device_name),
            Property::SharerEnrollmentState => sharer.enrollment_state != EnrollmentState::Unreported,
            Property::HelperUserId => text(&helper.user_id),
            Property::SharerUserId => text(&sharer.user_id),
            Property::DeviceId => text(&self.device_id),
            Property::SharerDeviceSerialNumber => text(&self.sharer_device_serial_number),
            Property::HelperCompanyName => text(&self.helper_company_name),
            Property::SessionCreateDateTime => self.created.is_some(),
            Property::SessionDiagnosticCode => text(&self.diagnostic_code),
        }
    }

    /// Whether both sides name their tenant and the two differ. GUIDs are compared without case.
    pub fn is_cross_tenant(&self) -> bool {
        match (&self.helper.tenant_id, &self.sharer.tenant_id) {
            (Some(helper), Some(sharer)) => !helper.eq_ignore_ascii_case(sharer),
            _ => false,
        }
    }
}
