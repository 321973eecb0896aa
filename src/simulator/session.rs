//! One session as the simulator knows it: the properties of `remoteAssistanceReporting`.

use std::borrow::Cow;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// One session. `None` is served as one of the wire's spellings of "not reported".
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// `id`.
    pub id: String,
    /// `startDateTime`.
    pub start: Option<DateTime<Utc>>,
    /// `endDateTime`; `None` while the session goes on.
    pub end: Option<DateTime<Utc>>,
    /// `remoteAssistanceSessionType`, by name.
    pub session_type: Option<Cow<'static, str>>,
    /// The technician.
    pub helper: Arc<Participant>,
    /// The person being helped.
    pub sharer: Arc<Participant>,
    /// `helperCompanyName`.
    pub helper_company_name: Option<Arc<str>>,
    /// `sharerDeviceSerialNumber`.
    pub sharer_device_serial_number: Option<Arc<str>>,
    /// `deviceId`.
    pub device_id: Option<Arc<str>>,
    /// `sessionCreateDateTime`.
    pub created: Option<DateTime<Utc>>,
    /// `sessionDiagnosticCode`.
    pub diagnostic_code: Option<Arc<str>>,
}

/// One side of a session. Shared between a person's sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// `…UserId`.
    pub user_id: Option<String>,
    /// `…Email`.
    pub email: Option<String>,
    /// `…TenantId`.
    pub tenant_id: Option<String>,
    /// `…FirstName`.
    pub first_name: Option<String>,
    /// `…LastName`.
    pub last_name: Option<String>,
    /// `…Os`.
    pub os: Option<String>,
    /// `…DeviceAadId`.
    pub device_aad_id: Option<String>,
    /// `…DeviceName`.
    pub device_name: Option<String>,
    /// `…EnrollmentState`, by name.
    pub enrollment_state: Option<Cow<'static, str>>,
}

impl Session {
    /// The session's length in ticks of 100 ns, if it has a start and an end in that order.
    pub fn duration_ticks(&self) -> Option<u64> {
        let length = self.end? - self.start?;
        u64::try_from(length.num_nanoseconds()? / NANOSECONDS_PER_TICK).ok()
    }
}

/// Graph's dates have seven fractional digits.
pub(super) const NANOSECONDS_PER_TICK: i64 = 100;

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_duration_needs_both_ends_in_order() {
        let start = DateTime::UNIX_EPOCH;
        let session = |start, end| Session { start, end, ..Session::default() }.duration_ticks();
        assert_eq!(session(Some(start), Some(start + TimeDelta::milliseconds(1))), Some(10_000));
        assert_eq!(session(Some(start), Some(start)), Some(0));
        assert_eq!(session(Some(start), Some(start - TimeDelta::microseconds(1))), None);
        assert_eq!(session(None, Some(start)), None);
        assert_eq!(session(Some(start), None), None);
    }
}
