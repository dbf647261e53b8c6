//! Which rate comes next: doubled until one is too high, then halved between.
//!
//! A rate is too high if it fails twice: one stall of the machine in a few seconds would else decide.

/// The search for the highest rate that holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep {
    held: Option<f64>,
    failed: Option<f64>,
    /// Failed once, and is tried again.
    doubted: Option<f64>,
}

/// The first rate. Unit: envelopes a second.
const FIRST: f64 = 1_000.0;

/// Highest rate that is tried.
const RATE_MAX: f64 = 1_000_000.0;

/// Below this rate nothing is tried any more.
const RATE_MIN: f64 = 50.0;

/// How close the rates that held and failed lie at the end.
const CLOSE: f64 = 1.15;

impl Sweep {
    pub(super) fn new() -> Self {
        Self { held: None, failed: None, doubted: None }
    }

    /// The rate to try; `None` when the search is over.
    pub(super) fn next(&self) -> Option<f64> {
        if self.doubted.is_some() {
            return self.doubted;
        }
        match (self.held, self.failed) {
            (None, None) => Some(FIRST),
            (Some(held), None) => Some(held * 2.0).filter(|rate| *rate <= RATE_MAX),
            (None, Some(failed)) => Some(failed / 2.0).filter(|rate| *rate >= RATE_MIN),
            (Some(held), Some(failed)) => {
                (failed / held > CLOSE).then(|| ((held * failed).sqrt() / 10.0).round() * 10.0)
            }
        }
    }

    /// Notes whether this rate held.
    pub(super) fn note(&mut self, rate: f64, held: bool) {
        let is_second = self.doubted.take().is_some();
        match held {
            true => self.held = Some(rate),
            false if is_second => self.failed = Some(rate),
            false => self.doubted = Some(rate),
        }
    }

    /// The highest rate that held.
    pub(super) fn best(&self) -> Option<f64> {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(capacity: f64, wanted: impl Fn(f64) -> bool, tries_max: usize) {
        let mut sweep = Sweep::new();
        let mut tries = 0;
        while let Some(rate) = sweep.next() {
            sweep.note(rate, rate <= capacity);
            tries += 1;
        }
        assert!(tries <= tries_max, "{tries} tries");
        assert!(wanted(sweep.best().unwrap_or(0.0)), "{capacity}: {:?}", sweep.best());
    }

    #[test]
    fn one_stall_does_not_decide() {
        let mut sweep = Sweep::new();
        let mut failures = 0;
        while let Some(rate) = sweep.next() {
            // Every rate fails when it is tried first.
            failures += 1;
            sweep.note(rate, rate <= 30_000.0 && failures % 2 == 0);
        }
        let best = sweep.best().expect("one held");
        assert!((26_000.0..=30_000.0).contains(&best), "{best}");
    }

    #[test]
    fn the_highest_rate_that_holds_is_found() {
        for capacity in [140.0, 999.0, 1_000.0, 30_000.0, 333_333.0] {
            check(capacity, |best| best <= capacity && best * 1.16 >= capacity, 22);
        }
        check(f64::INFINITY, |best| best == 512_000.0, 11);
        check(0.0, |best| best == 0.0, 10);
    }
}
