//! What a member holds and has to say: shared by its keeper, its reader and the subscription.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use busline_core::{Assignment, Error, Offset, Partition, ReadAhead, Record, SourceEvent, SourceQueue, Term};
use tokio::time::Instant;

use crate::leases::Lease;
use crate::offsets::Known;

/// Records and bytes that are read ahead of the subscription, for all partitions together.
const AHEAD_RECORDS: usize = 4_096;
const AHEAD_BYTES: usize = 4 << 20;

/// Everything that a member knows of its partitions.
#[derive(Debug, Default)]
pub(crate) struct Held {
    pub(crate) partitions: BTreeMap<Partition, Part>,
    events: SourceQueue,
    /// Why the source gives nothing more.
    pub(crate) ended: Option<Error>,
    /// What went wrong last in keeping the leases, and in reading.
    pub(crate) keeping_trouble: Option<Error>,
    pub(crate) reading_trouble: Option<Error>,
    /// What is known of partitions that are no longer held: should somebody delete the bucket, neither the group nor its
    /// epochs begin anew.
    pub(crate) remembered: BTreeMap<Partition, Remembered>,
}

/// What is known of a partition that is no longer held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remembered {
    pub(crate) committed: Offset,
    /// The epoch that it was held under.
    pub(crate) epoch: u64,
}

/// A partition that is held.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) lease: Lease,
    pub(crate) known: Known,
    /// The next offset to read.
    pub(crate) next: Offset,
    /// From here to `next` there is no record of the partition.
    pub(crate) empty_from: Offset,
    /// Its stream has nothing before this.
    pub(crate) stream_start: Offset,
    /// Counts the moves of `next` that do not follow from reading.
    pub(crate) moves: u64,
    pub(crate) paused: bool,
    pub(crate) revoking: bool,
}

impl Part {
    pub(crate) fn new(lease: Lease, known: Known) -> Self {
        let next = known.progress.offset;
        Self { lease, known, next, empty_from: next, stream_start: Offset(0), moves: 0, paused: false, revoking: false }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.known.progress.epoch
    }

    /// Where to commit, if what its stream has deleted is not to look like a loss to whoever takes the partition next: the
    /// committed offset is gone, and from it on there was nothing of the partition.
    pub(crate) fn overtaken(&self) -> Option<Offset> {
        let committed = self.known.progress.offset;
        let start = self.stream_start.min(self.next);
        (committed == self.empty_from && committed < start).then_some(start)
    }

    /// Whether records of it are wanted.
    pub(crate) fn is_open(&self) -> bool {
        !self.paused && !self.revoking
    }
}

impl Held {
    /// How far each held partition is committed.
    pub(crate) fn committed(&self) -> Vec<(Partition, Offset)> {
        self.partitions.iter().map(|(partition, part)| (*partition, part.known.progress.offset)).collect()
    }

    /// The partition, if it is held under this generation.
    pub(crate) fn part(&mut self, partition: Partition, generation: u64) -> Option<&mut Part> {
        self.partitions.get_mut(&partition).filter(|part| part.generation() == generation)
    }

    pub(crate) fn assign(&mut self, taken: Vec<(Partition, Part)>) {
        if taken.is_empty() {
            return;
        }
        let assignment = |(partition, part): &(Partition, Part)| Assignment {
            partition: *partition,
            generation: part.generation(),
            committed: part.next,
        };
        self.events.push(SourceEvent::Assigned(taken.iter().map(assignment).collect()));
        self.partitions.extend(taken);
    }

    /// Begins to give up what belongs to others; what is being given up already is told once.
    pub(crate) fn revoke(&mut self, partitions: impl Iterator<Item = Partition>) {
        let mut told = Vec::new();
        for partition in partitions {
            if let Some(part) = self.partitions.get_mut(&partition).filter(|part| !part.revoking) {
                part.revoking = true;
                told.push(partition);
            }
        }
        if !told.is_empty() {
            self.events.push(SourceEvent::Revoking(told));
        }
    }

    /// Partitions that another member may hold by now.
    pub(crate) fn lose(&mut self, lost: Vec<Partition>) {
        let lost: Vec<Partition> = lost.into_iter().filter(|partition| self.forget(*partition).is_some()).collect();
        if !lost.is_empty() {
            self.events.push(SourceEvent::Lost(lost));
        }
    }

    /// Another member may hold this partition by now, unless it is held under another generation.
    pub(crate) fn lose_under(&mut self, partition: Partition, generation: u64) {
        if self.part(partition, generation).is_some() {
            self.lose(vec![partition]);
        }
    }

    /// Lengthens a lease; gives whether it is held under this generation.
    pub(crate) fn renew(&mut self, partition: Partition, generation: u64, lease: Lease) -> bool {
        self.part(partition, generation).map(|part| part.lease = lease).is_some()
    }

    /// Forgets a partition and what was read of it.
    pub(crate) fn forget(&mut self, partition: Partition) -> Option<Part> {
        let part = self.partitions.remove(&partition)?;
        let remembered = Remembered { committed: part.known.progress.offset, epoch: part.generation() };
        self.remembered.insert(partition, remembered);
        self.events.drop_ahead(partition);
        Some(part)
    }

    /// Partitions whose lease has run out by this instant.
    pub(crate) fn run_out(&self, now: Instant) -> Vec<Partition> {
        let out = self.partitions.iter().filter(|(_, part)| part.lease.until <= now);
        out.map(|(partition, _)| *partition).collect()
    }

    /// When the first lease runs out.
    pub(crate) fn first_end(&self) -> Option<Instant> {
        self.partitions.values().map(|part| part.lease.until).min()
    }

    /// Until when handlers may start: so long before the first lease runs out.
    pub(crate) fn term(&self, margin: Duration) -> Term {
        // What was taken after a loss is good for itself, not for what was held before, until that was taken in.
        if self.events.has_untold_loss() {
            return Term::Over;
        }
        self.first_end().map_or(Term::None, |end| Term::At(end - margin))
    }

    /// Whether more may be read ahead.
    pub(crate) fn has_room(&self) -> bool {
        let ReadAhead { records, bytes, .. } = self.events.ahead();
        records < AHEAD_RECORDS && bytes < AHEAD_BYTES
    }

    /// Queues records, unless their partition was lost or moved while they were read.
    pub(crate) fn hand_over(&mut self, partition: Partition, generation: u64, moves: u64, piece: Piece) {
        let Some(part) = self.part(partition, generation).filter(|part| part.moves == moves && part.is_open()) else {
            return;
        };
        let (from, Some(first), Some(newest)) = (part.next, piece.records.first(), piece.records.last()) else {
            return;
        };
        let to = first.offset;
        part.next = newest.offset.next();
        part.empty_from = part.next;
        if piece.is_dense && to > from {
            self.events.push(SourceEvent::Gap { partition, from, to });
        }
        self.events.push(SourceEvent::Records { generation, records: piece.records });
    }

    /// Goes on at `next`: there was no record of the partition before it. `gone` are positions that were deleted before
    /// they were read.
    pub(crate) fn pass(
        &mut self,
        partition: Partition,
        (generation, moves): (u64, u64),
        next: Offset,
        gone: Option<Range<Offset>>,
    ) {
        let Some(part) = self.part(partition, generation).filter(|part| part.moves == moves && part.is_open()) else {
            return;
        };
        part.next = next.max(part.next);
        if let Some(Range { start: from, end: to }) = gone {
            self.events.push(SourceEvent::Gap { partition, from, to });
        }
    }

    /// The stream of this partition has nothing before `start`.
    pub(crate) fn begins_at(&mut self, partition: Partition, generation: u64, start: Offset) {
        if let Some(part) = self.part(partition, generation) {
            part.stream_start = start;
        }
    }

    /// Partitions whose committed offset is to follow their stream, each with its generation and the offset.
    pub(crate) fn overtaken(&self) -> Vec<(Partition, u64, Offset)> {
        let each = self.partitions.iter().filter(|(_, part)| part.is_open());
        each.filter_map(|(partition, part)| Some((*partition, part.generation(), part.overtaken()?))).collect()
    }

    /// The next event. Whoever asks has taken in the one before.
    pub(crate) fn take_event(&mut self, records_max: usize, bytes_max: usize) -> Option<SourceEvent> {
        self.events.take(records_max, bytes_max)
    }

    /// Pauses a partition, and takes back what was read of it and not given.
    pub(crate) fn pause(&mut self, partition: Partition, generation: u64) {
        // Not `part`, which would borrow the events as well.
        let part = self.partitions.get_mut(&partition).filter(|part| part.generation() == generation);
        let Some(part) = part else { return };
        part.paused = true;
        part.moves += 1;
        if let Some(begin) = self.events.drop_ahead(partition) {
            (part.next, part.empty_from) = (begin, begin);
        }
    }

    /// Goes on at this offset; gives whether the partition is held under this generation.
    pub(crate) fn seek(&mut self, partition: Partition, generation: u64, offset: Offset) -> bool {
        let Some(part) = self.part(partition, generation).filter(|part| !part.revoking) else { return false };
        (part.next, part.empty_from) = (offset, offset);
        part.moves += 1;
        self.events.drop_ahead(partition);
        true
    }
}

/// Records of one partition that came together.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) records: Vec<Record>,
    /// Whether the partition has its stream for itself, so that each number of it belongs to a record.
    pub(crate) is_dense: bool,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::offsets::Progress;

    const P: Partition = Partition(0);

    fn part(until: Instant, offset: u64) -> Part {
        let progress = Progress { offset: Offset(offset), epoch: 1, owner: Uuid::nil(), topic: Uuid::nil() };
        Part::new(Lease { revision: 1, until }, Known { progress, revision: 1 })
    }

    fn held(offset: u64) -> Held {
        let mut held = Held::default();
        held.assign(vec![(P, part(Instant::now(), offset))]);
        assert!(matches!(held.take_event(0, 0), Some(SourceEvent::Assigned(_))));
        held
    }

    fn piece(offsets: &[u64]) -> Piece {
        let record = |offset: &u64| Record {
            partition: P,
            offset: Offset(*offset),
            time: Timestamp::UNIX_EPOCH,
            key: Bytes::from_static(b"k"),
            headers: busline_core::Headers::default(),
            body: Bytes::from_static(b"123456789"),
        };
        Piece { records: offsets.iter().map(record).collect(), is_dense: true }
    }

    fn given(held: &mut Held, records_max: usize, bytes_max: usize) -> Vec<u64> {
        match held.take_event(records_max, bytes_max) {
            Some(SourceEvent::Records { records, .. }) => records.iter().map(|record| record.offset.0).collect(),
            other => panic!("no records but {other:?}"),
        }
    }

    #[test]
    fn a_jump_is_a_gap_only_where_numbers_are_dense() {
        let mut held = held(1);
        held.hand_over(P, 1, 0, piece(&[4]));
        let gap = SourceEvent::Gap { partition: P, from: Offset(1), to: Offset(4) };
        assert_eq!(held.take_event(1, 1), Some(gap));
        held.hand_over(P, 1, 0, Piece { is_dense: false, ..piece(&[9]) });
        assert_eq!(given(&mut held, 9, 99), [4]);
        assert_eq!(given(&mut held, 9, 99), [9]);
    }

    #[test]
    fn a_committed_offset_follows_its_stream_only_where_nothing_was() {
        let mut held = held(3);
        held.hand_over(P, 1, 0, Piece { is_dense: false, ..piece(&[5]) });
        held.pass(P, (1, 0), Offset(40), None);
        let part = held.part(P, 1).expect("held");
        part.stream_start = Offset(30);
        assert_eq!(part.overtaken(), None, "5 is not finished");
        part.known.progress.offset = Offset(6);
        assert_eq!(part.overtaken(), Some(Offset(30)));
        part.stream_start = Offset(50);
        assert_eq!(part.overtaken(), Some(Offset(40)), "no further than was looked through");
        held.pass(P, (1, 0), Offset(60), Some(Offset(45)..Offset(47)));
        assert_eq!(given(&mut held, 9, 99), [5]);
        let gap = SourceEvent::Gap { partition: P, from: Offset(45), to: Offset(47) };
        assert_eq!(held.take_event(9, 99), Some(gap));
    }

    #[test]
    fn a_pause_takes_back_what_was_not_given_and_a_late_piece_is_dropped() {
        let mut held = held(1);
        held.hand_over(P, 1, 0, piece(&[1, 2, 3]));
        assert_eq!(given(&mut held, 1, 99), [1]);
        held.pause(P, 1);
        held.hand_over(P, 1, 0, piece(&[4]));
        assert!(held.take_event(9, 99).is_none());
        assert_eq!(held.partitions[&P].next, Offset(2));
    }

    #[test]
    fn a_seek_needs_the_generation_and_drops_what_was_read() {
        let mut held = held(1);
        held.hand_over(P, 1, 0, piece(&[1, 2]));
        assert!(!held.seek(P, 2, Offset(7)));
        assert!(held.seek(P, 1, Offset(7)));
        held.hand_over(P, 1, 0, piece(&[3]));
        held.hand_over(P, 1, 1, piece(&[7]));
        assert_eq!(given(&mut held, 9, 99), [7]);
    }

    #[test]
    fn a_lease_that_ran_out_is_told_once_and_before_records() {
        let mut held = held(1);
        let now = Instant::now() + Duration::from_secs(1);
        held.hand_over(P, 1, 0, piece(&[1]));
        assert_eq!(held.run_out(now), [P]);
        held.lose(vec![P]);
        held.lose(vec![P]);
        assert_eq!(held.take_event(9, 99), Some(SourceEvent::Lost(vec![P])));
        assert!(held.take_event(9, 99).is_none());
    }

    #[test]
    fn the_term_ends_before_the_first_lease_and_with_a_loss_until_that_is_told() {
        const MARGIN: Duration = Duration::from_millis(200);
        let (mut held, now) = (held(1), Instant::now());
        let (soon, later) = (now + Duration::from_secs(2), now + Duration::from_secs(3));
        held.assign(vec![(Partition(1), part(later, 1))]);
        assert!(held.renew(P, 1, Lease { revision: 2, until: soon }));
        assert_eq!(held.term(MARGIN), Term::At(soon - MARGIN));
        held.lose_under(P, 7);
        assert_eq!(held.term(MARGIN), Term::At(soon - MARGIN), "of another generation");
        held.lose_under(P, 1);
        assert_eq!(held.term(MARGIN), Term::Over);
        while !matches!(held.take_event(0, 0), Some(SourceEvent::Lost(_))) {}
        assert_eq!(held.term(MARGIN), Term::Over, "whoever is told has not let go of it yet");
        assert_eq!(held.take_event(0, 0), None);
        assert_eq!(held.term(MARGIN), Term::At(later - MARGIN));
        held.forget(Partition(1));
        assert_eq!(held.term(MARGIN), Term::None);
    }

    #[test]
    fn a_revoked_partition_gives_nothing_more_and_is_told_once() {
        let mut held = held(1);
        held.revoke([P].into_iter());
        held.revoke([P].into_iter());
        held.hand_over(P, 1, 0, piece(&[1]));
        assert_eq!(held.take_event(9, 99), Some(SourceEvent::Revoking(vec![P])));
        assert!(held.take_event(9, 99).is_none());
    }
}
