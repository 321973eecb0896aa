//! One tenant's bar on the terminal.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::source::{Far, Progress};

/// How often a bar moves by itself while the service is at work: often enough to look alive.
const TICK: Duration = Duration::from_millis(250);
/// While it is not known how much there is to read.
const SPINNER: &str = "{prefix} {spinner} {msg}, {elapsed}";
/// While it is known.
const BAR: &str = "{prefix} [{bar:30}] {human_pos} of {human_len} rows, {percent} %, {eta} left";

/// While history is written.
const WRITING: &str = "backfill [{bar:30}] {human_pos} of {human_len} series, {percent} %, {eta} left";

/// Shows how many series are written.
pub(super) fn writing(bars: &MultiProgress, series: u64) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(series).with_style(style(WRITING)));
    bar.enable_steady_tick(TICK);
    bar
}

/// Shows one tenant's first reading.
pub(super) struct Bar {
    bars: MultiProgress,
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    shown: Option<ProgressBar>,
    measured: bool,
    over: bool,
}

impl Bar {
    /// Shows nothing yet: most readings are one page and over before anybody could look.
    pub fn new(bars: MultiProgress, name: &str) -> Self {
        Self { bars, name: name.to_owned(), state: Mutex::default() }
    }

    fn show(&self, change: impl FnOnce(&mut State, &ProgressBar)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.over {
            return;
        }
        let bar = state.shown.get_or_insert_with(|| {
            let bar = self.bars.add(ProgressBar::no_length().with_prefix(self.name.clone()).with_style(style(SPINNER)));
            bar.enable_steady_tick(TICK);
            bar
        });
        let bar = bar.clone();
        change(&mut state, &bar);
    }
}

impl Progress for Bar {
    fn page(&self, far: Far) {
        if far.total.is_some_and(|total| far.rows >= total) && far.pages == 1 {
            return;
        }
        self.show(|state, bar| {
            if let Some(total) = far.total {
                bar.set_length(total.max(far.rows));
                if !std::mem::replace(&mut state.measured, true) {
                    bar.set_style(style(BAR));
                }
            }
            bar.set_position(far.rows);
            bar.set_message(format!("{} rows", far.rows));
        });
    }

    fn step(&self, what: &'static str) {
        self.show(|state, bar| {
            if std::mem::take(&mut state.measured) {
                bar.set_style(style(SPINNER));
            }
            bar.set_message(what);
        });
    }

    fn ended(&self, whole: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.shown.take() {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        *state = State { over: state.over || whole, ..State::default() };
    }
}

/// The templates are constants, which the test reads.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, ProgressDrawTarget, TermLike};

    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for template in [SPINNER, BAR] {
            ProgressStyle::with_template(template).unwrap();
        }
    }

    fn terminal() -> (InMemoryTerm, Bar) {
        let terminal = InMemoryTerm::new(10, 100);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()) as Box<dyn TermLike>);
        (terminal, Bar::new(MultiProgress::with_draw_target(target), "contoso"))
    }

    fn far(pages: u64, rows: u64, total: Option<u64>) -> Far {
        Far { pages, rows, total }
    }

    #[test]
    fn a_bar_shows_how_far_the_first_reading_is_and_goes_with_it() {
        let (terminal, bar) = terminal();
        bar.page(far(1, 50, Some(50)));
        assert_eq!(terminal.contents(), "", "a reading of one page needs none");
        bar.ended(false);
        bar.page(far(1, 50, Some(200)));
        let shown = terminal.contents();
        assert!(shown.starts_with("contoso [███") && shown.contains("50 of 200 rows, 25 %"), "{shown}");
        bar.ended(false);
        assert_eq!(terminal.contents(), "");
        bar.page(far(1, 50, None));
        assert!(terminal.contents().contains("50 rows, "), "{}", terminal.contents());
        bar.step("the service makes the report");
        bar.ended(true);
        assert_eq!(terminal.contents(), "");
        bar.page(far(1, 50, Some(200)));
        assert_eq!(terminal.contents(), "", "only a first reading is shown");
    }
}
