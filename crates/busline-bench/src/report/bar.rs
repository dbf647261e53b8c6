//! A progress bar on the terminal of stderr.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;

/// Shows how far a benchmark is, on stderr, if that is a terminal.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
    begun: u64,
    cancelled: Arc<AtomicBool>,
}

impl Bar {
    /// A bar; setting `cancelled` ends the benchmark after its present run.
    pub fn new(cancelled: Arc<AtomicBool>) -> Self {
        Self { bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()), begun: 0, cancelled }
    }
}

impl Progress for Bar {
    fn begin(&mut self, steps: u64) {
        self.bar.set_length(steps);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed}, about {eta} left)") {
            self.bar.set_style(style);
        }
    }

    fn step(&mut self, what: &str) {
        self.bar.set_position(self.begun);
        self.bar.set_message(what.to_string());
        self.begun += 1;
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}
