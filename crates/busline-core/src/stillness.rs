//! Who in a group gives no sign of life, as one member sees it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Beats in one lease: so often a member gives a sign of life before others may take it for dead.
pub const BEATS_PER_LEASE: u32 = 5;

/// How long the signs of life of others have stood still, by this member's own looks and monotonic clock.
///
/// A sign is a number that its owner changes as long as it lives: a beat that counts up, a revision that is renewed. No
/// clock of another machine is asked. For backends whose members watch each other; the brokers of Kafka do it themselves.
/// Pure: whoever is taken for dead by mistake is fenced like any other.
///
/// A machine that was frozen takes nothing: a look that comes late proves nothing about the others, who may have been
/// frozen with it, so it begins the count anew.
#[derive(Debug)]
pub struct Stillness {
    gap_max: Duration,
    seen: HashMap<String, Seen>,
    last_look: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    sign: u64,
    since: Instant,
}

impl Stillness {
    /// Nothing was seen yet. A look that comes more than `gap_max` after the one before is late.
    ///
    /// Shape: `gap_max` is longer than a beat, so that a look each beat is in time, and so short that a member that lives
    /// has several beats in the time for which its sign has to stand still.
    #[must_use]
    pub fn new(gap_max: Duration) -> Self {
        Self { gap_max, seen: HashMap::new(), last_look: None }
    }

    /// Notes the names that are there, each with its sign; a name that is not among them is forgotten.
    pub fn look<'a>(&mut self, signs: impl IntoIterator<Item = (&'a str, u64)>, now: Instant) {
        let is_late = self.last_look.is_some_and(|last| now.saturating_duration_since(last) > self.gap_max);
        self.last_look = Some(now);
        let before = std::mem::take(&mut self.seen);
        for (name, sign) in signs {
            let known = before.get(name).filter(|seen| seen.sign == sign && !is_late);
            let since = known.map_or(now, |seen| seen.since);
            self.seen.insert(name.to_owned(), Seen { sign, since });
        }
    }

    /// Whether at the last look this name had had the same sign for longer than this.
    #[must_use]
    pub fn is_still(&self, name: &str, longer_than: Duration) -> bool {
        self.seen.get(name).is_some_and(|seen| self.has_stood(*seen, longer_than))
    }

    /// All names that at the last look had had the same sign for longer than this, with it; in no order.
    pub fn still(&self, longer_than: Duration) -> impl Iterator<Item = (&str, u64)> {
        let still = self.seen.iter().filter(move |(_, seen)| self.has_stood(**seen, longer_than));
        still.map(|(name, seen)| (name.as_str(), seen.sign))
    }

    fn has_stood(&self, seen: Seen, longer_than: Duration) -> bool {
        self.last_look.is_some_and(|last| last.saturating_duration_since(seen.since) > longer_than)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(1);
    const GAP_MAX: Duration = Duration::from_millis(1_500);
    const LEASE: Duration = Duration::from_secs(5);

    /// Looks at a member's sign so long after the start each, and tells after each whether it is still.
    fn seen(looks: &[(u32, u64)]) -> Vec<bool> {
        let (mut stillness, start) = (Stillness::new(GAP_MAX), Instant::now());
        let mut look = |(millis, sign): &(u32, u64)| {
            stillness.look([("other", *sign)], start + Duration::from_millis((*millis).into()));
            let is_still = stillness.is_still("other", LEASE);
            assert_eq!(stillness.still(LEASE).collect::<Vec<_>>(), [("other", *sign)][..usize::from(is_still)]);
            is_still
        };
        looks.iter().map(&mut look).collect()
    }

    #[test]
    fn a_sign_is_still_once_it_has_stood_for_longer_than_that() {
        let looks: Vec<(u32, u64)> = (0..=6).map(|beat| (beat * 1_000, 7)).collect();
        assert_eq!(seen(&looks), [false, false, false, false, false, false, true]);
        let looks: Vec<(u32, u64)> = (0..=20).map(|beat| (beat * 1_000, u64::from(beat / 4))).collect();
        assert!(!seen(&looks).contains(&true), "it moves");
    }

    #[test]
    fn a_sign_that_moves_again_lives() {
        let mut looks: Vec<(u32, u64)> = (0..=6).map(|beat| (beat * 1_000, 7)).collect();
        looks.push((7_000, 8));
        assert!(!seen(&looks)[7]);
    }

    #[test]
    fn looks_beside_the_beat_neither_hasten_nor_delay_it() {
        let looks: Vec<(u32, u64)> = (0..=60).map(|look| (look * 100, 7)).collect();
        assert_eq!(seen(&looks).iter().position(|is_still| *is_still), Some(51));
        // One in between moves the next one on, which is in time still.
        assert!(seen(&[(0, 7), (600, 7), (1_600, 7), (2_600, 7), (3_200, 7), (4_200, 7), (5_200, 7)])[6]);
    }

    #[test]
    fn a_frozen_machine_takes_nothing() {
        let looks = [(0, 7), (1_000, 7), (2_000, 7), (60_000, 7), (61_000, 7), (64_000, 7)];
        assert!(!seen(&looks).contains(&true));
    }

    #[test]
    fn a_name_that_is_gone_is_forgotten() {
        let (mut stillness, start) = (Stillness::new(GAP_MAX), Instant::now());
        stillness.look([("other", 7)], start);
        stillness.look([], start + BEAT);
        for beat in 2..7 {
            stillness.look([("other", 7)], start + BEAT * beat);
        }
        assert!(!stillness.is_still("other", LEASE));
        assert!(!stillness.is_still("nobody", Duration::ZERO));
    }
}
