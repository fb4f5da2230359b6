//! Shows that long work goes on: a spinner on a terminal, lines elsewhere, nothing under a second.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes less time shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two lines, where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// One piece of work.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    started: Instant,
    terminal: bool,
    spinner: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Progress {
    /// Begins to show `what`, as in "building hello".
    pub(crate) fn new(what: impl Into<String>, dumb_terminal: bool) -> Self {
        Self {
            what: what.into(),
            started: Instant::now(),
            terminal: std::io::stderr().is_terminal() && !dumb_terminal,
            spinner: None,
            last_line: None,
        }
    }

    /// Tells how far the work is.
    pub(crate) fn at(&mut self, detail: &str) {
        if self.started.elapsed() < PATIENCE {
            return;
        }
        let text = format!("{}: {}", self.what, detail.trim());
        if self.terminal {
            self.spinner.get_or_insert_with(spinner).set_message(text);
        } else if self
            .last_line
            .is_none_or(|last| last.elapsed() >= LINE_INTERVAL)
        {
            self.last_line = Some(Instant::now());
            // When stderr is gone there is nobody left to tell.
            drop(writeln!(std::io::stderr(), "{text}"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // A constant template; the default style would do as well.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
