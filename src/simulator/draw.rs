//! Chance that repeats: everything random follows from a digest of what it is for.

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

use super::session::NANOSECONDS_PER_TICK;

/// The generator of numbers: its algorithm is fixed by name, so a seed means the same for ever.
pub(super) type Chance = Xoshiro256PlusPlus;

/// A digest of the parts and of where one ends and the next begins.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Chance that follows from a digest.
pub(super) fn chance(digest: [u8; 32]) -> Chance {
    Chance::from_seed(digest)
}

/// A GUID that follows from a digest, in the lower-case form that Graph writes.
pub(super) fn guid(digest: &[u8; 32]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// One of the values, as often as its weight says. The weights need not sum to 1.
pub(super) fn weighted<T: Copy>(chance: &mut Chance, values: &[(T, f64)]) -> Option<T> {
    let total: f64 = values.iter().map(|(_, weight)| weight).sum();
    let mut at = chance.random::<f64>() * total;
    for (value, weight) in values {
        at -= weight;
        if at < 0.0 {
            return Some(*value);
        }
    }
    values.last().map(|(value, _)| *value)
}

/// Whether an event of this probability happens. Always uses up one number, so that two runs that
/// differ in a probability agree on all else.
pub(super) fn happens(chance: &mut Chance, share: f64) -> bool {
    chance.random::<f64>() < share
}

/// A length of time of so many seconds, in whole ticks of 100 ns.
pub(super) fn seconds(seconds: f64) -> TimeDelta {
    const TICKS_PER_SECOND: f64 = 10_000_000.0;
    TimeDelta::nanoseconds((seconds * TICKS_PER_SECOND) as i64 * NANOSECONDS_PER_TICK)
}

/// The time without what is finer than `nanoseconds`.
pub(super) fn truncate(time: DateTime<Utc>, nanoseconds: i64) -> DateTime<Utc> {
    let excess = i64::from(time.timestamp_subsec_nanos()) % nanoseconds;
    time - TimeDelta::nanoseconds(excess)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_eq!(digest(&[b"ab", b"c"]), digest(&[b"ab", b"c"]));
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }

    #[test]
    fn weights_are_kept() {
        let mut chance = chance(digest(&[b"weights"]));
        let drawn = (0..10_000).filter_map(|_| weighted(&mut chance, &[('a', 3.0), ('b', 1.0)]));
        let a = drawn.filter(|value| *value == 'a').count();
        assert!((7_300..7_700).contains(&a), "{a}");
        assert_eq!(weighted::<char>(&mut chance, &[]), None);
    }

    #[test]
    fn times_are_cut_to_ticks_and_seconds() {
        let time = DateTime::UNIX_EPOCH + TimeDelta::nanoseconds(1_234_567_891);
        assert_eq!(truncate(time, 100).timestamp_subsec_nanos(), 234_567_800);
        assert_eq!(truncate(time, 1_000_000_000).timestamp_subsec_nanos(), 0);
        assert_eq!(seconds(0.123_456_78), TimeDelta::nanoseconds(123_456_700));
    }
}
