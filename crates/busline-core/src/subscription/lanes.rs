//! Lanes: the in-process queue of each key, and which of them may run.
//!
//! Pure: it takes records, ends of attempts and instants, and says what to run, read, pause and commit next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet, VecDeque};

use bytes::Bytes;
use tokio::time::Instant;

use super::lane::{Further, Held, Lane, Phase};
pub(crate) use super::lane::{LaneRef, Load, size_of};
use super::parking::Cause;
use super::progress::Progress;
use crate::driver::Assignment;
use crate::record::Record;
use crate::topic::{Offset, Partition};

/// Bounds on what is handed over and unfinished.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) records_max: usize,
    /// Exceeded by less than one record.
    pub(crate) bytes_max: usize,
    pub(crate) ahead_max: u64,
}

impl Bounds {
    /// What waiting lanes may keep together: half, so that the others always have room.
    fn waiting_max(&self) -> Load {
        Load { records: self.records_max / 2, bytes: self.bytes_max / 2 }
    }

    /// Records read at once. A partition with less room than that pauses, so that no read goes past `ahead_max` and none
    /// has to be cut short for one partition's sake.
    pub(crate) fn piece(&self) -> u64 {
        (self.ahead_max / 8).clamp(1, READ_RECORDS_MAX)
    }
}

/// Most records read at once, so that workers begin before a long piece is routed.
const READ_RECORDS_MAX: u64 = 512;

/// Empty lanes that are kept, since a key that had a record often has more: opening a lane costs several times what
/// finding it costs.
const EMPTY_LANES_MAX: usize = 4_096;

/// Records that a waiting lane keeps; further ones are kept as offsets and read again when their turn comes.
const WAITING_RECORDS_MAX: usize = 16;

/// All lanes of one subscription.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(super) bounds: Bounds,
    pub(super) partitions: BTreeMap<Partition, Held>,
    pub(super) lanes: Vec<Option<Lane>>,
    pub(super) free: Vec<u32>,
    pub(super) next_id: u64,
    pub(super) ready: VecDeque<LaneRef>,
    /// Lanes that have become empty, the longest empty first; some have records again, or are gone.
    emptied: VecDeque<(LaneRef, u64)>,
    pub(super) empty_max: usize,
    /// Ready lanes whose head has to be read again, met while there was no room for it.
    pub(super) starved: VecDeque<LaneRef>,
    pub(super) backoff: BinaryHeap<Reverse<(Instant, LaneRef)>>,
    /// Keys for which an attempt runs that counts for nothing any more.
    pub(super) orphans: HashSet<(Partition, Bytes)>,
    /// Handed over and unfinished, without what is kept as offsets.
    pub(super) load: Load,
    /// The part of it that waiting lanes keep.
    pub(super) waiting: Load,
}

/// One attempt to make.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) ticket: Ticket,
    pub(crate) subject: Subject,
}

/// Says of an attempt whose it is, and what it counts for.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) lane: LaneRef,
    pub(crate) partition: Partition,
    pub(crate) ordinal: u64,
    pub(crate) attempt: u32,
    pub(crate) bytes: usize,
}

/// What an attempt is about.
#[derive(Debug)]
pub(crate) enum Subject {
    Record(Record),
    /// The record has to be read again first.
    Offset(Offset),
}

/// How an attempt ended. Boxed where a record comes back, since nearly all ends are `Done` and ends are moved about.
#[derive(Debug)]
pub(crate) enum End {
    /// Handled, or passed over by a stated policy.
    Done,
    /// Failed; the next attempt is due at this instant.
    Retry(Box<Record>, Instant),
    /// Failed for good: the key waits.
    Stuck(Box<Record>),
    /// Cannot be decoded: the partition waits.
    Undecodable(Box<Record>),
    /// To be parked: its lane waits for that, without a worker.
    Park(Box<Record>, Box<Cause>),
    /// Broken off; it comes again if the partition is still held.
    Cancelled(Box<Record>),
    /// The record is no longer in the topic.
    Gone,
    /// The record could not be read again; the next try is due at this instant.
    ReadLater(Offset, Instant),
}

/// What holds a partition back, for health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) partition: Partition,
    pub(crate) offset: Option<Offset>,
    pub(crate) key: Option<Bytes>,
    pub(crate) why: &'static str,
}

/// Partitions with the generations they are held under.
pub(crate) type Shares = Vec<(Partition, u64)>;

impl Lanes {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            partitions: BTreeMap::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            next_id: 0,
            ready: VecDeque::new(),
            emptied: VecDeque::new(),
            empty_max: EMPTY_LANES_MAX,
            starved: VecDeque::new(),
            backoff: BinaryHeap::new(),
            orphans: HashSet::new(),
            load: Load::default(),
            waiting: Load::default(),
        }
    }

    /// A partition is ours from now on.
    pub(crate) fn assign(&mut self, assignment: &Assignment) {
        self.drop_partition(assignment.partition);
        let held = Held::new(assignment.generation, Progress::new(assignment.committed));
        self.partitions.insert(assignment.partition, held);
    }

    /// Records and bytes that may be handed over now.
    pub(crate) fn room(&self) -> (usize, usize) {
        let records = self.bounds.records_max.saturating_sub(self.load.records);
        (records.min(self.bounds.piece() as usize), self.bounds.bytes_max.saturating_sub(self.load.bytes))
    }

    /// What is handed over and unfinished.
    pub(crate) fn load(&self) -> Load {
        self.load
    }

    /// Takes records of one partition in offset order; those of an older assignment are dropped. Gives how many were
    /// taken.
    pub(crate) fn deliver(&mut self, generation: u64, records: impl IntoIterator<Item = Record>) -> usize {
        let mut taken = 0;
        for record in records {
            let Some(held) = self.partitions.get_mut(&record.partition) else { break };
            if held.generation != generation || held.revoking {
                break;
            }
            taken += 1;
            let ordinal = held.progress.deliver(record.offset);
            let lane_ref = match held.by_key.get(&record.key).copied() {
                Some(known) => self.wake_empty(known),
                // A copy, since the record's own bytes are part of a larger buffer that the lane would keep.
                None => self.open_lane(record.partition, Bytes::copy_from_slice(&record.key)),
            };
            self.queue(lane_ref, ordinal, record);
        }
        taken
    }

    /// A lane that gets a record is ready if it was empty.
    fn wake_empty(&mut self, lane_ref: LaneRef) -> LaneRef {
        if let Some(lane) = lane_of(&mut self.lanes, lane_ref).filter(|lane| lane.phase == Phase::Empty) {
            lane.phase = Phase::Ready;
            self.ready.push_back(lane_ref);
        }
        lane_ref
    }

    /// Keeps a lane that has become empty, and gives up the one that was empty longest if there are too many.
    fn keep_empty(&mut self, lane_ref: LaneRef, rests: bool) {
        self.rest(lane_ref, rests);
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        lane.phase = Phase::Empty;
        lane.times_emptied += 1;
        self.emptied.push_back((lane_ref, lane.times_emptied));
        if self.emptied.len() <= self.empty_max {
            return;
        }
        let Some((oldest, times_emptied)) = self.emptied.pop_front() else { return };
        let is_empty = |lane: &&mut Lane| lane.phase == Phase::Empty && lane.times_emptied == times_emptied;
        if lane_of(&mut self.lanes, oldest).filter(is_empty).is_some() {
            self.close_lane(oldest);
        }
    }

    /// Takes a lane away that its partition knows.
    pub(super) fn close_lane(&mut self, lane_ref: LaneRef) {
        if let Some(lane) = self.remove(lane_ref)
            && let Some(held) = self.partitions.get_mut(&lane.partition)
        {
            held.by_key.remove(&lane.key);
        }
    }

    fn open_lane(&mut self, partition: Partition, key: Bytes) -> LaneRef {
        let id = self.next_id;
        self.next_id += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.lanes.push(None);
            (self.lanes.len() - 1) as u32
        });
        let lane_ref = LaneRef { place, id };
        let is_behind = !self.orphans.is_empty() && self.orphans.contains(&(partition, key.clone()));
        let Some(held) = self.partitions.get_mut(&partition) else { return lane_ref };
        held.by_key.insert(key.clone(), lane_ref);
        let phase = if is_behind { Phase::Behind } else { Phase::Ready };
        self.lanes[place as usize] = Some(Lane {
            id,
            partition,
            key,
            held: VecDeque::new(),
            further: VecDeque::new(),
            failed: 0,
            times_emptied: 0,
            phase,
            rests: is_behind || held.is_stopped(),
            counted: Load::default(),
        });
        if !is_behind {
            self.ready.push_back(lane_ref);
        }
        lane_ref
    }

    fn queue(&mut self, lane_ref: LaneRef, ordinal: u64, record: Record) {
        let (max, bytes) = (self.bounds.waiting_max(), size_of(&record));
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        let is_full = lane.rests
            && (lane.held.len() >= WAITING_RECORDS_MAX
                || self.waiting.records >= max.records
                || self.waiting.bytes + bytes > max.bytes);
        if is_full || !lane.further.is_empty() {
            lane.further.push_back(Further { ordinal, offset: record.offset, bytes });
            return;
        }
        self.load.add(Load::one(bytes));
        if let Some(held) = self.partitions.get_mut(&lane.partition) {
            held.records += 1;
            held.waiting += usize::from(lane.rests);
        }
        if lane.rests {
            self.waiting.add(Load::one(bytes));
            lane.counted.add(Load::one(bytes));
        }
        lane.held.push_back((ordinal, record));
    }

    /// The next attempt to make, if a lane is ready.
    pub(crate) fn take(&mut self) -> Option<Work> {
        while let Some(lane_ref) = self.next_ready() {
            let has_room = self.has_room();
            let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { continue };
            let Some(held) = self.partitions.get_mut(&lane.partition) else { continue };
            if held.is_stopped() {
                held.set_aside.push(lane_ref);
                continue;
            }
            let (ordinal, bytes, subject) = match lane.held.pop_front() {
                Some((ordinal, record)) => (ordinal, size_of(&record), Subject::Record(record)),
                None if !has_room => {
                    self.starved.push_back(lane_ref);
                    continue;
                }
                None => {
                    let Some(Further { ordinal, offset, bytes }) = lane.further.pop_front() else { continue };
                    self.load.add(Load::one(bytes));
                    held.records += 1;
                    (ordinal, bytes, Subject::Offset(offset))
                }
            };
            lane.phase = Phase::Running;
            held.running += 1;
            let (partition, attempt) = (lane.partition, lane.failed + 1);
            return Some(Work { ticket: Ticket { lane: lane_ref, partition, ordinal, attempt, bytes }, subject });
        }
        None
    }

    /// The next attempts to make, at most `size_max`; gives whether there is one.
    pub(crate) fn take_some(&mut self, works: &mut VecDeque<Work>, size_max: usize) -> bool {
        while works.len() < size_max
            && let Some(work) = self.take()
        {
            works.push_back(work);
        }
        !works.is_empty()
    }

    fn next_ready(&mut self) -> Option<LaneRef> {
        let starved = if self.has_room() { self.starved.pop_front() } else { None };
        starved.or_else(|| self.ready.pop_front())
    }

    /// Whether one more record may be held.
    fn has_room(&self) -> bool {
        self.load.records < self.bounds.records_max && self.load.bytes < self.bounds.bytes_max
    }

    /// Lanes that could run.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len() + if self.has_room() { self.starved.len() } else { 0 }
    }

    /// Ends an attempt.
    pub(crate) fn finish(&mut self, ticket: &Ticket, end: End) {
        let Ticket { lane: lane_ref, ordinal, bytes, .. } = *ticket;
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        let held = self.partitions.get_mut(&lane.partition).filter(|_| lane.phase != Phase::Orphan);
        let Some(held) = held else { return self.end_orphan(lane_ref, bytes) };
        held.running -= 1;
        match end {
            End::Done | End::Gone => {
                self.load.take(Load::one(bytes));
                held.records -= 1;
                held.progress.finish(ordinal);
                lane.failed = 0;
                lane.phase = Phase::Ready;
            }
            End::Retry(record, due) => {
                lane.failed += 1;
                lane.held.push_front((ordinal, *record));
                lane.phase = Phase::Backoff;
                self.backoff.push(Reverse((due, lane_ref)));
            }
            End::Stuck(record) => {
                lane.failed += 1;
                lane.held.push_front((ordinal, *record));
                lane.phase = Phase::Stuck;
            }
            End::Undecodable(record) => {
                lane.held.push_front((ordinal, *record));
                lane.phase = Phase::Undecodable;
                held.undecodable = true;
            }
            End::Cancelled(record) | End::Park(record, _) => {
                lane.held.push_front((ordinal, *record));
                lane.phase = Phase::Ready;
            }
            End::ReadLater(offset, due) => {
                self.load.take(Load::one(bytes));
                held.records -= 1;
                self.let_go(lane_ref);
                let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
                lane.further.push_front(Further { ordinal, offset, bytes });
                lane.phase = Phase::Backoff;
                self.backoff.push(Reverse((due, lane_ref)));
            }
        }
        self.go_on(lane_ref);
    }

    /// What follows for a lane whose attempt has ended.
    pub(super) fn go_on(&mut self, lane_ref: LaneRef) {
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        let (partition, phase) = (lane.partition, lane.phase);
        let is_empty = lane.held.is_empty() && lane.further.is_empty();
        let Some(held) = self.partitions.get_mut(&partition) else { return };
        if held.revoking {
            return self.close_lane(lane_ref);
        }
        if is_empty {
            let rests = held.is_stopped();
            return self.keep_empty(lane_ref, rests);
        }
        if phase == Phase::Undecodable {
            return self.rest_all(partition);
        }
        let rests = phase.waits() || held.is_stopped();
        self.rest(lane_ref, rests);
        if phase == Phase::Ready {
            self.ready.push_back(lane_ref);
        }
    }

    /// An attempt has ended that counts for nothing; a lane that waited for its end goes on.
    fn end_orphan(&mut self, lane_ref: LaneRef, bytes: usize) {
        self.load.take(Load::one(bytes));
        let Some(lane) = self.remove(lane_ref) else { return };
        let behind = self.partitions.get(&lane.partition).and_then(|held| held.by_key.get(&lane.key)).copied();
        self.orphans.remove(&(lane.partition, lane.key));
        let Some(behind) = behind else { return };
        if let Some(lane) = lane_of(&mut self.lanes, behind).filter(|lane| lane.phase == Phase::Behind) {
            lane.phase = Phase::Ready;
            self.go_on(behind);
        }
    }

    /// Takes a lane and what it keeps away.
    pub(super) fn remove(&mut self, lane_ref: LaneRef) -> Option<Lane> {
        let lane = self.lanes.get_mut(lane_ref.place as usize)?.take_if(|lane| lane.id == lane_ref.id)?;
        self.free.push(lane_ref.place);
        self.take_load(lane.partition, lane.load());
        self.take_waiting(lane.partition, lane.counted);
        Some(lane)
    }

    /// Counts what a lane keeps as waiting or not; a waiting one lets go of what it may not keep.
    pub(super) fn rest(&mut self, lane_ref: LaneRef, rests: bool) {
        let max = self.bounds.waiting_max();
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        let (partition, counted) = (lane.partition, std::mem::take(&mut lane.counted));
        self.take_waiting(partition, counted);
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        lane.rests = rests;
        if !rests {
            return;
        }
        let mut kept = lane.load();
        let before = kept;
        while kept.records > 0
            && (kept.records > WAITING_RECORDS_MAX
                || self.waiting.records + kept.records > max.records
                || self.waiting.bytes + kept.bytes > max.bytes)
        {
            kept.take(Load::one(lane.let_go_of_newest()));
        }
        self.waiting.add(kept);
        lane.counted = kept;
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.waiting += kept.records;
        }
        self.take_load(partition, before.minus(kept));
    }

    /// Keeps all records of a lane as places only.
    pub(super) fn let_go(&mut self, lane_ref: LaneRef) {
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        let (partition, gone) = (lane.partition, lane.load());
        while !lane.held.is_empty() {
            lane.let_go_of_newest();
        }
        self.take_load(partition, gone);
    }

    /// No longer counted as waiting.
    pub(super) fn take_waiting(&mut self, partition: Partition, gone: Load) {
        self.waiting.take(gone);
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.waiting -= gone.records;
        }
    }

    /// No longer held in memory.
    pub(super) fn take_load(&mut self, partition: Partition, gone: Load) {
        self.load.take(gone);
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.records -= gone.records;
        }
    }

    /// Lets lanes run again whose pause has ended; gives when the next one ends.
    pub(crate) fn wake_due(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((due, lane_ref))) = self.backoff.peek().copied() {
            if due > now {
                return Some(due);
            }
            self.backoff.pop();
            if let Some(lane) = lane_of(&mut self.lanes, lane_ref).filter(|lane| lane.phase == Phase::Backoff) {
                lane.phase = Phase::Ready;
                self.go_on(lane_ref);
            }
        }
        None
    }

    /// When the next pause of a lane ends.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.backoff.peek().map(|Reverse((due, _))| *due)
    }
}

pub(super) fn lane_of(lanes: &mut [Option<Lane>], lane_ref: LaneRef) -> Option<&mut Lane> {
    lanes.get_mut(lane_ref.place as usize)?.as_mut().filter(|lane| lane.id == lane_ref.id)
}
