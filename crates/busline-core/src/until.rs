//! Until when a member may work on what it holds, kept where each attempt can look without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Until when what is held may be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// Nothing is held yet.
    None,
    /// It is in doubt: a loss was found that the subscription has not taken in.
    Over,
    /// Until this instant.
    At(Instant),
}

/// A term that one thread changes and every worker reads, for [`Source::holds_until`](crate::Source::holds_until).
///
/// # Source
/// Promise C2.
#[derive(Debug)]
pub struct Until {
    origin: Instant,
    /// Nanoseconds from the origin, or one of the two below.
    at: AtomicU64,
}

const NONE: u64 = u64::MAX;
const OVER: u64 = u64::MAX - 1;

impl Default for Until {
    fn default() -> Self {
        Self { origin: Instant::now(), at: AtomicU64::new(NONE) }
    }
}

impl Until {
    /// Changes the term.
    pub fn set(&self, term: Term) {
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

    /// The term.
    pub fn get(&self) -> Term {
        match self.at.load(Ordering::Acquire) {
            NONE => Term::None,
            OVER => Term::Over,
            at => Term::At(self.origin + Duration::from_nanos(at)),
        }
    }

    /// The term as a source tells it: one that is over ended in the past.
    pub fn holds_until(&self) -> Option<Instant> {
        match self.get() {
            Term::None => None,
            Term::Over => Some(self.origin),
            Term::At(until) => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read() {
        let until = Until::default();
        assert_eq!(until.get(), Term::None);
        let later = Instant::now() + Duration::from_secs(5);
        for term in [Term::At(later), Term::Over, Term::None] {
            until.set(term);
            assert_eq!(until.get(), term);
        }
    }

    #[test]
    fn a_source_tells_no_hold_an_end_and_an_end_in_the_past() {
        let until = Until::default();
        assert_eq!(until.holds_until(), None, "nothing is held");
        let later = Instant::now() + Duration::from_secs(5);
        until.set(Term::At(later));
        assert_eq!(until.holds_until(), Some(later));
        until.set(Term::Over);
        assert!(until.holds_until().is_some_and(|end| end <= Instant::now()), "in doubt, no handler starts");
    }
}
