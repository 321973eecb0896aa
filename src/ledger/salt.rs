//! Keyed hashes. The salt is made once per ledger, so a hash cannot be looked up from a list of
//! addresses, and two ledgers cannot be joined. It leaves the ledger only with a tenant that is exported
//! to another one: there its sessions have to be known again.

use std::hash::Hasher as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use siphasher::sip::{SipHasher13, SipHasher24};
use siphasher::sip128::{Hasher128 as _, SipHasher24 as SipHasher128};

use super::hex;
use crate::session::{Label as _, Participant, SessionReport};

/// The stored length of a salt.
pub const SALT_BYTES: usize = 48;

/// The keys of one ledger. `Debug` does not show them: they are secret.
#[derive(Clone)]
pub struct Salt {
    bytes: [u8; SALT_BYTES],
    ids: SipHasher128,
    subjects: SipHasher24,
    fingerprints: SipHasher13,
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(<secret>)")
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.bytes))
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(&text).map(Self::from_bytes).ok_or_else(|| D::Error::custom("a salt has 96 hexadecimal digits"))
    }
}

/// The hash of a session's id: its key in the ledger.
pub type IdHash = [u8; 16];

impl Salt {
    /// A fresh salt.
    pub fn random() -> Self {
        Self::from_bytes(std::array::from_fn(|_| rand::random()))
    }

    /// The salt of an existing ledger.
    pub fn from_bytes(bytes: [u8; SALT_BYTES]) -> Self {
        let key = |at: usize| std::array::from_fn(|i| bytes[at + i]);
        Self {
            bytes,
            ids: SipHasher128::new_with_key(&key(0)),
            subjects: SipHasher24::new_with_key(&key(16)),
            fingerprints: SipHasher13::new_with_key(&key(16)),
        }
    }

    /// The stored form.
    pub fn bytes(&self) -> &[u8; SALT_BYTES] {
        &self.bytes
    }

    /// The key of a session. 128 bits: among a billion ids, two meet with a chance of 10^-21.
    pub fn id(&self, id: &str) -> IdHash {
        let mut hasher = self.ids;
        hasher.write(id.as_bytes());
        hasher.finish128().as_bytes()
    }

    /// A person: by e-mail address, which every report has, else by the directory's id.
    pub fn person(&self, participant: &Participant) -> u64 {
        self.subject(&[&participant.email, &participant.user_id])
    }

    /// The helper's device.
    pub fn helper_device(&self, report: &SessionReport) -> u64 {
        self.subject(&[&report.helper.device_aad_id, &report.helper.device_name])
    }

    /// The device that was helped.
    pub fn sharer_device(&self, report: &SessionReport) -> u64 {
        let sharer = &report.sharer;
        self.subject(&[
            &sharer.device_aad_id,
            &report.device_id,
            &report.sharer_device_serial_number,
            &sharer.device_name,
        ])
    }

    /// A hash of everything that a report says, to tell a changed report from a repeated one.
    pub fn fingerprint(&self, report: &SessionReport) -> u64 {
        /// Room for a report with every property; a longer one takes another allocation.
        const USUAL_BYTES: usize = 1024;
        // Gathered first and hashed in one go: every report that is read comes through here.
        let mut said = Vec::with_capacity(USUAL_BYTES);
        for (tag, date) in [(1, report.start), (2, report.end), (3, report.created)] {
            if let Some(date) = date {
                said.push(tag);
                said.extend_from_slice(&super::record::ticks(date).to_le_bytes());
            }
        }
        said.extend_from_slice(&[
            report.session_type.index() as u8,
            report.helper.enrollment_state.index() as u8,
            report.sharer.enrollment_state.index() as u8,
        ]);
        // The tag keeps equal texts in different properties apart, and a property that a later
        // version adds changes only the reports that have it.
        for (tag, text) in texts(report).into_iter().enumerate() {
            if let Some(text) = text {
                said.push(0x10 + tag as u8);
                said.extend_from_slice(text.as_bytes());
                said.push(0xff);
            }
        }
        self.fingerprints.hash(&said)
    }

    /// A helper's name in `helper_sessions_total` with `helper_label: hashed`: 64 bits of an HMAC,
    /// as hexadecimal digits.
    pub fn label(&self, email: &str) -> String {
        let key: [u8; 16] = std::array::from_fn(|i| self.bytes[32 + i]);
        // HMAC takes keys of every length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else { return String::new() };
        mac.update(email.to_lowercase().as_bytes());
        mac.finalize().into_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first name that is reported, without case; 0 if none is. The place in the list is part
    /// of the hash: an address never equals a device's name.
    fn subject(&self, names: &[&Option<Box<str>>]) -> u64 {
        let Some((place, name)) = names.iter().enumerate().find_map(|(i, name)| Some((i, name.as_deref()?))) else {
            return 0;
        };
        let mut hasher = self.subjects;
        hasher.write_u8(place as u8);
        if name.is_ascii() {
            for byte in name.bytes() {
                hasher.write_u8(byte.to_ascii_lowercase());
            }
        } else {
            hasher.write(name.to_lowercase().as_bytes());
        }
        hasher.finish().max(1)
    }
}

/// Every text of a report, in an order that never changes.
fn texts(report: &SessionReport) -> [Option<&str>; 20] {
    let (helper, sharer) = (&report.helper, &report.sharer);
    [
        helper.email.as_deref(),
        helper.tenant_id.as_deref(),
        helper.first_name.as_deref(),
        helper.last_name.as_deref(),
        helper.os.as_deref(),
        helper.device_aad_id.as_deref(),
        helper.device_name.as_deref(),
        helper.user_id.as_deref(),
        sharer.email.as_deref(),
        sharer.tenant_id.as_deref(),
        sharer.first_name.as_deref(),
        sharer.last_name.as_deref(),
        sharer.os.as_deref(),
        sharer.device_aad_id.as_deref(),
        sharer.device_name.as_deref(),
        sharer.user_id.as_deref(),
        report.helper_company_name.as_deref(),
        report.sharer_device_serial_number.as_deref(),
        report.device_id.as_deref(),
        report.diagnostic_code.as_deref(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salt() -> Salt {
        Salt::from_bytes([7; SALT_BYTES])
    }

    fn named(email: Option<&str>, user_id: Option<&str>) -> Participant {
        Participant { email: email.map(Into::into), user_id: user_id.map(Into::into), ..Participant::default() }
    }

    /// The hashes are on users' disks: they stay the same on every machine and in every release.
    #[test]
    fn hashes_are_stable() {
        assert_eq!(u128::from_be_bytes(salt().id("5f0c9e2a")), 0xe0c1c487265f32252f6989af4e35d135);
        assert_eq!(salt().person(&named(Some("a@b.example"), None)), 0x2a7bd1fbbb730632);
        assert_eq!(salt().label("a@b.example"), "770ab6bf990beb62");
        let report = SessionReport {
            id: "5f0c9e2a".into(),
            end: Some(chrono::DateTime::UNIX_EPOCH),
            ..SessionReport::default()
        };
        assert_eq!(salt().fingerprint(&report), 0x54630ceb864f2dd2);
    }

    #[test]
    fn a_person_is_one_whatever_the_case() {
        let person = |email, user_id| salt().person(&named(email, user_id));
        assert_eq!(person(Some("A@B.example"), None), person(Some("a@b.example"), Some("17")));
        assert_ne!(person(Some("a@b.example"), None), person(Some("c@b.example"), None));
        assert_ne!(person(None, Some("a")), person(Some("a"), None));
        assert_eq!(person(None, None), 0);
        assert_eq!(person(Some("É@b.example"), None), person(Some("é@b.example"), None));
    }

    #[test]
    fn another_salt_gives_other_hashes() {
        let other = Salt::random();
        assert_ne!(salt().id("1"), other.id("1"));
        assert_ne!(salt().label("1"), other.label("1"));
        assert_ne!(salt().person(&named(Some("1"), None)), other.person(&named(Some("1"), None)));
    }

    #[test]
    fn the_fingerprint_sees_every_property() {
        let base = SessionReport { id: "1".into(), ..SessionReport::default() };
        let mut seen = vec![salt().fingerprint(&base)];
        let text = || Some("x".into());
        type Change = fn(&mut SessionReport, Option<Box<str>>);
        let changes: [Change; 20] = [
            |r, t| r.helper.email = t,
            |r, t| r.helper.tenant_id = t,
            |r, t| r.helper.first_name = t,
            |r, t| r.helper.last_name = t,
            |r, t| r.helper.os = t,
            |r, t| r.helper.device_aad_id = t,
            |r, t| r.helper.device_name = t,
            |r, t| r.helper.user_id = t,
            |r, t| r.sharer.email = t,
            |r, t| r.sharer.tenant_id = t,
            |r, t| r.sharer.first_name = t,
            |r, t| r.sharer.last_name = t,
            |r, t| r.sharer.os = t,
            |r, t| r.sharer.device_aad_id = t,
            |r, t| r.sharer.device_name = t,
            |r, t| r.sharer.user_id = t,
            |r, t| r.helper_company_name = t,
            |r, t| r.sharer_device_serial_number = t,
            |r, t| r.device_id = t,
            |r, t| r.diagnostic_code = t,
        ];
        for change in changes {
            let mut report = base.clone();
            change(&mut report, text());
            seen.push(salt().fingerprint(&report));
        }
        let date = Some(chrono::DateTime::UNIX_EPOCH);
        seen.push(salt().fingerprint(&SessionReport { start: date, ..base.clone() }));
        seen.push(salt().fingerprint(&SessionReport { end: date, ..base.clone() }));
        seen.push(salt().fingerprint(&SessionReport { created: date, ..base.clone() }));
        let session_type = crate::session::SessionType::Elevation;
        seen.push(salt().fingerprint(&SessionReport { session_type, ..base.clone() }));
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}
