//! What is known to exist though a server may not have heard of it yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a server may be behind one that has shown a topic.
pub const BEHIND_MAX: Duration = Duration::from_secs(5);

/// Names with the time until which a server of a cluster that does not know them is taken for one that is behind.
#[derive(Debug, Default)]
pub struct Fresh(Mutex<HashMap<String, Instant>>);

impl Fresh {
    /// A server said that it was made, or that it is there.
    pub fn note(&self, name: &str, believed_for: Duration) {
        let now = Instant::now();
        let mut noted = self.lock();
        // What is over is of no use any more, and names must not gather.
        noted.retain(|_, until| *until > now);
        let until = noted.entry(name.to_owned()).or_insert(now);
        *until = (*until).max(now + believed_for);
    }

    /// It is being deleted.
    pub fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Whether it is there, whatever a server says.
    pub fn holds(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|until| *until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_for_its_time_and_not_after_a_deletion() {
        let fresh = Fresh::default();
        assert!(!fresh.holds("orders"));
        fresh.note("orders", Duration::from_secs(3_600));
        assert!(fresh.holds("orders"));
        fresh.forget("orders");
        assert!(!fresh.holds("orders"));
        fresh.note("orders", Duration::ZERO);
        assert!(!fresh.holds("orders"));
    }
}
