//! An end of a term that is read without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Until when something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// It has not begun.
    None,
    /// It has ended.
    Over,
    At(Instant),
}

/// A term that one changes and many read.
#[derive(Debug)]
pub(super) struct Until {
    origin: Instant,
    /// Nanoseconds from the origin, or one of the two below.
    at: AtomicU64,
}

const NONE: u64 = u64::MAX;
const OVER: u64 = u64::MAX - 1;

impl Until {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), at: AtomicU64::new(NONE) }
    }

    pub(super) fn set(&self, term: Term) {
        let at = match term {
            Term::None => NONE,
            Term::Over => OVER,
            Term::At(instant) => {
                // 585 years.
                u64::try_from(instant.saturating_duration_since(self.origin).as_nanos()).unwrap_or(OVER).min(OVER - 1)
            }
        };
        self.at.store(at, Ordering::Release);
    }

    pub(super) fn get(&self) -> Term {
        match self.at.load(Ordering::Acquire) {
            NONE => Term::None,
            OVER => Term::Over,
            at => Term::At(self.origin + Duration::from_nanos(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read() {
        let until = Until::new();
        assert_eq!(until.get(), Term::None);
        let later = Instant::now() + Duration::from_secs(5);
        for term in [Term::At(later), Term::Over, Term::None] {
            until.set(term);
            assert_eq!(until.get(), term);
        }
    }
}
