//! Which level the log has: the configuration's, or the command line's where that names none.

use tracing::info;

use crate::config::{Config, LogLevel};
use crate::logging::Level;

/// The log's level, and what it is without a word of the configuration.
pub(super) struct Log {
    flag: LogLevel,
    level: Level,
    current: LogLevel,
}

impl Log {
    /// A log that begins with the level of `--log.level`.
    pub(super) fn new(flag: LogLevel, level: Level) -> Self {
        Self { flag, level, current: flag }
    }

    /// Takes over what a configuration says that is now in force. A change is told at the wordier of the two
    /// levels, which both sides of it see.
    pub(super) fn obey(&mut self, config: &Config) {
        let level = config.log_level.unwrap_or(self.flag);
        let before = std::mem::replace(&mut self.current, level);
        if level == before {
            return;
        }
        let tell = || info!(from = before.as_str(), to = level.as_str(), "The log's level changes");
        if level < before {
            tell();
        }
        self.level.set(level);
        if level > before {
            tell();
        }
    }
}
