//! How often a failed attempt is made again, and after which pause.

use std::time::Duration;

use rand::RngExt;

use crate::error::{Error, Result};

/// In-place retry with backoff: the key waits, others flow.
///
/// # Source
/// Promise C6; decisions on defaults: 100 ms, doubled, at most 2 s, ± 20 %, five attempts in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Attempts in all, the first included. Range 1 to 1,000, default 5.
    pub attempts_max: u32,
    /// Pause before the second attempt. Range 0 to 1 h, default 100 ms.
    pub backoff_min: Duration,
    /// Longest pause. From `backoff_min` to 1 h, default 2 s.
    pub backoff_max: Duration,
    /// What a pause is multiplied by for the next. Range 1 to 10, default 2.
    pub factor: f64,
    /// Part of a pause by which it is changed at random, in both directions. Range 0 to 1, default 0.2.
    pub jitter: f64,
}

impl Retry {
    /// This many attempts in all, with pauses of 100 ms, 200 ms, … up to 2 s.
    pub fn exponential(attempts_max: u32) -> Self {
        Self { attempts_max, ..Self::default() }
    }

    /// One attempt only.
    pub fn never() -> Self {
        Self::exponential(1)
    }

    /// The same with pauses from `min`, doubled up to `max`.
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff_min = min;
        self.backoff_max = max;
        self
    }

    /// Checks every field.
    ///
    /// # Errors
    /// `Invalid/Range` with every field that is wrong; `Invalid/Contradiction`.
    pub fn validate(&self) -> Result<()> {
        let mut wrong = Vec::new();
        if !(1..=1_000).contains(&self.attempts_max) {
            wrong.push(format!("attempts_max = {} (1 to 1,000)", self.attempts_max));
        }
        if self.backoff_max > Duration::from_secs(3_600) {
            wrong.push(format!("backoff_max = {:?} (up to 1 h)", self.backoff_max));
        }
        if !(1.0..=10.0).contains(&self.factor) {
            wrong.push(format!("factor = {} (1 to 10)", self.factor));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            wrong.push(format!("jitter = {} (0 to 1)", self.jitter));
        }
        if !wrong.is_empty() {
            return Err(Error::invalid("Range").cause(wrong.join(", ")).next("use values in the ranges given"));
        }
        if self.backoff_min > self.backoff_max {
            return Err(Error::invalid("Contradiction")
                .cause(format!("backoff_min {:?} is above backoff_max {:?}", self.backoff_min, self.backoff_max))
                .next("raise backoff_max or lower backoff_min"));
        }
        Ok(())
    }

    /// The pause after this failed attempt, counted from 1.
    pub(crate) fn pause_after(&self, attempt: u32) -> Duration {
        let steps = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let pause = (self.backoff_min.as_secs_f64() * self.factor.powi(steps)).min(self.backoff_max.as_secs_f64());
        let change = 1.0 + self.jitter * rand::rng().random_range(-1.0..=1.0);
        Duration::from_secs_f64(pause * change)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            factor: 2.0,
            jitter: 0.2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_within_the_jitter() {
        let retry = Retry::exponential(10);
        for (attempt, millis) in [(1, 100.0), (2, 200.0), (3, 400.0), (5, 1_600.0), (6, 2_000.0), (1_000, 2_000.0)] {
            let pause = retry.pause_after(attempt).as_secs_f64() * 1_000.0;
            assert!((millis * 0.799..=millis * 1.201).contains(&pause), "attempt {attempt}: {pause} ms");
        }
    }

    #[test]
    fn contradictions_and_ranges_are_refused() {
        Retry::default().validate().expect("defaults are legal");
        let error = Retry::default().backoff(Duration::from_secs(2), Duration::from_secs(1)).validate();
        assert_eq!(error.expect_err("refused").reason(), "Contradiction");
        for attempts in [0, u32::MAX] {
            assert_eq!(Retry::exponential(attempts).validate().expect_err("refused").reason(), "Range");
        }
        let wrong = Retry { attempts_max: 0, factor: 0.5, ..Retry::default() };
        assert_eq!(
            wrong.validate().expect_err("refused").to_string(),
            "Invalid/Range: attempts_max = 0 (1 to 1,000), factor = 0.5 (1 to 10); use values in the ranges given"
        );
    }
}
