//! The enrolment states that reports lack: devices are listed, some pages in each poll, and what is
//! known of them is kept until the next listing is whole. A poll waits for it a bounded time and goes
//! on without it.

mod wire;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use url::Url;

use super::graph::{Client, below};
use super::odata::Links;
use super::reading::Paged;
use super::{Endpoint, SourceError};
use crate::config;
use crate::session::DeviceStates;
use crate::status::FailureReason;

use wire::{AUTOPILOT, MANAGED, Shape};
pub use wire::{Device, DevicePage, decode};

/// The longest that a poll waits for a listing; also at most half its interval, so that the sessions
/// have their time too. A listing that takes longer goes on in the next poll.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The longest that it waits while no listing was ever whole, as long as pages come: a session keeps the
/// state that is known when it is counted, and the first poll counts those of a month. Below five minutes,
/// the default interval, so that the poll does not look stale.
const MAX_FIRST_WAIT: Duration = Duration::from_secs(240);
/// How much of that attempts that fail may take, and at most half of it: the failure is then told by
/// its own words and not as a wait in vain.
const MAX_LOSS: Duration = Duration::from_secs(30);
/// A failed look-up is tried again after this, or after the refresh interval where that is shorter:
/// a missing permission is not there a poll later.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(300);
/// Devices that are kept: 20 MB of them, twice while a listing goes on. Few tenants have as many.
pub const MAX_DEVICES: usize = 500_000;

/// A tenant's look-up.
pub struct Lookup {
    client: Arc<Client>,
    origin: Url,
    refresh: Duration,
    wait: Duration,
    first_wait: Duration,
    max_devices: usize,
    state: Mutex<State>,
}

/// What a poll gets.
#[derive(Debug)]
pub struct Looked {
    /// What is known of devices: the last whole listing. Nothing before the first.
    pub devices: Arc<DeviceStates>,
    /// What happened in this poll.
    pub news: News,
}

/// What happened to the look-up in one poll.
#[derive(Clone, Debug)]
pub enum News {
    /// Nothing was due.
    Kept,
    /// So many devices are listed; the next poll goes on.
    UnderWay(usize),
    /// The devices were listed as a whole.
    Refreshed,
    /// They could not be: what was known before stays.
    Failed(SourceError),
}

#[derive(Default)]
struct State {
    devices: Arc<DeviceStates>,
    /// Whether a listing was ever whole.
    is_known: bool,
    /// When the next listing is due; at once where there was none.
    due: Option<Instant>,
    listing: Option<Listing>,
}

/// A listing under way.
struct Listing {
    lists: VecDeque<(Shape, Paged<DevicePage>)>,
    devices: DeviceStates,
    max_devices: usize,
    pages: u64,
}

impl Lookup {
    /// Prepares a look-up that lists the devices every `refresh`; sends nothing.
    pub(super) fn new(client: Arc<Client>, tenant: &config::Tenant, refresh: Duration) -> Self {
        Self {
            client,
            origin: tenant.graph_url.clone(),
            refresh,
            wait: MAX_WAIT.min(tenant.poll_interval / 2),
            first_wait: MAX_FIRST_WAIT,
            max_devices: MAX_DEVICES,
            state: Mutex::default(),
        }
    }

    /// The client that lists the devices.
    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// What is known of devices; lists them first where that is due. Never fails and takes a bounded
    /// time.
    pub async fn look_up(&self) -> Looked {
        let state = &mut *self.state.lock().await;
        if state.due.is_some_and(|due| Instant::now() < due) {
            return Looked { devices: state.devices.clone(), news: News::Kept };
        }
        let mut listing = state.listing.take().unwrap_or_else(|| self.list());
        let before = listing.pages;
        let until = Instant::now() + if state.is_known { self.wait } else { self.first_wait.max(self.wait) };
        let news = match listing.go_on(until, self.wait).await {
            Ok(true) => {
                (state.devices, state.is_known) = (Arc::new(listing.devices), true);
                News::Refreshed
            }
            Err(error) => News::Failed(error),
            Ok(false) if listing.pages > before => {
                let listed = listing.devices.len();
                state.listing = Some(listing);
                News::UnderWay(listed)
            }
            Ok(false) => News::Failed(self.silence()),
        };
        state.due = match &news {
            News::Kept | News::UnderWay(_) => None,
            News::Refreshed => Some(Instant::now() + self.refresh),
            News::Failed(_) => Some(Instant::now() + self.refresh.min(PAUSE_AFTER_FAILURE)),
        };
        Looked { devices: state.devices.clone(), news }
    }

    /// Autopilot first: being managed adds to what it says.
    fn list(&self) -> Listing {
        let list = |endpoint: Endpoint, shape: Shape| {
            let links = Links::new(endpoint, below(&self.origin, shape.path), Arc::new(shape));
            (
                shape,
                Paged::within(
                    self.client.small_budget(MAX_LOSS.min(self.wait / 2)),
                    self.client.clone(),
                    Box::new(links),
                ),
            )
        };
        let lists = [list(Endpoint::AutopilotDevices, AUTOPILOT), list(Endpoint::ManagedDevices, MANAGED)];
        Listing { lists: lists.into(), devices: DeviceStates::default(), max_devices: self.max_devices, pages: 0 }
    }

    fn silence(&self) -> SourceError {
        let message = format!(
            "no page of devices came within {} s, and a poll waits no longer; the next ones try again",
            self.wait.as_secs_f64()
        );
        SourceError::new(FailureReason::Timeout, message)
    }
}

impl Listing {
    /// Goes on until then, and waits no longer than this for one page; whether the listing is whole.
    async fn go_on(&mut self, until: Instant, for_a_page: Duration) -> Result<bool, SourceError> {
        while let Some((shape, list)) = self.lists.front_mut() {
            let wait = for_a_page.min(until.saturating_duration_since(Instant::now()));
            let Ok(read) = tokio::time::timeout(wait, list.next()).await else { return Ok(false) };
            match read? {
                None => drop(self.lists.pop_front()),
                Some(page) => {
                    self.pages += 1;
                    page.devices.iter().for_each(|device| shape.note(device, &mut self.devices));
                }
            }
            if self.devices.len() > self.max_devices {
                let message = format!(
                    "there are more than {} devices, and no more are kept; set enrollment_lookup to false",
                    self.max_devices
                );
                return Err(SourceError::new(FailureReason::TooLarge, message));
            }
        }
        Ok(true)
    }
}
