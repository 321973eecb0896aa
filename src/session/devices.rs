//! What is known of devices besides the reports: whether they are enrolled.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use uuid::Uuid;

use super::EnrollmentState;

/// The enrolment state of devices by their id in Entra. A device that it does not name has none.
#[derive(Clone, Default, PartialEq)]
pub struct DeviceStates(HashMap<Uuid, EnrollmentState>);

impl DeviceStates {
    /// How many devices it names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A device is said to be in this state. The last word holds; saying nothing changes nothing.
    pub fn set(&mut self, device: &str, state: EnrollmentState) {
        if let Some(id) = id(device).filter(|_| state != EnrollmentState::Unreported) {
            self.0.insert(id, state);
        }
    }

    /// A device is listed among those that are managed: it is enrolled, unless a state that says more
    /// than `unknown` was set.
    pub fn set_managed(&mut self, device: &str) {
        let Some(id) = id(device) else { return };
        match self.0.entry(id) {
            Entry::Vacant(entry) => drop(entry.insert(EnrollmentState::Enrolled)),
            Entry::Occupied(mut entry) if *entry.get() == EnrollmentState::Unknown => {
                entry.insert(EnrollmentState::Enrolled);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// The state that a report gives a device, else the one that is known of it here.
    pub fn complete(&self, reported: EnrollmentState, device: Option<&str>) -> EnrollmentState {
        if reported != EnrollmentState::Unreported {
            return reported;
        }
        device.and_then(|device| self.0.get(&id(device)?).copied()).unwrap_or_default()
    }
}

/// Ids of devices are no business of a log.
impl fmt::Debug for DeviceStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceStates({} devices)", self.0.len())
    }
}

/// A device's id. One of zeros only stands for none.
fn id(device: &str) -> Option<Uuid> {
    Uuid::try_parse(device.trim()).ok().filter(|id| !id.is_nil())
}

#[cfg(test)]
mod tests {
    use super::*;
    use EnrollmentState as S;

    const ONE: &str = "0d4f2c1e-9a3b-4c5d-8e6f-708192a3b4c5";
    const TWO: &str = "1d4f2c1e-9a3b-4c5d-8e6f-708192a3b4c5";

    #[test]
    fn what_is_reported_wins_and_what_is_not_known_stays_unreported() {
        let mut devices = DeviceStates::default();
        devices.set(ONE, S::Failed);
        assert_eq!(devices.complete(S::Unreported, Some(ONE)), S::Failed);
        assert_eq!(devices.complete(S::Unreported, Some(&format!(" {} ", ONE.to_uppercase()))), S::Failed);
        assert_eq!(devices.complete(S::Unknown, Some(ONE)), S::Unknown, "a value that was reported");
        for device in [None, Some(TWO), Some(""), Some("--"), Some("DESK-1")] {
            assert_eq!(devices.complete(S::Unreported, device), S::Unreported, "{device:?}");
        }
    }

    #[test]
    fn a_managed_device_is_enrolled_unless_a_state_says_more() {
        let state = |said: Option<EnrollmentState>| {
            let mut devices = DeviceStates::default();
            said.into_iter().for_each(|state| devices.set(ONE, state));
            devices.set_managed(ONE);
            devices.complete(S::Unreported, Some(ONE))
        };
        for (said, expected) in [
            (None, S::Enrolled),
            (Some(S::Unreported), S::Enrolled),
            (Some(S::Unknown), S::Enrolled),
            (Some(S::PendingReset), S::PendingReset),
            (Some(S::NotContacted), S::NotContacted),
            (Some(S::Other), S::Other),
        ] {
            assert_eq!(state(said), expected, "{said:?}");
        }
    }

    #[test]
    fn the_id_of_zeros_and_texts_that_are_no_ids_name_no_device() {
        let mut devices = DeviceStates::default();
        for none in ["00000000-0000-0000-0000-000000000000", "", "DESK-1"] {
            devices.set(none, S::Blocked);
            devices.set_managed(none);
        }
        assert!(devices.is_empty());
        devices.set(ONE, S::Blocked);
        devices.set(&ONE.to_uppercase(), S::Enrolled);
        assert_eq!((devices.len(), devices.complete(S::Unreported, Some(ONE))), (1, S::Enrolled));
        assert!(!format!("{devices:?}").contains("0d4f"));
    }
}
