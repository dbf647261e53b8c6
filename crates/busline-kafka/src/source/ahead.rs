//! What is held and what was read ahead of it. No client, no clock.

use std::collections::{BTreeMap, VecDeque};

use busline_core::{Assignment, Offset, Partition, Record, SourceEvent, SourceQueue, records_within};

/// Records read ahead of one partition, and bytes read ahead of all.
const RECORDS_MAX: usize = 1_024;
const BYTES_MAX: usize = 16 << 20;

/// What one partition may read ahead at least.
const BYTES_MIN: usize = 1 << 20;

/// The partitions that a member holds, with what its subscription has not heard of them.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    changes: SourceQueue,
    held: BTreeMap<Partition, Held>,
    /// The partition whose records were given last: the next ones have their turn before it.
    last: Partition,
}

#[derive(Debug)]
struct Held {
    generation: u64,
    /// The first offset that was not read.
    next: Offset,
    ahead: VecDeque<Item>,
    records: usize,
    bytes: usize,
    committed: Offset,
    is_paused: bool,
    is_revoking: bool,
}

#[derive(Debug)]
enum Item {
    /// At least one, in offset order.
    Records(VecDeque<Record>),
    Gap {
        from: Offset,
        to: Offset,
    },
}

impl Ahead {
    /// Holds these partitions from now on.
    pub(super) fn assign(&mut self, assignments: Vec<Assignment>) {
        for assignment in &assignments {
            let held = Held {
                generation: assignment.generation,
                next: assignment.committed,
                ahead: VecDeque::new(),
                records: 0,
                bytes: 0,
                committed: assignment.committed,
                is_paused: false,
                is_revoking: false,
            };
            self.held.insert(assignment.partition, held);
        }
        self.changes.push(SourceEvent::Assigned(assignments));
    }

    /// Gives nothing more of these partitions; those that are held are to be released.
    pub(super) fn revoke(&mut self, partitions: &[Partition]) {
        let mut told = Vec::new();
        for partition in partitions {
            if let Some(held) = self.held.get_mut(partition).filter(|held| !held.is_revoking) {
                held.is_revoking = true;
                held.forget_ahead();
                told.push(*partition);
            }
        }
        if !told.is_empty() {
            self.changes.push(SourceEvent::Revoking(told));
        }
    }

    /// Holds these partitions no more, because another member may.
    pub(super) fn lose(&mut self, partitions: &[Partition]) {
        let lost: Vec<Partition> =
            partitions.iter().copied().filter(|partition| self.held.remove(partition).is_some()).collect();
        if !lost.is_empty() {
            self.changes.push(SourceEvent::Lost(lost));
        }
    }

    /// Holds the partition no more, if it is held under this generation.
    pub(super) fn release(&mut self, partition: Partition, generation: u64) {
        if self.generation(partition) == Some(generation) {
            self.held.remove(&partition);
        }
    }

    /// Whether a loss was found that the subscription has not taken in.
    pub(super) fn has_untold_loss(&self) -> bool {
        self.changes.has_untold_loss()
    }

    pub(super) fn generation(&self, partition: Partition) -> Option<u64> {
        self.held.get(&partition).map(|held| held.generation)
    }

    pub(super) fn partitions(&self) -> Vec<Partition> {
        self.held.keys().copied().collect()
    }

    /// What is known to be committed of a partition.
    pub(super) fn committed(&self, partition: Partition) -> Option<Offset> {
        self.held.get(&partition).map(|held| held.committed)
    }

    pub(super) fn note_committed(&mut self, partition: Partition, offset: Offset) {
        if let Some(held) = self.held.get_mut(&partition) {
            held.committed = held.committed.max(offset);
        }
    }

    /// Whether more of this partition is to be read ahead.
    pub(super) fn has_room(&self, partition: Partition) -> bool {
        let bytes_max = (BYTES_MAX / self.held.len().max(1)).max(BYTES_MIN);
        self.held.get(&partition).is_some_and(|held| {
            !held.is_paused && !held.is_revoking && held.records < RECORDS_MAX && held.bytes < bytes_max
        })
    }

    /// Adds records of one partition that were read, in offset order. What was read before a seek is no record of it any
    /// more.
    ///
    /// `bytes`: of their keys and bodies.
    pub(super) fn push(&mut self, partition: Partition, mut records: Vec<Record>, mut bytes: usize) {
        let Some(held) = self.held.get_mut(&partition).filter(|held| !held.is_revoking) else { return };
        if records.first().is_some_and(|record| record.offset < held.next) {
            records.retain(|record| record.offset >= held.next);
            bytes = records.iter().map(Record::bytes).sum();
        }
        let Some(last) = records.last() else { return };
        held.next = last.offset.next();
        held.records += records.len();
        held.bytes += bytes;
        held.ahead.push_back(Item::Records(records.into()));
    }

    /// The first offset of a partition that was not read.
    pub(super) fn next(&self, partition: Partition) -> Option<Offset> {
        self.held.get(&partition).map(|held| held.next)
    }

    /// What lies before this offset is gone without having been read.
    pub(super) fn skip_to(&mut self, partition: Partition, to: Offset) {
        if let Some(held) = self.held.get_mut(&partition).filter(|held| held.next < to) {
            held.ahead.push_back(Item::Gap { from: held.next, to });
            held.next = to;
        }
    }

    /// Goes on at this offset; gives whether the partition is held under this generation.
    pub(super) fn seek(&mut self, partition: Partition, generation: u64, offset: Offset) -> bool {
        let held = self.held.get_mut(&partition).filter(|held| held.generation == generation && !held.is_revoking);
        held.map(|held| {
            held.forget_ahead();
            held.next = offset;
        })
        .is_some()
    }

    pub(super) fn set_paused(&mut self, partitions: &[(Partition, u64)], is_paused: bool) {
        for (partition, generation) in partitions {
            if let Some(held) = self.held.get_mut(partition).filter(|held| held.generation == *generation) {
                held.is_paused = is_paused;
            }
        }
    }

    /// What there is to say, changes of the assignment first; without room for records nothing else. Whoever asks has taken
    /// in what was given before.
    pub(super) fn take(&mut self, records_max: usize, bytes_max: usize) -> Option<SourceEvent> {
        let change = self.changes.take(0, 0);
        if change.is_some() || records_max == 0 {
            return change;
        }
        let is_ready = |held: &Held| !held.is_paused && !held.is_revoking && !held.ahead.is_empty();
        let after = self.held.range(self.last..).skip_while(|(partition, _)| **partition == self.last);
        let ready = after.chain(self.held.iter()).find(|(_, held)| is_ready(held)).map(|(partition, _)| *partition)?;
        self.last = ready;
        let held = self.held.get_mut(&ready)?;
        if let Some(Item::Gap { from, to }) = held.ahead.front() {
            let gap = SourceEvent::Gap { partition: ready, from: *from, to: *to };
            held.ahead.pop_front();
            return Some(gap);
        }
        let records = held.take_records(records_max, bytes_max);
        Some(SourceEvent::Records { generation: held.generation, records })
    }
}

impl Held {
    /// At least one, at most so many of the records that lie in front, until the bytes are used up.
    fn take_records(&mut self, records_max: usize, bytes_max: usize) -> Vec<Record> {
        let Some(Item::Records(piece)) = self.ahead.front_mut() else { return Vec::new() };
        let count = records_within(&*piece, records_max, bytes_max);
        let taken: Vec<Record> = if count == piece.len() {
            let whole = std::mem::take(piece);
            self.ahead.pop_front();
            // Not moved one by one, unless some were taken before.
            whole.into()
        } else {
            piece.drain(..count).collect()
        };
        self.records -= taken.len();
        self.bytes -= taken.iter().map(Record::bytes).sum::<usize>();
        taken
    }

    fn forget_ahead(&mut self) {
        self.ahead.clear();
        self.records = 0;
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use jiff::Timestamp;

    fn record(partition: u32, offset: u64) -> Record {
        Record {
            partition: Partition(partition),
            offset: Offset(offset),
            time: Timestamp::UNIX_EPOCH,
            key: Bytes::from_static(b"k"),
            headers: busline_core::Headers::default(),
            body: Bytes::from_static(b"123456789"),
        }
    }

    /// Records of one partition at these offsets.
    fn push(ahead: &mut Ahead, partition: u32, offsets: &[u64]) {
        let records: Vec<Record> = offsets.iter().map(|offset| record(partition, *offset)).collect();
        let bytes = records.iter().map(Record::bytes).sum();
        ahead.push(Partition(partition), records, bytes);
    }

    fn ahead(partitions: u32) -> Ahead {
        let mut ahead = Ahead::default();
        let assignment = |number| Assignment { partition: Partition(number), generation: 7, committed: Offset(0) };
        ahead.assign((0..partitions).map(assignment).collect());
        assert!(matches!(ahead.take(0, 0), Some(SourceEvent::Assigned(_))));
        ahead
    }

    /// Partition and offsets of the next records.
    fn offsets(ahead: &mut Ahead, records_max: usize, bytes_max: usize) -> Option<(u32, Vec<u64>)> {
        match ahead.take(records_max, bytes_max)? {
            SourceEvent::Records { records, .. } => {
                Some((records[0].partition.0, records.iter().map(|record| record.offset.0).collect()))
            }
            other => panic!("no records: {other:?}"),
        }
    }

    #[test]
    fn records_come_in_pieces_and_partitions_in_turn() {
        let mut ahead = ahead(2);
        push(&mut ahead, 0, &[0, 1, 3]);
        push(&mut ahead, 1, &[0]);
        assert_eq!(ahead.take(0, 0), None, "no room for records");
        assert_eq!(offsets(&mut ahead, 10, 100), Some((1, vec![0])));
        assert_eq!(offsets(&mut ahead, 2, 100), Some((0, vec![0, 1])));
        assert_eq!(offsets(&mut ahead, 2, 1), Some((0, vec![3])), "at least one");
        assert_eq!(offsets(&mut ahead, 2, 1), None);
    }

    #[test]
    fn a_paused_partition_gives_nothing_and_keeps_what_was_read() {
        let mut ahead = ahead(1);
        push(&mut ahead, 0, &[0]);
        ahead.set_paused(&[(Partition(0), 6)], true);
        ahead.set_paused(&[(Partition(0), 7)], true);
        assert!(!ahead.has_room(Partition(0)));
        assert_eq!(offsets(&mut ahead, 1, 1), None);
        ahead.set_paused(&[(Partition(0), 7)], false);
        assert_eq!(offsets(&mut ahead, 1, 1), Some((0, vec![0])));
    }

    #[test]
    fn a_seek_forgets_what_was_read_ahead() {
        let mut ahead = ahead(1);
        push(&mut ahead, 0, &[0]);
        assert!(!ahead.seek(Partition(0), 6, Offset(5)));
        assert!(ahead.seek(Partition(0), 7, Offset(5)));
        push(&mut ahead, 0, &[1]);
        push(&mut ahead, 0, &[4, 5, 6]);
        assert_eq!(offsets(&mut ahead, 9, 99), Some((0, vec![5, 6])));
        assert!(ahead.has_room(Partition(0)));
    }

    #[test]
    fn a_gap_stands_before_the_records_behind_it() {
        let mut ahead = ahead(1);
        push(&mut ahead, 0, &[0]);
        ahead.skip_to(Partition(0), Offset(4));
        push(&mut ahead, 0, &[4]);
        assert_eq!(offsets(&mut ahead, 9, 99), Some((0, vec![0])));
        let gap = SourceEvent::Gap { partition: Partition(0), from: Offset(1), to: Offset(4) };
        assert_eq!(ahead.take(9, 99), Some(gap));
        assert_eq!(offsets(&mut ahead, 9, 99), Some((0, vec![4])));
    }

    #[test]
    fn what_is_revoked_or_lost_gives_nothing_more() {
        let mut ahead = ahead(2);
        push(&mut ahead, 0, &[0]);
        push(&mut ahead, 1, &[0]);
        ahead.revoke(&[Partition(0), Partition(5)]);
        ahead.lose(&[Partition(1), Partition(5)]);
        assert!(ahead.has_untold_loss());
        assert_eq!(ahead.take(9, 99), Some(SourceEvent::Revoking(vec![Partition(0)])));
        assert_eq!(ahead.take(9, 99), Some(SourceEvent::Lost(vec![Partition(1)])));
        assert!(ahead.has_untold_loss(), "it may not be taken in");
        assert_eq!(ahead.take(9, 99), None);
        assert!(!ahead.has_untold_loss());
        ahead.release(Partition(0), 6);
        assert_eq!(ahead.partitions(), [Partition(0)]);
        ahead.release(Partition(0), 7);
        assert!(ahead.partitions().is_empty());
    }

    #[test]
    fn reading_ahead_has_bounds() {
        let mut ahead = ahead(1);
        for offset in 0..RECORDS_MAX as u64 {
            assert!(ahead.has_room(Partition(0)));
            push(&mut ahead, 0, &[offset]);
        }
        assert!(!ahead.has_room(Partition(0)));
        let mut large = record(0, 2_000);
        large.body = Bytes::from(vec![0; BYTES_MAX]);
        let mut ahead = super::tests::ahead(1);
        ahead.push(Partition(0), vec![large], BYTES_MAX);
        assert!(!ahead.has_room(Partition(0)));
    }
}
