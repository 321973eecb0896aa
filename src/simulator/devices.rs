//! The devices of a tenant, as two lists: those that are registered with Windows Autopilot, each with
//! its enrolment state, and those that Intune manages, which are the enrolled ones.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::draw::{digest, guid};
use super::options::{Options, TenantOptions};
use super::population::Population;
use super::scenario::Scenario;
use super::session::Participant;
use super::wire::hash;

const ENROLLED: &str = "enrolled";
/// One Windows device in so many was never registered with Autopilot.
const UNREGISTERED_EVERY: u64 = 8;

/// A device as the lists show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its id in Entra; `None` for one that never joined.
    pub entra_id: Option<String>,
    /// Its `enrollmentState` in the list of Autopilot, if it stands there.
    pub autopilot: Option<Cow<'static, str>>,
    /// Whether it stands in the list of managed devices.
    pub managed: bool,
}

impl Device {
    /// A participant's device by its true state. `None` if no list shows it: only Windows is registered
    /// with Autopilot, and only what is enrolled is managed.
    pub(super) fn of(participant: &Participant) -> Option<Self> {
        let (id, state) = (participant.device_aad_id.as_ref()?, participant.enrollment_state.as_ref()?);
        let windows = participant.os.as_ref().is_some_and(|os| os.starts_with("Windows"));
        let managed = state == ENROLLED;
        let registered = windows && !(managed && hash(id, "autopilot").is_multiple_of(UNREGISTERED_EVERY));
        let autopilot = registered.then(|| state.clone());
        (managed || registered).then(|| Self { entra_id: Some(id.clone()), autopilot, managed })
    }

    /// The state that follows from the lists.
    pub fn state(&self) -> Option<&str> {
        if self.managed { Some(ENROLLED) } else { self.autopilot.as_deref() }
    }
}

/// The devices of one tenant.
pub(super) struct Directory {
    devices: Vec<Device>,
}

impl Directory {
    /// Those of the tenant's people, and one of each list that never joined Entra.
    pub fn new(options: &Options, tenant: &TenantOptions) -> Self {
        let mut devices = Population::new(options, tenant).devices;
        devices.push(Device { entra_id: None, autopilot: Some("notContacted".into()), managed: false });
        devices.push(Device { entra_id: None, autopilot: None, managed: true });
        Self { devices }
    }

    /// Every device.
    pub fn all(&self) -> &[Device] {
        &self.devices
    }

    /// Adds a device, in place of one of the same id.
    pub fn set(&mut self, device: Device) {
        match self.devices.iter_mut().find(|known| known.entra_id == device.entra_id) {
            Some(known) => *known = device,
            None => self.devices.push(device),
        }
    }
}

/// The lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Autopilot,
    Managed,
}

impl List {
    /// The list at a path.
    pub fn at(path: &str) -> Option<Self> {
        [Self::Autopilot, Self::Managed].into_iter().find(|list| list.path() == path)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Autopilot => "/v1.0/deviceManagement/windowsAutopilotDeviceIdentities",
            Self::Managed => "/v1.0/deviceManagement/managedDevices",
        }
    }

    /// What reading it needs: one of these.
    pub fn roles(self) -> &'static str {
        match self {
            Self::Autopilot => "DeviceManagementServiceConfig.Read.All, DeviceManagementServiceConfig.ReadWrite.All",
            Self::Managed => "DeviceManagementManagedDevices.Read.All, DeviceManagementManagedDevices.ReadWrite.All",
        }
    }

    /// Whether the application may read it.
    pub fn is_permitted(self, tenant: &TenantOptions) -> bool {
        match self {
            Self::Autopilot => tenant.autopilot_permitted,
            Self::Managed => tenant.managed_devices_permitted,
        }
    }

    fn holds(self, device: &Device) -> bool {
        match self {
            Self::Autopilot => device.autopilot.is_some(),
            Self::Managed => device.managed,
        }
    }

    /// The row of a device.
    fn row(self, device: &Device) -> Value {
        const NONE: &str = "00000000-0000-0000-0000-000000000000";
        let entra_id = device.entra_id.as_deref().unwrap_or(NONE);
        let id = guid(&digest(&[self.path().as_bytes(), entra_id.as_bytes()]));
        match self {
            Self::Autopilot => json!({
                "id": id,
                "groupTag": "",
                "manufacturer": "",
                "model": "",
                "enrollmentState": device.autopilot,
                "azureActiveDirectoryDeviceId": entra_id,
                "displayName": "",
            }),
            Self::Managed => json!({"id": id, "azureADDeviceId": entra_id}),
        }
    }
}

/// What of the simulator shapes a page.
pub(super) struct Layout<'a> {
    /// The origin that the request came to.
    pub origin: &'a str,
    /// The origin of the scenario `foreign-link`.
    pub foreign_origin: &'a str,
    /// Rows of a page.
    pub page_size: usize,
}

/// Encodes a page; `Err` with a message for an option that is not supported.
pub(super) fn page(
    directory: &Directory,
    list: List,
    query: &str,
    layout: &Layout<'_>,
    scenario: Scenario,
) -> Result<Vec<u8>, String> {
    let (mut offset, mut select) = (0, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let invalid = || format!("The value of query option '{name}' is not valid.");
        match &*name {
            "$skiptoken" => offset = usize::from_str_radix(&value, 16).map_err(|_| invalid())?,
            "$select" if list == List::Managed => select = Some(value.into_owned()),
            name if name.starts_with('$') => return Err(format!("The query option '{name}' is not supported.")),
            _ => {}
        }
    }
    let listed: Vec<_> = directory.devices.iter().filter(|device| list.holds(device)).collect();
    let end = listed.len().min(offset.saturating_add(layout.page_size));
    let page = listed.get(offset..end).unwrap_or_default();
    let mut rows: Vec<_> = page.iter().map(|device| list.row(device)).collect();
    if let Some(select) = &select {
        rows.iter_mut().try_for_each(|row| selected(row, select))?;
    }
    let next = match scenario {
        Scenario::Loop if end == listed.len() => Some(0),
        Scenario::ForeignLink => Some(end),
        _ => (end < listed.len()).then_some(end),
    };
    let context = list.path().rsplit('/').next().unwrap_or_default();
    let context = select.as_ref().map_or_else(|| context.to_owned(), |select| format!("{context}({select})"));
    let mut page = json!({
        "@odata.context": format!("{}/v1.0/$metadata#deviceManagement/{context}", layout.origin),
        "value": rows,
    });
    if let Some(next) = next {
        let origin = if scenario == Scenario::ForeignLink { layout.foreign_origin } else { layout.origin };
        let select = select.map_or_else(String::new, |select| format!("$select={select}&"));
        page["@odata.nextLink"] = format!("{origin}{}?{select}$skiptoken={next:08x}", list.path()).into();
    }
    Ok(page.to_string().into_bytes())
}

/// Leaves of a row what was selected.
fn selected(row: &mut Value, select: &str) -> Result<(), String> {
    let Value::Object(members) = row else { return Ok(()) };
    let names: Vec<_> = select.split(',').map(str::trim).collect();
    if let Some(unknown) = names.iter().find(|name| !members.contains_key(**name)) {
        return Err(format!("Could not find a property named '{unknown}'."));
    }
    members.retain(|name, _| names.contains(&name.as_str()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chrono::DateTime;

    use super::*;

    fn directory() -> Directory {
        Directory::new(&Options::new(|| DateTime::UNIX_EPOCH, vec![]), &TenantOptions::new("contoso"))
    }

    fn read(list: List, query: &str) -> Value {
        let layout = Layout { origin: "https://here", foreign_origin: "https://there", page_size: 50 };
        serde_json::from_slice(&page(&directory(), list, query, &layout, Scenario::None).unwrap()).unwrap()
    }

    /// Every row, page by page.
    fn all(list: List, query: &str) -> Vec<Value> {
        let (mut rows, mut query) = (Vec::new(), query.to_owned());
        loop {
            let page = read(list, &query);
            rows.extend(page["value"].as_array().unwrap().iter().cloned());
            let Some(link) = page["@odata.nextLink"].as_str() else { return rows };
            let (path, rest) = link.strip_prefix("https://here").unwrap().split_once('?').unwrap();
            assert_eq!(path, list.path());
            query = rest.to_owned();
        }
    }

    #[test]
    fn the_lists_hold_what_the_people_use() {
        let options = Options { absent_share: 0.0, ..Options::new(|| DateTime::UNIX_EPOCH, vec![]) };
        let population = Population::new(&options, &TenantOptions::new("contoso"));
        let listed: HashMap<_, _> =
            population.devices.iter().map(|device| (device.entra_id.clone(), device.state().unwrap())).collect();
        let mut chance = super::super::draw::chance(digest(&[b"listed"]));
        let (mut known, mut unknown) = (0, 0);
        for _ in 0..500 {
            let participant = &population.sharer(&mut chance).participant;
            match participant.device_aad_id.as_ref().and_then(|_| listed.get(&participant.device_aad_id)) {
                Some(state) => {
                    assert!(participant.enrollment_state.as_ref().is_none_or(|said| said == state));
                    known += 1;
                }
                None => unknown += 1,
            }
        }
        assert!(known > 300 && unknown > 10, "{known} {unknown}");
    }

    #[test]
    fn pages_hold_every_device_once() {
        let directory = directory();
        let autopilot = all(List::Autopilot, "");
        assert_eq!(autopilot.len(), directory.devices.iter().filter(|device| device.autopilot.is_some()).count());
        assert!(autopilot.len() > 400);
        assert!(autopilot.iter().all(|row| row["enrollmentState"].is_string() && row["id"].is_string()));
        let managed = all(List::Managed, "$select=azureADDeviceId");
        assert_eq!(managed.len(), directory.devices.iter().filter(|device| device.managed).count());
        assert!(managed.iter().all(|row| row.as_object().unwrap().len() == 1));
        let mut ids: Vec<_> = managed.iter().map(|row| row["azureADDeviceId"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), managed.len());
    }

    #[test]
    fn options_that_are_not_documented_are_refused() {
        let layout = Layout { origin: "", foreign_origin: "", page_size: 5 };
        for (list, query) in [
            (List::Autopilot, "$select=enrollmentState"),
            (List::Autopilot, "$filter=a eq 1"),
            (List::Managed, "$select=secret"),
            (List::Managed, "$skiptoken=zz"),
        ] {
            assert!(page(&directory(), list, query, &layout, Scenario::None).is_err(), "{query}");
        }
    }
}
