//! Whether this is still the process that opened the publisher.
//!
//! A forked child has a copy of all memory, but only the thread that forked: nobody settles what it publishes, and a lock
//! that another thread held at the fork is never given back. So the question comes before every lock of an acceptance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::bus::forked_process;
use crate::error::Result;

/// The process that opened a publisher.
#[derive(Debug)]
pub(crate) struct Process {
    id: u32,
    opened: Instant,
    /// When the system was last asked, in microseconds since `opened`.
    asked: AtomicU64,
}

/// Time for which an answer of the system holds, since asking costs a system call. What a child publishes sooner after the
/// parent's last publish is told so by its receipt.
const ANSWER_HOLDS: Duration = Duration::from_micros(100);

impl Process {
    /// The present one.
    pub(crate) fn present() -> Self {
        Self { id: std::process::id(), opened: Instant::now(), asked: AtomicU64::new(0) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Checks it, by an answer that is not older than [`ANSWER_HOLDS`].
    ///
    /// # Errors
    /// `Closed/ForkedProcess` in a child.
    pub(crate) fn check(&self, now: Instant) -> Result<()> {
        let micros = now.saturating_duration_since(self.opened).as_micros() as u64;
        if micros.saturating_sub(self.asked.load(Ordering::Relaxed)) < ANSWER_HOLDS.as_micros() as u64 {
            return Ok(());
        }
        if self.id != std::process::id() {
            return Err(forked_process());
        }
        self.asked.store(micros, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_is_told_once_the_last_answer_is_old() {
        let parent = Process { id: std::process::id() + 1, ..Process::present() };
        parent.check(parent.opened).expect("the answer holds");
        for _ in 0..2 {
            let later = parent.opened + ANSWER_HOLDS;
            assert_eq!(parent.check(later).expect_err("forked").code(), "Closed/ForkedProcess");
        }
        let own = Process::present();
        own.check(own.opened + Duration::from_secs(1)).expect("this process");
    }
}
