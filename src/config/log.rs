//! How much is logged.

/// `log.level`, and the flag `--log.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what needs somebody.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what goes on: a line or two each poll.
    #[default]
    Info,
    /// And each step of it.
    Debug,
    /// And each event within a step.
    Trace,
}

impl LogLevel {
    /// All of them, from the quietest on.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its name in the configuration and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
