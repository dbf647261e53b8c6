//! How far one scenario is.

use crate::progress::Progress;

/// The steps of one scenario, counted for whoever watches.
pub(super) struct Steps<'a> {
    name: &'static str,
    begun: u64,
    all: u64,
    progress: &'a mut dyn Progress,
}

impl<'a> Steps<'a> {
    pub(super) fn new(name: &'static str, all: u64, progress: &'a mut dyn Progress) -> Self {
        Self { name, begun: 0, all, progress }
    }

    /// Steps that were begun, none of which is ever broken off.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Begins the next step; `false` if no more are wanted.
    pub(super) fn next(&mut self) -> bool {
        if self.progress.is_cancelled() {
            return false;
        }
        self.begun += 1;
        self.progress.step(&format!("{}: {} of {}", self.name, self.begun, self.all));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cancels after so many steps.
    struct Cancelling(Vec<String>, usize);

    impl Progress for Cancelling {
        fn begin(&mut self, _steps: u64) {}

        fn step(&mut self, what: &str) {
            self.0.push(what.into());
        }

        fn end(&mut self) {}

        fn is_cancelled(&self) -> bool {
            self.0.len() == self.1
        }
    }

    #[test]
    fn steps_are_told_until_they_are_cancelled() {
        let mut progress = Cancelling(Vec::new(), 2);
        let mut steps = Steps::new("wake", 5, &mut progress);
        assert_eq!([steps.next(), steps.next(), steps.next()], [true, true, false]);
        assert_eq!(progress.0, ["wake: 1 of 5", "wake: 2 of 5"]);
    }
}
