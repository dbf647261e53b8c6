//! Keys that are not renewed and that the server does not delete either.
//!
//! Their lifetime is the server's matter, and its clock's. Should that fail, after a change of the leader for instance, a
//! member still sees that a revision stands still, by its own monotonic clock. To take such a key is safe: its owner is
//! fenced like any other.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Lifetimes for which a revision must stand still: the server has the first word.
const LIFETIMES: u32 = 2;

/// Since when each key has had its revision, as this member saw it.
#[derive(Debug, Default)]
pub(crate) struct Stillness {
    seen: HashMap<String, (u64, Instant)>,
    last_look: Option<Instant>,
}

impl Stillness {
    /// Notes what a look found. A look that comes late proves nothing about the others, so it begins the count anew: a
    /// machine that was frozen takes nothing.
    pub(crate) fn look<'a>(&mut self, keys: impl Iterator<Item = (&'a str, u64)>, now: Instant, lifetime: Duration) {
        let is_late = self.last_look.is_some_and(|last| now.saturating_duration_since(last) > lifetime / 2);
        self.last_look = Some(now);
        let before = std::mem::take(&mut self.seen);
        for (key, revision) in keys {
            let since = match before.get(key) {
                Some((known, since)) if *known == revision && !is_late => *since,
                _ => now,
            };
            self.seen.insert(key.to_owned(), (revision, since));
        }
    }

    /// Whether a key has not been renewed for so long that its owner counts as gone.
    pub(crate) fn is_still(&self, key: &str, now: Instant, lifetime: Duration) -> bool {
        let since = self.seen.get(key).map(|(_, since)| *since);
        since.is_some_and(|since| now.saturating_duration_since(since) > lifetime * LIFETIMES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(5);
    const BEAT: Duration = Duration::from_secs(1);

    fn after(looks: u32, revision: impl Fn(u32) -> u64) -> bool {
        let (mut stillness, start) = (Stillness::default(), Instant::now());
        for look in 0..looks {
            stillness.look([("k", revision(look))].into_iter(), start + BEAT * look, LIFETIME);
        }
        stillness.is_still("k", start + BEAT * (looks - 1), LIFETIME)
    }

    #[test]
    fn a_key_is_still_after_two_lifetimes_under_one_revision() {
        assert!(!after(11, |_| 7));
        assert!(after(12, |_| 7));
        assert!(!after(12, u64::from));
    }

    #[test]
    fn a_frozen_machine_takes_nothing() {
        let (mut stillness, start) = (Stillness::default(), Instant::now());
        stillness.look([("k", 7)].into_iter(), start, LIFETIME);
        let late = start + LIFETIME * 10;
        stillness.look([("k", 7)].into_iter(), late, LIFETIME);
        assert!(!stillness.is_still("k", late, LIFETIME));
    }
}
