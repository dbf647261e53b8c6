//! Who in a group is dead, judged by beats that stand still.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Beats in one lease: a member beats this often before others may take it for dead.
pub(crate) const BEATS_PER_LEASE: u32 = 5;

/// How long the beats of the other members have stood still, by this member's own clock and looks.
///
/// A frozen machine steals no lease: a look that comes late proves nothing about the others, so it begins the count anew.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    seen: HashMap<String, (u64, u32)>,
    last_look: Option<Instant>,
}

impl Liveness {
    /// Notes the beats of a look. One that comes early, because a group has changed, counts for nobody's end.
    pub(crate) fn look(&mut self, members: Vec<(String, u64)>, now: Instant, beat_every: Duration) {
        let since = self.last_look.map(|last| now.duration_since(last));
        let early = since.is_some_and(|since| since < beat_every * 9 / 10);
        let late = since.is_none_or(|since| since > beat_every * 3 / 2);
        if !early {
            self.last_look = Some(now);
        }
        let before = std::mem::take(&mut self.seen);
        for (member, beat) in members {
            let still = match before.get(&member) {
                Some((known, still)) if *known == beat && !late => still + u32::from(!early),
                _ => 0,
            };
            self.seen.insert(member, (beat, still));
        }
    }

    /// Members whose beats have stood still for a whole lease of looks.
    pub(crate) fn dead(&self) -> Vec<(String, u64)> {
        let dead = self.seen.iter().filter(|(_, (_, still))| *still >= BEATS_PER_LEASE);
        dead.map(|(member, (beat, _))| (member.clone(), *beat)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(1);

    fn still(beat: u64) -> Vec<(String, u64)> {
        vec![("other".into(), beat)]
    }

    #[test]
    fn a_member_is_dead_after_five_punctual_looks_at_the_same_beat() {
        let (mut liveness, start) = (Liveness::default(), Instant::now());
        for look in 0..=5 {
            assert!(liveness.dead().is_empty(), "after {look} looks");
            liveness.look(still(7), start + BEAT * look, BEAT);
        }
        assert_eq!(liveness.dead(), still(7));
        liveness.look(still(8), start + BEAT * 6, BEAT);
        assert!(liveness.dead().is_empty());
    }

    #[test]
    fn a_frozen_machine_steals_no_lease() {
        let (mut liveness, start) = (Liveness::default(), Instant::now());
        for look in 0..5 {
            liveness.look(still(7), start + BEAT * look, BEAT);
        }
        liveness.look(still(7), start + BEAT * 60, BEAT);
        assert!(liveness.dead().is_empty());
    }
}
