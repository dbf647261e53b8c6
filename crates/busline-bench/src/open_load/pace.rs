//! When each envelope is due.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Envelopes at even distances from a start.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    aggregates: u64,
    began: OnceLock<Instant>,
}

impl Pace {
    /// So many envelopes a second, of so many aggregates that take turns.
    pub(crate) fn new(per_second: f64, aggregates: usize) -> Self {
        Self { per_second, aggregates: aggregates as u64, began: OnceLock::new() }
    }

    /// When the first one is due: when this is asked first.
    pub(crate) fn began(&self) -> Instant {
        *self.began.get_or_init(Instant::now)
    }

    /// When the envelope with this number, from 0, is due.
    pub(crate) fn due(&self, number: u64) -> Instant {
        self.began() + Duration::from_secs_f64(number as f64 / self.per_second)
    }

    /// When the event of this version of an aggregate is due.
    pub(crate) fn due_of(&self, aggregate: usize, version: u64) -> Instant {
        self.due((version - 1) * self.aggregates + aggregate as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_due_at_even_distances_however_they_are_named() {
        let pace = Pace::new(1_000.0, 50);
        assert_eq!(pace.due(0), pace.began());
        assert_eq!(pace.due(2_500) - pace.began(), Duration::from_millis(2_500));
        // Number 107 is the third event of the eighth aggregate.
        assert_eq!(pace.due_of(7, 3), pace.due(107));
    }
}
