//! The native half of a histogram: sparse buckets of exponential width, as Prometheus' native
//! histograms of schema 3 have them. A bucket's bound is about 9 % above the one before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Each power of two is divided into 2³ buckets.
pub const SCHEMA: i32 = 3;
/// Observations up to this are in the zero bucket: 2⁻¹²⁸, which is what other exposers use. Any
/// duration that is not zero is a tick at least.
pub const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// Buckets of one power of two.
const BUCKETS: usize = 1 << SCHEMA;

/// Observations by bucket. Only buckets with observations are there: at most eight for each power
/// of two, so some hundreds even if every duration that a session can have occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Native {
    /// Observations of zero.
    pub zero: u64,
    /// Observations by the index of their bucket: bucket i holds those above 2^((i-1)/8) and not
    /// above 2^(i/8).
    pub buckets: BTreeMap<i32, u64>,
}

impl Native {
    /// Adds observations of one value that is not negative.
    pub fn observe(&mut self, value: f64, times: u64) {
        match index(value) {
            Some(index) => *self.buckets.entry(index).or_default() += times,
            None => self.zero += times,
        }
    }

    /// How many observations there are.
    pub fn count(&self) -> u64 {
        self.zero + self.buckets.values().sum::<u64>()
    }
}

/// The bucket of a value, or `None` for the zero bucket.
fn index(value: f64) -> Option<i32> {
    if value.is_nan() || value <= ZERO_THRESHOLD {
        return None;
    }
    // value = fraction * 2^exponent, the fraction from 1 up to 2. The bits are exact where a
    // logarithm would round, and on a bound the side matters.
    let bits = value.to_bits();
    let exponent = i32::try_from(bits >> 52).unwrap_or(i32::MAX) - 1023;
    let fraction = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    let within = (0..BUCKETS).find(|step| fraction <= bound(*step)).unwrap_or(BUCKETS);
    Some(exponent * BUCKETS as i32 + within as i32)
}

/// 2^(step/8).
fn bound(step: usize) -> f64 {
    (step as f64 / BUCKETS as f64).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below() {
        for (value, wanted) in [
            (1.0, Some(0)),
            (1.0 + f64::EPSILON, Some(1)),
            (2.0, Some(8)),
            (2.0 * (1.0 + f64::EPSILON), Some(9)),
            (0.5, Some(-8)),
            (1024.0, Some(80)),
            (1e-7, Some(-186)),
            (std::f64::consts::SQRT_2, Some(4)),
            (0.0, None),
            (ZERO_THRESHOLD, None),
        ] {
            assert_eq!(index(value), wanted, "{value}");
        }
        assert_eq!(ZERO_THRESHOLD, (-128f64).exp2());
    }

    #[test]
    fn observations_are_counted_where_they_belong() {
        let mut native = Native::default();
        for value in [0.0, 1.0, 0.99, 60.0, 60.0] {
            native.observe(value, 1);
        }
        native.observe(30.0, 4);
        assert_eq!(native.zero, 1);
        assert_eq!(native.buckets, BTreeMap::from([(0, 2), (40, 4), (48, 2)]));
        assert_eq!(native.count(), 9);
    }

    proptest! {
        #[test]
        fn every_duration_is_between_the_bounds_of_its_bucket(ticks in 1..=u64::MAX) {
            let value = ticks as f64 / super::super::TICKS_PER_SECOND as f64;
            let index = index(value).unwrap();
            // Bounds away from powers of two are rounded, so the outermost digits may differ.
            let bound = |index: i32| (f64::from(index) / 8.0).exp2();
            prop_assert!(value <= bound(index) * (1.0 + 1e-12), "{value} in {index}");
            prop_assert!(value > bound(index - 1) * (1.0 - 1e-12), "{value} in {index}");
        }
    }
}
