//! Until when a member may work on what it holds, kept where each attempt can look without a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Fifths of a lease after the last beat in which handlers may start. Others wait for a whole lease.
const FIFTHS: u32 = 3;

#[derive(Debug)]
pub(crate) struct Holds {
    origin: Instant,
    /// Nanoseconds from the origin to the end of the hold; 0 before the first beat.
    until: AtomicU64,
    /// A loss was found that the subscription has not heard of. A beat is good for what is taken from then on, not for
    /// what was held before.
    doubtful: AtomicBool,
}

impl Holds {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), until: AtomicU64::new(0), doubtful: AtomicBool::new(false) }
    }

    /// A beat was sent at this instant, and has arrived.
    pub(crate) fn beat(&self, sent: Instant, lease: Duration) {
        let until = sent.saturating_duration_since(self.origin) + lease * FIFTHS / 5;
        self.until.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Called before a beat whose loss is to be told can count.
    pub(crate) fn set_doubtful(&self, doubtful: bool) {
        self.doubtful.store(doubtful, Ordering::Release);
    }

    /// The end of the hold; `None` before the first beat, when nothing is assigned.
    pub(crate) fn until(&self) -> Option<Instant> {
        let until = self.until.load(Ordering::Acquire);
        if self.doubtful.load(Ordering::Acquire) {
            return Some(self.origin);
        }
        (until > 0).then(|| self.origin + Duration::from_nanos(until))
    }
}
