//! The people and devices of a tenant. Nobody is invented: they are called by number.

use std::sync::Arc;

use rand::distr::Distribution;
use rand_distr::Zipf;

use super::devices::Device;
use super::draw::{self, Chance, digest, guid, happens, weighted};
use super::options::{Options, TenantOptions};
use super::session::Participant;

/// How steeply helpers differ in how much they help: a few give most of it.
const HELPER_SKEW: f64 = 1.1;
/// One helper in so many works for a partner and comes from the partner's tenant.
const HELPERS_PER_PARTNER: usize = 8;
/// How much likelier it is that a property of a device outside management is not reported.
const UNENROLLED_ABSENT_SHARE: f64 = 0.6;

/// Who gives and who gets help in a tenant.
pub(super) struct Population {
    helpers: Vec<Arc<Participant>>,
    sharers: Vec<Sharer>,
    /// The devices that the tenant manages or has registered.
    pub devices: Vec<Device>,
    busy: Option<Zipf<f64>>,
}

/// A person who is helped, with what is known of the device.
pub(super) struct Sharer {
    /// The person at the device.
    pub participant: Arc<Participant>,
    /// The device alone, as sessions show it that nobody attends.
    pub unattended: Arc<Participant>,
    /// `sharerDeviceSerialNumber`.
    pub serial_number: Option<Arc<str>>,
    /// `deviceId`.
    pub device_id: Option<Arc<str>>,
}

impl Population {
    /// The population of a tenant, the same for the same seed.
    pub fn new(options: &Options, tenant: &TenantOptions) -> Self {
        let maker = Maker { seed: options.seed, absent_share: options.absent_share, tenant };
        let (helpers, helpers_devices): (Vec<_>, Vec<_>) =
            (1..=tenant.helpers.max(1)).map(|number| maker.helper(number)).unzip();
        let (sharers, sharers_devices): (Vec<_>, Vec<_>) =
            (1..=tenant.sharers.max(1)).map(|number| maker.sharer(number)).unzip();
        let devices = helpers_devices.into_iter().chain(sharers_devices).flatten().collect();
        Self { busy: Zipf::new(helpers.len() as f64, HELPER_SKEW).ok(), helpers, sharers, devices }
    }

    /// A helper; the first ones are busy.
    pub fn helper(&self, chance: &mut Chance) -> Arc<Participant> {
        let rank = self.busy.map_or(1.0, |busy| busy.sample(chance)) as usize;
        self.helpers[rank.clamp(1, self.helpers.len()) - 1].clone()
    }

    /// A person who is helped; all are alike.
    pub fn sharer(&self, chance: &mut Chance) -> &Sharer {
        use rand::RngExt;
        &self.sharers[chance.random_range(0..self.sharers.len())]
    }
}

/// Makes the people of one tenant.
struct Maker<'a> {
    seed: u64,
    absent_share: f64,
    tenant: &'a TenantOptions,
}

impl Maker<'_> {
    fn helper(&self, number: usize) -> (Arc<Participant>, Option<Device>) {
        const SYSTEMS: &[(&str, f64)] =
            &[("Windows 11 10.0.26100", 0.6), ("Windows 11 10.0.22631", 0.25), ("macOS 15.5", 0.15)];
        const STATES: &[(&str, f64)] =
            &[("enrolled", 0.92), ("unknown", 0.04), ("notContacted", 0.03), ("pendingReset", 0.01)];
        let person = self.digest("helper", number);
        let mut chance = draw::chance(person);
        let partner = number.is_multiple_of(HELPERS_PER_PARTNER);
        let domain = if partner { "partner".into() } else { self.tenant.name.to_lowercase() };
        let tenant_id = if partner { guid(&digest(&[b"partner tenant"])) } else { self.tenant.tenant_id.clone() };
        let state = weighted(&mut chance, STATES).map(Into::into);
        let mut participant = Participant {
            user_id: Some(guid(&person)),
            email: Some(format!("helper-{number:03}@{domain}.example")),
            tenant_id: Some(tenant_id),
            first_name: Some("Helper".into()),
            last_name: Some(format!("{number:03}")),
            os: weighted(&mut chance, SYSTEMS).map(Into::into),
            device_aad_id: Some(guid(&self.digest("helper device", number))),
            device_name: Some(format!("HELP-{number:03}")),
            enrollment_state: state,
        };
        // A partner's device is listed in the partner's tenant.
        let device = if partner { None } else { Device::of(&participant) };
        self.leave_out(&mut chance, &mut participant, self.absent_share);
        (Arc::new(participant), device)
    }

    fn sharer(&self, number: usize) -> (Sharer, Option<Device>) {
        const SYSTEMS: &[(&str, f64)] = &[
            ("Windows 11 10.0.26100", 0.50),
            ("Windows 11 10.0.22631", 0.20),
            ("Windows 10 10.0.19045", 0.14),
            ("macOS 15.5", 0.10),
            (ANDROID, 0.06),
        ];
        const STATES: &[(&str, f64)] = &[
            ("enrolled", 0.84),
            ("unknown", 0.06),
            ("notContacted", 0.04),
            ("pendingReset", 0.03),
            ("failed", 0.02),
            ("blocked", 0.01),
        ];
        let person = self.digest("sharer", number);
        let mut chance = draw::chance(person);
        let os = weighted(&mut chance, SYSTEMS);
        let state = weighted(&mut chance, STATES);
        let mut participant = Participant {
            user_id: Some(guid(&person)),
            email: Some(format!("sharer-{number:04}@{}.example", self.tenant.name.to_lowercase())),
            tenant_id: Some(self.tenant.tenant_id.clone()),
            first_name: Some("Sharer".into()),
            last_name: Some(format!("{number:04}")),
            os: os.map(Into::into),
            device_aad_id: Some(guid(&self.digest("sharer device", number))),
            device_name: Some(format!("PC-{number:04}")),
            enrollment_state: state.map(Into::into),
        };
        let device = Device::of(&participant);
        let absent_share = if state == Some("enrolled") { self.absent_share } else { UNENROLLED_ABSENT_SHARE };
        self.leave_out(&mut chance, &mut participant, absent_share);
        let mut known = |value: String| (!happens(&mut chance, absent_share)).then(|| Arc::from(value));
        let serial_number = known(format!("SN{number:08}"));
        let device_id = known(guid(&self.digest("managed device", number)));
        let unattended = Arc::new(without_person(&participant));
        // A dedicated Android device has no user: the report shows no recipient.
        let participant = if os == Some(ANDROID) { unattended.clone() } else { Arc::new(participant) };
        (Sharer { participant, unattended, serial_number, device_id }, device)
    }

    /// Takes away some of what a report may lack. E-mail address and tenant stay: the helper's are
    /// what most questions are about.
    fn leave_out(&self, chance: &mut Chance, participant: &mut Participant, device_share: f64) {
        for property in [&mut participant.user_id, &mut participant.first_name, &mut participant.last_name] {
            property.take_if(|_| happens(chance, self.absent_share));
        }
        participant.enrollment_state.take_if(|_| happens(chance, self.absent_share));
        for property in [&mut participant.os, &mut participant.device_aad_id, &mut participant.device_name] {
            property.take_if(|_| happens(chance, device_share));
        }
    }

    fn digest(&self, what: &str, number: usize) -> [u8; 32] {
        digest(&[
            &self.seed.to_le_bytes(),
            self.tenant.name.as_bytes(),
            what.as_bytes(),
            &(number as u64).to_le_bytes(),
        ])
    }
}

const ANDROID: &str = "Android 15";

fn without_person(participant: &Participant) -> Participant {
    Participant { user_id: None, email: None, first_name: None, last_name: None, ..participant.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chrono::DateTime;

    use super::*;

    fn population(seed: u64) -> Population {
        let tenant = TenantOptions::new("contoso");
        let options = Options { seed, ..Options::new(|| DateTime::UNIX_EPOCH, vec![]) };
        Population::new(&options, &tenant)
    }

    #[test]
    fn a_seed_names_the_same_people() {
        let devices = |seed| -> Vec<_> {
            population(seed).sharers.iter().map(|sharer| sharer.participant.device_aad_id.clone()).collect()
        };
        assert_eq!(devices(7), devices(7));
        assert_ne!(devices(7), devices(8));
    }

    #[test]
    fn few_helpers_give_most_help() {
        let population = population(1);
        let mut chance = draw::chance(digest(&[b"busy"]));
        let mut sessions: HashMap<Option<String>, usize> = HashMap::new();
        for _ in 0..2_400 {
            *sessions.entry(population.helper(&mut chance).email.clone()).or_default() += 1;
        }
        let mut counts: Vec<_> = sessions.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        assert!(counts[..4].iter().sum::<usize>() > 1_200, "{counts:?}");
        assert!(counts.len() >= 20, "{counts:?}");
    }

    #[test]
    fn some_helpers_come_from_another_tenant_and_some_properties_are_absent() {
        let population = population(1);
        let home = TenantOptions::new("contoso").tenant_id;
        let foreign = population.helpers.iter().filter(|helper| helper.tenant_id.as_ref() != Some(&home)).count();
        assert_eq!(foreign, 3);
        let devices = || population.sharers.iter().map(|sharer| &sharer.unattended);
        assert!(devices().any(|device| device.os.is_none()));
        assert!(devices().filter(|device| device.device_name.is_none()).count() > 20);
        assert!(devices().all(|device| device.email.is_none() && device.tenant_id.is_some()));
    }
}
