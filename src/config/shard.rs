//! Which of several exporters polls which tenant: rendezvous hashing. Each shard has a weight for each
//! tenant, and the heaviest owns it. One more shard takes from each of the others what it is heaviest
//! for, and nothing else moves.
//!
//! The weight is the first eight bytes, big-endian, of the SHA-256 of `v1/KEY/SHARD`; of equal weights
//! the lower shard's counts. The key is `id:` with the tenant's `tenant_id` in lower case, or `name:` with
//! its name, in lower case too, where there is none. A tenant that is given another name stays where it is,
//! and two entries that read one Entra tenant stay together: the service's limits are per tenant and
//! application.
//!
//! Nothing of this may change without another version: tenants would move away from their ledgers.

use sha2::{Digest, Sha256};

use super::{Config, Tenant};

/// What stands before each key. Another way of placing takes another version.
const VERSION: &str = "v1";
/// The most shards. With as many tenants as one exporter takes, each would have one of them.
pub const MAX_SHARDS: u32 = 1000;

/// One of several exporters that share the tenants of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    ordinal: u32,
    total: u32,
}

impl Shard {
    /// The only one: it owns every tenant.
    pub const ONLY: Self = Self { ordinal: 0, total: 1 };

    /// Shard `ordinal`, counted from 0, of so many.
    ///
    /// # Errors
    /// What is wrong and the remedy, where there is no such shard.
    pub fn new(ordinal: u32, total: u32) -> Result<Self, String> {
        if ordinal < total {
            return Ok(Self { ordinal, total });
        }
        Err(format!("shard {ordinal} is not below --total-shards={total}; shards are counted from 0"))
    }

    /// The shard of a pod of a StatefulSet: the ordinal at the end of its name.
    ///
    /// # Errors
    /// As [`Shard::new`], and where the name has no ordinal.
    pub fn of_pod(name: &str, total: u32) -> Result<Self, String> {
        let ordinal = name.rsplit_once('-').map_or("", |(_, ordinal)| ordinal);
        let plain = !ordinal.is_empty()
            && ordinal.bytes().all(|byte| byte.is_ascii_digit())
            && (ordinal == "0" || !ordinal.starts_with('0'));
        match ordinal.parse() {
            Ok(ordinal) if plain => Self::new(ordinal, total),
            _ => Err(format!(
                "{name:?} does not end in an ordinal, as the pods of a StatefulSet do; give --shard instead"
            )),
        }
    }

    /// Its number, from 0.
    pub fn ordinal(self) -> u32 {
        self.ordinal
    }

    /// How many there are.
    pub fn total(self) -> u32 {
        self.total
    }

    /// Whether a tenant is this shard's.
    pub fn owns(self, tenant: &Tenant) -> bool {
        owner(tenant, self.total) == self.ordinal
    }
}

/// Which of so many shards owns a tenant.
pub fn owner(tenant: &Tenant, total: u32) -> u32 {
    heaviest(&key(tenant), total)
}

impl Config {
    /// The same with this shard's tenants alone. There may be none.
    #[must_use]
    pub fn of_shard(mut self, shard: Shard) -> Self {
        self.tenants.retain(|tenant| shard.owns(tenant));
        self.shard = shard;
        self
    }
}

fn key(tenant: &Tenant) -> String {
    match &tenant.tenant_id {
        Some(id) => format!("id:{}", id.to_lowercase()),
        None => format!("name:{}", tenant.name.to_lowercase()),
    }
}

fn heaviest(key: &str, total: u32) -> u32 {
    // The last of equal ones is taken, so from the end.
    (0..total).rev().max_by_key(|shard| weight(key, *shard)).unwrap_or(0)
}

fn weight(key: &str, shard: u32) -> u64 {
    let digest = Sha256::digest(format!("{VERSION}/{key}/{shard}").as_bytes());
    u64::from_be_bytes(std::array::from_fn(|i| digest[i]))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn tenant(keys: &str) -> Tenant {
        let yaml = format!("tenants: [{{credential: {{kind: none}}, {keys}}}]");
        Config::from_yaml(&yaml, Path::new("x.yaml")).unwrap().tenants.remove(0)
    }

    /// Placements are on users' disks. If this fails, tenants would lose their ledgers by an upgrade.
    /// `printf v1/id:contoso.example/2 | sha256sum` tells the same.
    #[test]
    fn placements_never_change() {
        assert_eq!(weight("id:contoso.example", 2), 0x6f19_2fe8_634c_fd80);
        let keys = ["id:contoso.example", "id:11111111-2222-3333-4444-555555555555", "name:fabrikam", "name:é", "id:"];
        let placed = keys.map(|key| [1, 2, 3, 4, 8, 100, 1000].map(|total| heaviest(key, total)));
        let expected = [
            [0, 0, 0, 3, 6, 23, 820],
            [0, 1, 1, 1, 6, 85, 662],
            [0, 1, 1, 1, 1, 54, 549],
            [0, 0, 0, 0, 4, 20, 907],
            [0, 0, 0, 3, 6, 88, 539],
        ];
        assert_eq!(placed, expected);
    }

    #[test]
    fn the_key_is_the_tenant_id_and_the_name_only_where_there_is_none() {
        assert_eq!(key(&tenant("name: A, tenant_id: Contoso.Example")), "id:contoso.example");
        assert_eq!(key(&tenant("name: B, tenant_id: contoso.example")), "id:contoso.example");
        assert_eq!(key(&tenant("name: Straße A")), "name:straße a");
    }

    #[test]
    fn a_pods_ordinal_is_at_the_end_of_its_name() {
        for (pod, total, ordinal) in [("exporter-0", 1, 0), ("a-b-12", 13, 12), ("x-1-2", 3, 2), ("-0", 1, 0)] {
            assert_eq!(Shard::of_pod(pod, total).map(Shard::ordinal), Ok(ordinal), "{pod}");
        }
        for wrong in ["", "0", "exporter", "exporter-", "a-1b", "a-7d9f8-x2", "a-01", "a-00", "a-+1", "a-4294967296"] {
            let error = Shard::of_pod(wrong, 1000).unwrap_err();
            assert!(error.contains("does not end in an ordinal") && error.contains("give --shard instead"), "{error}");
        }
        let error = Shard::of_pod("exporter-3", 3).unwrap_err();
        assert_eq!(error, "shard 3 is not below --total-shards=3; shards are counted from 0");
        assert!(Shard::new(2, 2).is_err() && Shard::new(0, 0).is_err() && Shard::new(1, 2).is_ok());
    }

    #[test]
    fn a_configuration_of_a_shard_has_its_tenants_in_their_order() {
        let list: Vec<_> = (0..20).map(|n| format!("{{name: t{n}, credential: {{kind: none}}}}")).collect();
        let yaml = format!("tenants: [{}]", list.join(", "));
        let whole = Config::from_yaml(&yaml, Path::new("x.yaml")).unwrap();
        let mut seen = Vec::new();
        for ordinal in 0..3 {
            let part = whole.clone().of_shard(Shard::new(ordinal, 3).unwrap());
            assert_eq!((part.configured, part.hash, part.shard.ordinal()), (20, whole.hash, ordinal));
            let places: Vec<_> = part
                .tenants
                .iter()
                .map(|tenant| whole.tenants.iter().position(|other| other.name == tenant.name).unwrap())
                .collect();
            assert!(places.is_sorted(), "{places:?}");
            seen.extend(places);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        assert_eq!(whole.clone().of_shard(Shard::ONLY).tenants, whole.tenants);
    }

    /// Each has its part, to within what chance does: 10 000 tenants are 2500 a shard, give or take 43.
    #[test]
    fn the_shards_have_about_as_many_each() {
        let mut loads = [0_i32; 4];
        (0..10_000).for_each(|n| loads[heaviest(&format!("id:tenant-{n}"), 4) as usize] += 1);
        assert!(loads.iter().all(|load| (load - 2500).abs() < 220), "{loads:?}");
    }

    proptest! {
        /// From n shards to n + 1, tenants move to the new one only, and about one in n + 1 does.
        #[test]
        fn one_more_shard_takes_its_part_and_moves_nothing_else(total in 1..40_u32, seed in any::<u32>()) {
            let keys: Vec<_> = (0..400).map(|n| format!("id:{seed}-{n}")).collect();
            let mut moved = 0;
            for key in &keys {
                let (before, after) = (heaviest(key, total), heaviest(key, total + 1));
                prop_assert!(before < total && (after == before || after == total), "{key}: {before} to {after}");
                moved += u32::from(after != before);
            }
            let expected = 400.0 / f64::from(total + 1);
            let spread = (expected * (1.0 - 1.0 / f64::from(total + 1))).sqrt();
            prop_assert!((f64::from(moved) - expected).abs() < 7.0 * spread + 1.0, "{moved} of about {expected}");
        }
    }
}
