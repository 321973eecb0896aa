//! The look-up of enrolment states as part of a poll: it never fails the poll, and what became of it is
//! on record in metrics, status and log.

use std::sync::Arc;

use super::TenantPoll;
use crate::clock;
use crate::session::DeviceStates;
use crate::source::SourceError;
use crate::source::enrollment::{Looked, News};
use crate::status::PollError;

/// What is known of devices now; nothing where the look-up is off or has never succeeded.
pub(super) async fn devices(tenant: &TenantPoll) -> Arc<DeviceStates> {
    let Some(lookup) = tenant.source.enrollment_lookup() else { return Arc::default() };
    let Looked { devices, news } = lookup.look_up().await;
    match &news {
        News::Kept | News::UnderWay(_) => {}
        News::Refreshed => succeeded(tenant, devices.len()),
        News::Failed(error) => failed(tenant, error),
    }
    tenant.told.lookup(&news, devices.len());
    devices
}

fn succeeded(tenant: &TenantPoll, devices: usize) {
    let now = clock::now();
    tenant.status.update(&tenant.name, |row| {
        let lookup = row.enrollment_lookup.get_or_insert_default();
        (lookup.up, lookup.devices) = (Some(true), devices as u64);
        (lookup.last_success, lookup.last_error) = (Some(now), None);
    });
    tenant.metrics.enrollment_looked_up(now, devices);
}

fn failed(tenant: &TenantPoll, error: &SourceError) {
    tenant.status.update(&tenant.name, |row| {
        let lookup = row.enrollment_lookup.get_or_insert_default();
        lookup.up = Some(false);
        lookup.last_error = Some(PollError { reason: error.reason, message: error.message.clone() });
    });
    tenant.metrics.enrollment_lookup_failed(error.reason);
}
