//! The process in numbers: `process_*`, by the prometheus crate's collector.

use std::fmt;
use std::time::Duration;

use chrono::DateTime;
use prometheus::Registry;
use prometheus::proto::MetricFamily;

use super::{Versioned, wire};

const CPU: &str = "process_cpu_seconds_total";
const START_TIME: &str = "process_start_time_seconds";

/// `process_*` as a part of the exposition that is read at most once a second: the kernel counts
/// descriptors and pages for it, which takes longer than all else that a scrape does.
///
/// Nothing is shown that is older than a second. Only Linux tells.
pub struct Process {
    uptime: Box<dyn Fn() -> Duration + Send + Sync>,
    registry: Registry,
}

impl Process {
    /// Of this process. `uptime` is a clock that never goes back.
    ///
    /// # Errors
    /// Where the crate's collector has a name that Prometheus does not allow.
    pub fn new(uptime: impl Fn() -> Duration + Send + Sync + 'static) -> prometheus::Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { uptime: Box::new(uptime), registry })
    }
}

impl Versioned for Process {
    fn version(&self) -> u64 {
        (self.uptime)().as_secs()
    }

    fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        let start = families.iter().find(|family| family.name() == START_TIME);
        let start = start.and_then(|family| Some(family.get_metric().first()?.get_gauge().value()));
        let start = start.and_then(|seconds| DateTime::from_timestamp(seconds as i64, 0));
        for (family, start) in families.iter_mut().filter(|family| family.name() == CPU).zip(start) {
            family.metric.iter_mut().for_each(|metric| wire::set_created(metric, start));
        }
        families
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn each_second_has_its_own_version() {
        let milliseconds = Arc::new(AtomicU64::new(0));
        let clock = milliseconds.clone();
        let process = Process::new(move || Duration::from_millis(clock.load(Ordering::SeqCst))).unwrap();
        let version_at = |time| {
            milliseconds.store(time, Ordering::SeqCst);
            process.version()
        };
        assert_eq!(version_at(1000), version_at(1999));
        assert_ne!(version_at(1999), version_at(2000));
    }

    #[test]
    fn the_time_of_the_cpu_was_created_with_the_process() {
        let process = Process::new(|| Duration::ZERO).unwrap();
        let families = process.gather();
        let metric = |name: &str| families.iter().find(|family| family.name() == name).unwrap().metric[0].clone();
        assert!(metric("process_resident_memory_bytes").get_gauge().value() > 0.0);
        let start = metric(START_TIME).get_gauge().value() as i64;
        assert_eq!(wire::created(&metric(CPU)), DateTime::from_timestamp(start, 0));
    }
}
