//! Topics that are known to exist though a broker may not have heard of them yet.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busline_core::TopicName;

/// How long a broker may be behind one that has shown the topic.
pub(crate) const BEHIND_MAX: Duration = Duration::from_secs(5);

/// Names with the time until which a broker that does not know them is taken for one that is behind.
#[derive(Debug, Default)]
pub(crate) struct Fresh(Mutex<HashMap<TopicName, Instant>>);

impl Fresh {
    /// A broker said that the topic was made, or that it is there.
    pub(crate) fn note(&self, name: &TopicName, believed_for: Duration) {
        let now = Instant::now();
        let mut noted = self.lock();
        // What is over is of no use any more, and names must not gather.
        noted.retain(|_, until| *until > now);
        let until = noted.entry(name.clone()).or_insert(now);
        *until = (*until).max(now + believed_for);
    }

    /// The topic is being deleted.
    pub(crate) fn forget(&self, name: &TopicName) {
        self.lock().remove(name);
    }

    /// Whether the topic is there, whatever a broker says.
    pub(crate) fn holds(&self, name: &TopicName) -> bool {
        self.lock().get(name).is_some_and(|until| *until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TopicName, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_for_its_time_and_not_after_a_deletion() {
        let (fresh, name) = (Fresh::default(), TopicName::new("orders").expect("legal"));
        assert!(!fresh.holds(&name));
        fresh.note(&name, Duration::from_secs(3_600));
        assert!(fresh.holds(&name));
        fresh.forget(&name);
        assert!(!fresh.holds(&name));
        fresh.note(&name, Duration::ZERO);
        assert!(!fresh.holds(&name));
    }
}
