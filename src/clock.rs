//! The one place that asks the machine for the time.

use chrono::{DateTime, Utc};

/// The machine's clock. Everything else is given its time.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}
