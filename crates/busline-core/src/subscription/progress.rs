//! How far a partition is finished: the contiguous prefix of what was delivered.

use std::collections::VecDeque;

use crate::topic::Offset;

/// Which delivered records of one partition are finished, and up to where progress may be committed.
///
/// Records are counted in the order of their delivery, so offsets that never existed (compaction, transaction markers,
/// other partitions of a shared stream) leave no hole. A finished record costs a bit, and a run of delivered offsets
/// without a gap costs one entry.
///
/// # Source
/// Promises C4, C5.
#[derive(Debug)]
pub(crate) struct Progress {
    committed: Offset,
    /// Ordinal of the first record that is not part of the finished prefix.
    first: u64,
    /// Ordinal that the next delivered record gets.
    next: u64,
    runs: VecDeque<Run>,
    /// Bits of the ordinals from the word that holds `first`.
    done: VecDeque<u64>,
    stored: Mark,
    /// What was last asked to be stored.
    asked: Mark,
}

/// An offset, and the ordinal of the first record that is not below it.
#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: Offset,
    ordinal: u64,
}

/// Delivered offsets without a gap.
#[derive(Debug)]
struct Run {
    ordinal: u64,
    offset: u64,
    length: u64,
}

const WORD_BITS: u64 = u64::BITS as u64;

impl Progress {
    /// Nothing delivered; reading begins at the committed offset.
    pub(crate) fn new(committed: Offset) -> Self {
        Self::moved(committed, committed)
    }

    /// Nothing delivered; reading begins at `from`, wherever the stored offset is.
    pub(crate) fn moved(from: Offset, stored: Offset) -> Self {
        let stored = Mark { offset: stored, ordinal: 0 };
        let (runs, done) = (VecDeque::new(), VecDeque::new());
        Self { committed: from, first: 0, next: 0, runs, done, stored, asked: stored }
    }

    /// Notes the next delivered record, and gives its ordinal.
    pub(crate) fn deliver(&mut self, offset: Offset) -> u64 {
        let ordinal = self.next;
        self.next += 1;
        match self.runs.back_mut() {
            Some(run) if run.offset + run.length == offset.0 => run.length += 1,
            _ => self.runs.push_back(Run { ordinal, offset: offset.0, length: 1 }),
        }
        if self.word_of(ordinal) == self.done.len() {
            self.done.push_back(0);
        }
        ordinal
    }

    /// Marks a delivered record as finished.
    pub(crate) fn finish(&mut self, ordinal: u64) {
        let word = self.word_of(ordinal);
        self.done[word] |= 1 << (ordinal % WORD_BITS);
        if ordinal == self.first {
            self.advance();
        }
    }

    fn advance(&mut self) {
        while self.first < self.next && self.done[0] & (1 << (self.first % WORD_BITS)) != 0 {
            self.first += 1;
            if self.first.is_multiple_of(WORD_BITS) {
                self.done.pop_front();
            }
        }
        while self.runs.front().is_some_and(|run| run.ordinal + run.length <= self.first) {
            if let Some(run) = self.runs.pop_front() {
                self.committed = Offset(run.offset + run.length);
            }
        }
        if let Some(run) = self.runs.front()
            && self.first > run.ordinal
        {
            self.committed = Offset(run.offset + (self.first - run.ordinal));
        }
    }

    fn word_of(&self, ordinal: u64) -> usize {
        (ordinal / WORD_BITS - self.first / WORD_BITS) as usize
    }

    /// The first offset that is not finished: what may be committed.
    #[cfg(test)]
    pub(crate) fn committable(&self) -> Offset {
        self.committed
    }

    /// The offset to store, if it is above the stored one.
    pub(crate) fn ask(&mut self) -> Option<Offset> {
        self.has_unstored().then(|| {
            self.asked = Mark { offset: self.committed, ordinal: self.first };
            self.committed
        })
    }

    /// Whether progress is above the stored offset.
    pub(crate) fn has_unstored(&self) -> bool {
        self.committed > self.stored.offset
    }

    /// What was asked is stored.
    pub(crate) fn set_stored(&mut self, offset: Offset) {
        if offset == self.asked.offset && offset > self.stored.offset {
            self.stored = self.asked;
        }
    }

    /// The stored offset.
    pub(crate) fn stored(&self) -> Offset {
        self.stored.offset
    }

    /// Delivered records from the stored offset to the newest: those that come again after a crash.
    pub(crate) fn ahead(&self) -> u64 {
        // After a seek back the stored offset stays above until progress has come there again.
        let is_above = self.committed > self.stored.offset;
        self.next - if is_above { self.stored.ordinal } else { self.first }
    }

    /// The oldest delivered offset that is not finished.
    #[cfg(test)]
    pub(crate) fn oldest_unfinished(&self) -> Option<Offset> {
        let run = self.runs.front()?;
        Some(Offset(run.offset + (self.first - run.ordinal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn progress_is_the_contiguous_prefix() {
        let mut progress = Progress::new(Offset(10));
        let ordinals: Vec<u64> = (10..14).map(|offset| progress.deliver(Offset(offset))).collect();
        progress.finish(ordinals[1]);
        assert_eq!(progress.committable(), Offset(10));
        progress.finish(ordinals[0]);
        assert_eq!(progress.committable(), Offset(12));
        assert_eq!(progress.oldest_unfinished(), Some(Offset(12)));
        progress.finish(ordinals[3]);
        progress.finish(ordinals[2]);
        assert_eq!((progress.committable(), progress.ahead()), (Offset(14), 4));
        assert_eq!(progress.ask(), Some(Offset(14)));
        progress.set_stored(Offset(14));
        assert_eq!((progress.ask(), progress.ahead()), (None, 0));
    }

    proptest! {
        /// Against the plain statement of the rule, over offsets with gaps and any order of finishing.
        #[test]
        fn progress_agrees_with_a_plain_model(gaps in proptest::collection::vec(1u64..4, 1..300), seed in any::<u64>()) {
            let mut offsets = Vec::new();
            let mut at = 0;
            for gap in gaps {
                offsets.push(Offset(at));
                at += gap;
            }
            let mut progress = Progress::new(Offset(0));
            let ordinals: Vec<u64> = offsets.iter().map(|offset| progress.deliver(*offset)).collect();
            let mut order: Vec<usize> = (0..offsets.len()).collect();
            let mut state = seed;
            for place in (1..order.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                order.swap(place, (state >> 33) as usize % (place + 1));
            }
            let mut done = vec![false; offsets.len()];
            for index in order {
                progress.finish(ordinals[index]);
                done[index] = true;
                let prefix = done.iter().take_while(|done| **done).count();
                let wanted = if prefix == 0 { Offset(0) } else { offsets[prefix - 1].next() };
                prop_assert_eq!(progress.committable(), wanted);
                progress.ask().into_iter().for_each(|offset| progress.set_stored(offset));
                prop_assert_eq!(progress.ahead() as usize, offsets.len() - prefix);
                prop_assert_eq!(progress.oldest_unfinished(), offsets.get(prefix).copied());
            }
        }
    }
}
