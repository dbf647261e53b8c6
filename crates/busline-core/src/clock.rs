//! The only place that reads the system's wall clock.

use jiff::Timestamp;

/// Where wall time comes from.
///
/// Deadlines and leases never use it: they run on the monotonic clock, so that a jump of the wall clock moves
/// only what is stamped with it.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        Timestamp::now()
    }
}
