//! The properties of `microsoft.graph.remoteAssistanceReporting`.

use super::session::Participant;
use super::wire::{Field, View};

/// A property's name and its value.
pub(super) type Property = (&'static str, for<'a> fn(&'a View<'a>) -> Field<'a>);

fn text<T: AsRef<str>>(value: &Option<T>) -> Field<'_> {
    Field::Text(value.as_ref().map(T::as_ref))
}

fn state(participant: &Participant) -> Field<'_> {
    Field::Name(participant.enrollment_state.as_deref())
}

/// How many properties the type had when it was first published. The rest came later.
pub(super) const ORIGINAL: usize = 20;

/// Every property, in the order of the published pages.
pub(super) const PROPERTIES: &[Property] = &[
    ("id", |view| Field::Text(Some(&view.session.id))),
    ("startDateTime", |view| Field::Date(view.session.start)),
    ("endDateTime", |view| Field::Date(view.end)),
    ("remoteAssistanceSessionType", |view| Field::Name(view.session.session_type.as_deref())),
    ("helperEmail", |view| text(&view.session.helper.email)),
    ("helperTenantId", |view| text(&view.session.helper.tenant_id)),
    ("helperFirstName", |view| text(&view.session.helper.first_name)),
    ("helperLastName", |view| text(&view.session.helper.last_name)),
    ("helperOs", |view| text(&view.session.helper.os)),
    ("helperDeviceAadId", |view| text(&view.session.helper.device_aad_id)),
    ("helperDeviceName", |view| text(&view.session.helper.device_name)),
    ("helperEnrollmentState", |view| state(&view.session.helper)),
    ("sharerEmail", |view| text(&view.session.sharer.email)),
    ("sharerTenantId", |view| text(&view.session.sharer.tenant_id)),
    ("sharerFirstName", |view| text(&view.session.sharer.first_name)),
    ("sharerLastName", |view| text(&view.session.sharer.last_name)),
    ("sharerDeviceAadId", |view| text(&view.session.sharer.device_aad_id)),
    ("sharerDeviceName", |view| text(&view.session.sharer.device_name)),
    ("sharerOs", |view| text(&view.session.sharer.os)),
    ("sharerEnrollmentState", |view| state(&view.session.sharer)),
    ("helperUserId", |view| text(&view.session.helper.user_id)),
    ("sharerUserId", |view| text(&view.session.sharer.user_id)),
    ("deviceId", |view| text(&view.session.device_id)),
    ("sharerDeviceSerialNumber", |view| text(&view.session.sharer_device_serial_number)),
    ("helperCompanyName", |view| text(&view.session.helper_company_name)),
    ("sessionCreateDateTime", |view| Field::Date(view.session.created)),
    ("sessionDiagnosticCode", |view| text(&view.session.diagnostic_code)),
];
