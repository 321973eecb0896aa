//! How far long readings are: a bar for each on a terminal, now and then a line in a log.

mod bar;
mod lines;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use crate::source::Progress;

/// Standard error, which log lines and bars share.
#[derive(Clone)]
pub(super) struct Display {
    /// `None` where it is not a terminal: a bar would fill a log with control characters.
    bars: Option<MultiProgress>,
}

impl Display {
    /// With bars if standard error is a terminal.
    pub(super) fn new() -> Self {
        let bars = io::stderr().is_terminal().then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self { bars }
    }

    /// Writes a line of the log, above the bars where there are any.
    pub(super) fn log(&self, line: &str) {
        // There is nobody to tell when standard error is gone.
        self.beside_bars(|| drop(io::stderr().lock().write_all(line.as_bytes())));
    }

    /// Does something that writes to the terminal, while no bar is on it.
    pub(super) fn beside_bars<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// What the readings of a tenant tell their progress to. It is shown until one of them reached its
    /// end: later ones are as long, but nobody waits for them.
    pub(super) fn tenant(&self, name: &str) -> Arc<dyn Progress> {
        match &self.bars {
            Some(bars) => Arc::new(bar::Bar::new(bars.clone(), name)),
            None => Arc::new(lines::Lines::default()),
        }
    }

    /// A bar of so many series that are to be written; hidden where it is not a terminal.
    pub(super) fn writing(&self, series: u64) -> ProgressBar {
        match &self.bars {
            Some(bars) => bar::writing(bars, series),
            None => ProgressBar::hidden(),
        }
    }

    /// Takes all bars away, for good: the program ends, and what still runs must draw no more.
    pub(super) fn close(&self) {
        if let Some(bars) = &self.bars {
            // Fails only where the terminal is gone.
            let _ = bars.clear();
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}
