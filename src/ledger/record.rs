//! What the ledger keeps of a counted session: a compact record, enough to recompute every business
//! total and to write history with true times. No name, address or id is in it, only salted hashes.
//!
//! The layout is fixed and versioned by the ledger's schema: see [`super::store::SCHEMA_VERSION`].

use chrono::{DateTime, Utc};

use super::totals::TICKS_PER_SECOND;
use crate::session::{EnrollmentState, Label, Os, SessionType};

/// The encoded length of a [`SessionRecord`].
pub const RECORD_BYTES: usize = 62;
/// The encoded length of what is kept in history: the record without its end, which is in the key,
/// and without its hashes.
pub const HISTORY_BYTES: usize = HASHES_AT - END_BYTES;

const END_BYTES: usize = 8;
const HASHES_AT: usize = 30;

/// "No start" among start times: before any date that a report can hold.
const ABSENT: i64 = i64::MIN;
const FLAG_BASELINE: u8 = 1;
const FLAG_CROSS_TENANT: u8 = 2;
const FLAG_DELAY: u8 = 4;

/// One session as it was counted. Times are ticks of 100 ns since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// When it ended, as counted.
    pub end: i64,
    /// When it started, if reported.
    pub start: Option<i64>,
    /// When it was counted, by the time the service told.
    pub counted_at: i64,
    /// Its type.
    pub session_type: SessionType,
    /// The enrolment state of the helper's device.
    pub helper_state: EnrollmentState,
    /// The enrolment state of the sharer's device.
    pub sharer_state: EnrollmentState,
    /// The helper's system.
    pub helper_os: Os,
    /// The sharer's system.
    pub sharer_os: Os,
    /// Known but not counted: a first run with `first_run: baseline` met it.
    pub baseline: bool,
    /// Whether helper and sharer belong to different tenants.
    pub cross_tenant: bool,
    /// Whether its delay was observed, i.e. it was not in a first run's backlog.
    pub delay_observed: bool,
    /// Salted hash of the helper; 0 if not reported.
    pub helper: u64,
    /// Salted hash of the sharer; 0 if not reported.
    pub sharer: u64,
    /// Salted hash of the helper's device; 0 if not reported.
    pub helper_device: u64,
    /// Salted hash of the device that was helped; 0 if not reported.
    pub sharer_device: u64,
}

/// How long a session lasted, in ticks; `None` without a start or with an end before it.
pub fn duration_ticks(start: Option<i64>, end: i64) -> Option<u64> {
    u64::try_from(end.checked_sub(start?)?).ok()
}

impl SessionRecord {
    /// How long it lasted, in ticks.
    pub fn duration(&self) -> Option<u64> {
        duration_ticks(self.start, self.end)
    }

    /// The stored form.
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[0..8].copy_from_slice(&self.end.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.start.unwrap_or(ABSENT).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.counted_at.to_le_bytes());
        bytes[24..30].copy_from_slice(&[
            self.session_type.index() as u8,
            self.helper_state.index() as u8,
            self.sharer_state.index() as u8,
            self.helper_os.index() as u8,
            self.sharer_os.index() as u8,
            flag(self.baseline, FLAG_BASELINE)
                | flag(self.cross_tenant, FLAG_CROSS_TENANT)
                | flag(self.delay_observed, FLAG_DELAY),
        ]);
        for (place, hash) in [self.helper, self.sharer, self.helper_device, self.sharer_device].into_iter().enumerate()
        {
            let at = HASHES_AT + 8 * place;
            bytes[at..at + 8].copy_from_slice(&hash.to_le_bytes());
        }
        bytes
    }

    /// The form that is kept in history: what the session counted as, and nothing of who took part.
    pub fn encode_history(&self) -> [u8; HISTORY_BYTES] {
        let bytes = self.encode();
        std::array::from_fn(|i| bytes[END_BYTES + i])
    }

    /// Reads the form that is kept in history. The hashes are as if nobody was reported.
    pub fn decode_history(end: i64, history: &[u8; HISTORY_BYTES]) -> Option<Self> {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..END_BYTES].copy_from_slice(&end.to_le_bytes());
        bytes[END_BYTES..HASHES_AT].copy_from_slice(history);
        Self::decode(&bytes)
    }

    /// Reads the stored form; `None` if a code in it is not one of this schema version's.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let start = number(8) as i64;
        let flags = bytes[29];
        Some(Self {
            end: number(0) as i64,
            start: (start != ABSENT).then_some(start),
            counted_at: number(16) as i64,
            session_type: coded(bytes[24])?,
            helper_state: coded(bytes[25])?,
            sharer_state: coded(bytes[26])?,
            helper_os: coded(bytes[27])?,
            sharer_os: coded(bytes[28])?,
            baseline: flags & FLAG_BASELINE != 0,
            cross_tenant: flags & FLAG_CROSS_TENANT != 0,
            delay_observed: flags & FLAG_DELAY != 0,
            helper: number(30),
            sharer: number(38),
            helper_device: number(46),
            sharer_device: number(54),
        })
    }
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn coded<L: Label>(code: u8) -> Option<L> {
    L::ALL.get(usize::from(code)).copied()
}

/// Ticks of 100 ns since 1970, rounded down: the service's own resolution.
pub fn ticks(time: DateTime<Utc>) -> i64 {
    time.timestamp() * TICKS_PER_SECOND as i64 + i64::from(time.timestamp_subsec_nanos() / 100)
}

/// The time of a tick. Ticks come from dates, so each has one.
pub fn time(ticks: i64) -> DateTime<Utc> {
    let per_second = TICKS_PER_SECOND as i64;
    let nanos = (ticks.rem_euclid(per_second) * 100) as u32;
    DateTime::from_timestamp(ticks.div_euclid(per_second), nanos).unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SessionRecord {
        SessionRecord {
            end: 17_000_000_000_000_001,
            start: None,
            counted_at: 17_000_000_100_000_000,
            session_type: SessionType::Elevation,
            helper_state: EnrollmentState::Blocked,
            sharer_state: EnrollmentState::Unreported,
            helper_os: Os::ChromeOs,
            sharer_os: Os::Windows,
            baseline: false,
            cross_tenant: true,
            delay_observed: true,
            helper: 1,
            sharer: u64::MAX,
            helper_device: 0,
            sharer_device: 4,
        }
    }

    #[test]
    fn a_record_survives_its_encoding() {
        let with_start = SessionRecord { start: Some(-5), baseline: true, delay_observed: false, ..sample() };
        for record in [sample(), with_start] {
            assert_eq!(SessionRecord::decode(&record.encode()), Some(record));
        }
        let anonymous = SessionRecord { helper: 0, sharer: 0, helper_device: 0, sharer_device: 0, ..with_start };
        assert_eq!(SessionRecord::decode_history(with_start.end, &with_start.encode_history()), Some(anonymous));
        let mut unknown_code = sample().encode();
        unknown_code[24] = 200;
        assert_eq!(SessionRecord::decode(&unknown_code), None);
    }

    /// The codes are on users' disks. A new value goes to the end; nothing moves.
    #[test]
    fn codes_never_change() {
        fn names<L: Label>() -> Vec<&'static str> {
            L::ALL.iter().map(|value| value.as_str()).collect()
        }
        assert_eq!(
            names::<SessionType>(),
            ["viewOnly", "fullControl", "elevation", "unattended", "other", "unreported"]
        );
        assert_eq!(
            names::<EnrollmentState>(),
            ["unknown", "enrolled", "pendingReset", "failed", "notContacted", "blocked", "other", "unreported"]
        );
        assert_eq!(names::<Os>(), ["windows", "macos", "linux", "android", "ios", "chromeos", "other", "unreported"]);
    }

    #[test]
    fn ticks_keep_the_services_resolution() {
        let date = crate::session::parse_date("2026-03-19T12:08:16.1234567Z").unwrap().unwrap();
        assert_eq!(time(ticks(date)), date);
        let before_1970 = crate::session::parse_date("1969-12-31T23:59:59.9999999Z").unwrap().unwrap();
        assert_eq!(ticks(before_1970), -1);
        assert_eq!(time(-1), before_1970);
    }

    #[test]
    fn a_duration_needs_a_start_before_the_end() {
        assert_eq!(duration_ticks(Some(1), 5), Some(4));
        assert_eq!(duration_ticks(Some(5), 5), Some(0));
        assert_eq!(duration_ticks(Some(6), 5), None);
        assert_eq!(duration_ticks(None, 5), None);
        assert_eq!(duration_ticks(Some(i64::MIN + 1), i64::MAX), None);
    }
}
