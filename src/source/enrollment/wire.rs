//! Pages of devices: the ids in Entra, and the enrolment states where the list has them. Members that
//! are not needed are skipped without being built.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::session::{Cell, DeviceStates, EnrollmentState};
use crate::source::reading::{Decoded, Decoder, Rows, Unreadable};
use crate::source::wire::{WireCell, body_text, object};

/// A list of devices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Its path, and what is asked of it.
    pub path: &'static str,
    /// Whether whatever it lists is enrolled.
    managed: bool,
}

/// Windows Autopilot's devices, each with its state.
pub(super) const AUTOPILOT: Shape =
    Shape { path: "/v1.0/deviceManagement/windowsAutopilotDeviceIdentities", managed: false };
/// Intune's managed devices: all of them are enrolled.
pub(super) const MANAGED: Shape =
    Shape { path: "/v1.0/deviceManagement/managedDevices?$select=azureADDeviceId", managed: true };

/// A decoded page.
#[derive(Debug, Default)]
pub struct DevicePage {
    /// The devices that have an id in Entra.
    pub devices: Vec<Device>,
    /// `@odata.nextLink`, as sent and not yet believed.
    pub next_link: Option<String>,
    /// How many rows the page had.
    pub rows: usize,
}

/// A listed device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `azureActiveDirectoryDeviceId` or `azureADDeviceId`.
    pub id: Box<str>,
    /// `enrollmentState`.
    pub state: EnrollmentState,
}

#[derive(Deserialize)]
struct WirePage<'a> {
    #[serde(borrow)]
    value: Vec<&'a RawValue>,
    #[serde(rename = "@odata.nextLink", default)]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct WireDevice<'a> {
    #[serde(rename = "azureActiveDirectoryDeviceId", alias = "azureADDeviceId", borrow)]
    id: WireCell<'a>,
    #[serde(rename = "enrollmentState", borrow)]
    state: Option<WireCell<'a>>,
}

/// Decodes a page of either list. A row that is no device, or one without an id, is left out: nothing
/// is counted here, and a state that is not known shows as such.
///
/// # Errors
/// Where the body as a whole is not the JSON of a collection.
pub fn decode(body: &[u8]) -> Result<DevicePage, serde_json::Error> {
    let text = body_text(body);
    let wire: WirePage<'_> = object(&text)?;
    let rows = wire.value.len();
    let devices = wire.value.iter().filter_map(|row| device(row)).collect();
    Ok(DevicePage { devices, rows, next_link: wire.next_link.filter(|link| !link.is_empty()) })
}

fn device(row: &RawValue) -> Option<Device> {
    let row: WireDevice<'_> = object(row.get()).ok()?;
    let Cell::Text(id) = row.id.0 else { return None };
    let state = match row.state.map(|cell| cell.0) {
        None | Some(Cell::Absent) => EnrollmentState::Unreported,
        Some(Cell::Text(text)) if text.trim().is_empty() => EnrollmentState::Unreported,
        Some(Cell::Text(text)) => EnrollmentState::parse(&text),
        Some(Cell::Integer(number)) => EnrollmentState::from_number(number),
        Some(Cell::Float(_) | Cell::Unusable) => EnrollmentState::Other,
    };
    Some(Device { id: id.trim().into(), state })
}

impl Shape {
    /// Takes down what this list says of a device.
    pub fn note(&self, device: &Device, devices: &mut DeviceStates) {
        if self.managed { devices.set_managed(&device.id) } else { devices.set(&device.id, device.state) }
    }
}

impl Decoder<DevicePage> for Shape {
    fn decode(&self, body: &[u8]) -> Result<Decoded<DevicePage>, Unreadable> {
        let mut page = decode(body).map_err(|error| Unreadable::from_json(&error, "a list of devices"))?;
        let next_link = page.next_link.take();
        Ok(Decoded { page, total: None, next_link, ..Decoded::default() })
    }
}

impl Rows for DevicePage {
    fn rows(&self) -> usize {
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_ids_and_states_of_every_spelling() {
        let body = r##"{"@odata.context": "x", "@odata.count": 9, "value": [
            {"@odata.type": "#microsoft.graph.windowsAutopilotDeviceIdentity", "id": "1", "enrollmentState": "notContacted",
             "azureActiveDirectoryDeviceId": "a", "model": "\ud800"},
            {"azureActiveDirectoryDeviceId": " b ", "enrollmentState": 2},
            {"azureActiveDirectoryDeviceId": "c", "enrollmentState": null},
            {"azureActiveDirectoryDeviceId": "d", "enrollmentState": "quarantined"},
            {"azureActiveDirectoryDeviceId": "e", "enrollmentState": ""},
            {"azureADDeviceId": "f"},
            {"azureADDeviceId": null}, {"azureADDeviceId": 7}, {"id": "2"}, null, 5, []
        ], "@odata.nextLink": "https://graph.example/next"}"##;
        let page = decode(body.as_bytes()).unwrap();
        let devices: Vec<_> = page.devices.iter().map(|device| (&*device.id, device.state)).collect();
        use EnrollmentState as S;
        assert_eq!(
            devices,
            [
                ("a", S::NotContacted),
                ("b", S::PendingReset),
                ("c", S::Unreported),
                ("d", S::Other),
                ("e", S::Unreported),
                ("f", S::Unreported)
            ]
        );
        assert_eq!((page.rows, page.next_link.as_deref()), (12, Some("https://graph.example/next")));
    }

    #[test]
    fn a_body_that_is_no_list_is_an_error() {
        for body in ["", "[]", "{}", r#"{"value": {}}"#, r#"{"value": [{"id": "1"}"#] {
            assert!(decode(body.as_bytes()).is_err(), "{body}");
        }
        let empty = decode(br#"{"value": [], "@odata.nextLink": ""}"#).unwrap();
        assert_eq!((empty.rows, empty.next_link), (0, None));
    }
}
