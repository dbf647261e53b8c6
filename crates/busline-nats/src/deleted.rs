//! What a reader knows of positions that its stream has deleted.
//!
//! Partitions that share a stream leave numbers out for one another, so a jump alone proves nothing there. What the server
//! says of its stream does: everything below its first message is gone, and it names the positions that are gone between
//! others. Whether such a position was this partition's nobody knows any more.

use std::ops::Range;

use busline_core::Offset;

/// Positions that are gone and were not read, as far as the server has said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// Everything below.
    below: u64,
    /// Single ones, ascending.
    single: Vec<u64>,
}

impl Deleted {
    /// The stream begins here.
    pub(crate) fn begins_at(&mut self, first: u64) {
        self.below = self.below.max(first);
    }

    /// These are gone, in ascending order; what was read before `next` does not count.
    pub(crate) fn learn(&mut self, gone: &[u64], next: Offset) {
        self.single = gone.iter().copied().filter(|position| *position >= next.0).collect();
    }

    /// What is gone of the positions `passed`, which hold nothing of the partition: from the first to the last. It is told
    /// once.
    pub(crate) fn take(&mut self, passed: Range<Offset>) -> Option<Range<Offset>> {
        let Range { start, end } = passed;
        let count = self.single.partition_point(|position| *position < end.0);
        let single = self.single.drain(..count).filter(|position| *position >= start.0);
        let (first, last) =
            single.fold((u64::MAX, 0), |(first, last), position| (first.min(position), last.max(position)));
        // A stream that began behind `end` only after that was read says nothing of what lies before.
        let head = self.below > start.0 && self.below <= end.0;
        let (first, to) = if head { (start.0, self.below.max(last + 1)) } else { (first, last + 1) };
        (first < to).then_some(Offset(first)..Offset(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(deleted: &mut Deleted, from: u64, to: u64) -> Option<(u64, u64)> {
        deleted.take(Offset(from)..Offset(to)).map(|gone| (gone.start.0, gone.end.0))
    }

    #[test]
    fn what_lies_below_the_first_message_is_gone() {
        let mut deleted = Deleted::default();
        deleted.begins_at(7);
        assert_eq!(take(&mut deleted, 3, 5), None, "it was passed while it was there");
        assert_eq!(take(&mut deleted, 5, 9), Some((5, 7)));
        assert_eq!(take(&mut deleted, 9, 12), None, "told once");
    }

    #[test]
    fn single_positions_are_told_once_and_only_where_nothing_was_read() {
        let mut deleted = Deleted::default();
        deleted.learn(&[2, 5, 6, 9], Offset(4));
        assert_eq!(take(&mut deleted, 4, 5), None);
        assert_eq!(take(&mut deleted, 5, 8), Some((5, 7)));
        assert_eq!(take(&mut deleted, 8, 9), None);
        // 9 was on its way when it was deleted.
        assert_eq!(take(&mut deleted, 10, 20), None);
    }

    #[test]
    fn both_are_one_stretch() {
        let mut deleted = Deleted::default();
        deleted.begins_at(4);
        deleted.learn(&[6], Offset(2));
        assert_eq!(take(&mut deleted, 2, 9), Some((2, 7)));
    }
}
