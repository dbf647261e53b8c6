//! Lanes: the in-process queue of each key, and which of them may run.
//!
//! Pure: it takes records, ends of attempts and instants, and says what to run, read, pause and commit next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};

use bytes::Bytes;
use tokio::time::Instant;

use super::progress::Progress;
use crate::driver::{Assignment, Commit};
use crate::record::Record;
use crate::topic::{Offset, Partition};

/// Bounds on what is handed over and unfinished.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) records_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) ahead_max: u64,
}

/// Records that a waiting lane keeps; further ones are kept as offsets and read again when their turn comes.
const WAITING_RECORDS_MAX: usize = 16;

/// All lanes of one subscription.
#[derive(Debug)]
pub(crate) struct Lanes {
    bounds: Bounds,
    partitions: BTreeMap<Partition, Held>,
    lanes: Vec<Option<Lane>>,
    free: Vec<u32>,
    next_id: u64,
    ready: VecDeque<LaneRef>,
    backoff: BinaryHeap<Reverse<(Instant, LaneRef)>>,
    records: usize,
    bytes: usize,
    /// Records that waiting lanes keep.
    waiting_records: usize,
    running: usize,
}

/// Names a lane as long as it exists; its place may be given to another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneRef {
    place: u32,
    id: u64,
}

/// One partition that this member holds.
#[derive(Debug)]
struct Held {
    generation: u64,
    progress: Progress,
    committed: Offset,
    by_key: HashMap<Bytes, LaneRef>,
    running: usize,
    stop: Option<Stop>,
    /// Ready lanes that may not run at the moment.
    set_aside: Vec<LaneRef>,
    source_paused: bool,
}

/// Why nothing more of a partition is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Revoking,
    Paused,
    /// A record that cannot be decoded has no key, so all behind it wait.
    Undecodable,
}

#[derive(Debug)]
struct Lane {
    id: u64,
    partition: Partition,
    key: Bytes,
    held: VecDeque<(u64, Record)>,
    further: VecDeque<(u64, Offset)>,
    /// Failed attempts of the record at the head.
    failed: u32,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ready,
    Running,
    Backoff,
    /// The head has used its attempts up and holds its key.
    Stuck,
}

/// One attempt to make.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) lane: LaneRef,
    pub(crate) partition: Partition,
    pub(crate) ordinal: u64,
    pub(crate) attempt: u32,
    pub(crate) subject: Subject,
}

/// What an attempt is about.
#[derive(Debug)]
pub(crate) enum Subject {
    Record(Record),
    /// The record has to be read again first.
    Offset(Offset),
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// Handled, or passed over by a stated policy.
    Done,
    /// Failed; the next attempt is due at this instant.
    Retry(Record, Instant),
    /// Failed for good: the key waits.
    Stuck(Record),
    /// Cannot be decoded: the partition waits.
    Undecodable(Record),
    /// Broken off; it comes again if the partition is still held.
    Cancelled(Record),
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

impl Lanes {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            partitions: BTreeMap::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            next_id: 0,
            ready: VecDeque::new(),
            backoff: BinaryHeap::new(),
            records: 0,
            bytes: 0,
            waiting_records: 0,
            running: 0,
        }
    }

    /// A partition is ours from now on.
    pub(crate) fn assign(&mut self, assignment: &Assignment) {
        self.drop_partition(assignment.partition);
        let held = Held {
            generation: assignment.generation,
            progress: Progress::new(assignment.committed),
            committed: assignment.committed,
            by_key: HashMap::new(),
            running: 0,
            stop: None,
            set_aside: Vec::new(),
            source_paused: false,
        };
        self.partitions.insert(assignment.partition, held);
    }

    /// Whether more records may be handed over.
    pub(crate) fn room(&self) -> (usize, usize) {
        (self.bounds.records_max.saturating_sub(self.records), self.bounds.bytes_max.saturating_sub(self.bytes))
    }

    /// Takes records of one partition in offset order; those of an older assignment are dropped.
    pub(crate) fn deliver(&mut self, generation: u64, records: Vec<Record>) {
        for record in records {
            let Some(held) = self.partitions.get_mut(&record.partition).filter(|held| held.generation == generation)
            else {
                return;
            };
            let ordinal = held.progress.deliver(record.offset);
            let lane_ref = match held.by_key.get(&record.key) {
                Some(known) => *known,
                None => self.open_lane(record.partition, record.key.clone()),
            };
            self.queue(lane_ref, ordinal, record);
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
        self.lanes[place as usize] = Some(Lane {
            id,
            partition,
            key: key.clone(),
            held: VecDeque::new(),
            further: VecDeque::new(),
            failed: 0,
            phase: Phase::Ready,
        });
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.by_key.insert(key, lane_ref);
        }
        self.ready.push_back(lane_ref);
        lane_ref
    }

    fn queue(&mut self, lane_ref: LaneRef, ordinal: u64, record: Record) {
        let waiting_full = self.waiting_records >= self.bounds.records_max / 2;
        let Some(lane) = self.lanes[lane_ref.place as usize].as_mut() else { return };
        let waits = matches!(lane.phase, Phase::Backoff | Phase::Stuck);
        if !lane.further.is_empty() || (waits && (waiting_full || lane.held.len() >= WAITING_RECORDS_MAX)) {
            lane.further.push_back((ordinal, record.offset));
            return;
        }
        self.records += 1;
        self.bytes += size_of(&record);
        self.waiting_records += usize::from(waits);
        lane.held.push_back((ordinal, record));
    }

    /// The next attempt to make, if a lane is ready.
    pub(crate) fn take(&mut self) -> Option<Work> {
        while let Some(lane_ref) = self.ready.pop_front() {
            let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { continue };
            let Some(held) = self.partitions.get_mut(&lane.partition) else { continue };
            if held.stop.is_some() {
                held.set_aside.push(lane_ref);
                continue;
            }
            let (ordinal, subject) = match lane.held.pop_front() {
                Some((ordinal, record)) => (ordinal, Subject::Record(record)),
                None => match lane.further.pop_front() {
                    Some((ordinal, offset)) => {
                        // It is read again, so it counts from now on; its size is known only then.
                        self.records += 1;
                        (ordinal, Subject::Offset(offset))
                    }
                    None => continue,
                },
            };
            lane.phase = Phase::Running;
            held.running += 1;
            self.running += 1;
            return Some(Work {
                lane: lane_ref,
                partition: lane.partition,
                ordinal,
                attempt: lane.failed + 1,
                subject,
            });
        }
        None
    }

    /// Lanes that could run.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Counts the bytes of a record that was read again for this attempt.
    pub(crate) fn read_again(&mut self, record: &Record) {
        self.bytes += size_of(record);
    }

    /// Ends an attempt. Gives whether the lane's partition is still ours.
    pub(crate) fn finish(&mut self, lane_ref: LaneRef, ordinal: u64, bytes: usize, end: End) -> bool {
        self.running -= 1;
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else {
            self.records -= 1;
            self.bytes -= bytes;
            return false;
        };
        let Some(held) = self.partitions.get_mut(&lane.partition) else { return false };
        held.running -= 1;
        match end {
            End::Done | End::Gone => {
                self.records -= 1;
                self.bytes -= bytes;
                held.progress.finish(ordinal);
                lane.failed = 0;
                self.go_on(lane_ref);
            }
            End::Retry(record, due) => {
                lane.failed += 1;
                self.wait(lane_ref, ordinal, record, Phase::Backoff);
                self.backoff.push(Reverse((due, lane_ref)));
            }
            End::Stuck(record) => {
                lane.failed += 1;
                self.wait(lane_ref, ordinal, record, Phase::Stuck);
            }
            End::Undecodable(record) => {
                held.stop = held.stop.filter(|stop| *stop == Stop::Revoking).or(Some(Stop::Undecodable));
                self.wait(lane_ref, ordinal, record, Phase::Stuck);
            }
            End::ReadLater(offset, due) => {
                self.records -= 1;
                lane.further.push_front((ordinal, offset));
                lane.phase = Phase::Backoff;
                self.waiting_records += lane.held.len();
                self.backoff.push(Reverse((due, lane_ref)));
            }
            End::Cancelled(record) => {
                lane.held.push_front((ordinal, record));
                lane.phase = Phase::Ready;
                self.ready.push_back(lane_ref);
            }
        }
        true
    }

    /// The lane's next record, or the end of the lane.
    fn go_on(&mut self, lane_ref: LaneRef) {
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        if lane.held.is_empty() && lane.further.is_empty() {
            let partition = lane.partition;
            let key = std::mem::take(&mut lane.key);
            self.lanes[lane_ref.place as usize] = None;
            self.free.push(lane_ref.place);
            if let Some(held) = self.partitions.get_mut(&partition) {
                held.by_key.remove(&key);
            }
            return;
        }
        lane.phase = Phase::Ready;
        self.ready.push_back(lane_ref);
    }

    /// Puts the record back at the head, and lets go of what a waiting lane may not keep.
    fn wait(&mut self, lane_ref: LaneRef, ordinal: u64, record: Record, phase: Phase) {
        let room = (self.bounds.records_max / 2).saturating_sub(self.waiting_records);
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        lane.held.push_front((ordinal, record));
        lane.phase = phase;
        let kept = room.min(WAITING_RECORDS_MAX);
        while lane.held.len() > kept {
            let Some((ordinal, record)) = lane.held.pop_back() else { break };
            self.records -= 1;
            self.bytes -= size_of(&record);
            lane.further.push_front((ordinal, record.offset));
        }
        self.waiting_records += lane.held.len();
    }

    /// Lets lanes run again whose pause has ended; gives when the next one ends.
    pub(crate) fn wake_due(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((due, lane_ref))) = self.backoff.peek().copied() {
            if due > now {
                return Some(due);
            }
            self.backoff.pop();
            if let Some(lane) = lane_of(&mut self.lanes, lane_ref) {
                self.waiting_records -= lane.held.len();
                lane.phase = Phase::Ready;
                self.ready.push_back(lane_ref);
            }
        }
        None
    }

    /// Offsets that may be committed and were not.
    pub(crate) fn commits(&self) -> Vec<Commit> {
        let moved = |(partition, held): (&Partition, &Held)| {
            let offset = held.progress.committable();
            (offset > held.committed).then_some(Commit { partition: *partition, generation: held.generation, offset })
        };
        self.partitions.iter().filter_map(moved).collect()
    }

    /// This commit is stored.
    pub(crate) fn committed(&mut self, commit: &Commit) {
        if let Some(held) = self.partitions.get_mut(&commit.partition)
            && held.generation == commit.generation
        {
            held.committed = held.committed.max(commit.offset);
        }
    }

    /// Partitions whose source has to pause because too much is delivered ahead of the first unfinished record, and
    /// those that may go on.
    pub(crate) fn pauses(&mut self) -> (Vec<(Partition, u64)>, Vec<(Partition, u64)>) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (partition, held) in &mut self.partitions {
            let full = held.progress.ahead() >= self.bounds.ahead_max || matches!(held.stop, Some(Stop::Undecodable));
            if full != held.source_paused {
                held.source_paused = full;
                let list = if full { &mut pause } else { &mut resume };
                list.push((*partition, held.generation));
            }
        }
        (pause, resume)
    }

    /// Whether a partition has delivered as much as it may.
    pub(crate) fn ahead_room(&self) -> u64 {
        let room = |held: &Held| self.bounds.ahead_max.saturating_sub(held.progress.ahead());
        self.partitions.values().filter(|held| !held.source_paused).map(room).min().unwrap_or(self.bounds.ahead_max)
    }

    /// Starts nothing more of these partitions.
    pub(crate) fn revoke(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(held) = self.partitions.get_mut(partition) {
                held.stop = Some(Stop::Revoking);
            }
        }
    }

    /// Partitions that are being given up.
    pub(crate) fn revoking(&self) -> Vec<Partition> {
        let revoking =
            |(partition, held): (&Partition, &Held)| (held.stop == Some(Stop::Revoking)).then_some(*partition);
        self.partitions.iter().filter_map(revoking).collect()
    }

    /// Partitions to give up in which nothing runs any more, with their generations.
    pub(crate) fn drained(&self) -> Vec<(Partition, u64)> {
        let drained = |(partition, held): (&Partition, &Held)| {
            (held.stop == Some(Stop::Revoking) && held.running == 0).then_some((*partition, held.generation))
        };
        self.partitions.iter().filter_map(drained).collect()
    }

    /// Starts nothing of these partitions until they are resumed; gives those that are ours, with their generations.
    pub(crate) fn pause(&mut self, partitions: &[Partition]) -> Vec<(Partition, u64)> {
        let mut paused = Vec::new();
        for partition in partitions {
            if let Some(held) = self.partitions.get_mut(partition) {
                held.stop.get_or_insert(Stop::Paused);
                paused.push((*partition, held.generation));
            }
        }
        paused
    }

    /// Lets paused partitions go on; gives them with their generations.
    pub(crate) fn resume(&mut self, partitions: &[Partition]) -> Vec<(Partition, u64)> {
        let mut resumed = Vec::new();
        for partition in partitions {
            if let Some(held) = self.partitions.get_mut(partition)
                && held.stop == Some(Stop::Paused)
            {
                held.stop = None;
                self.ready.extend(held.set_aside.drain(..));
                resumed.push((*partition, held.generation));
            }
        }
        resumed
    }

    /// The partition is not ours any more, or begins again elsewhere: its lanes go, running attempts count for nothing.
    pub(crate) fn drop_partition(&mut self, partition: Partition) {
        let Some(held) = self.partitions.remove(&partition) else { return };
        for lane_ref in held.by_key.into_values() {
            let Some(lane) = self.lanes[lane_ref.place as usize].take() else { continue };
            self.free.push(lane_ref.place);
            self.records -= lane.held.len();
            self.bytes -= lane.held.iter().map(|(_, record)| size_of(record)).sum::<usize>();
            if matches!(lane.phase, Phase::Backoff | Phase::Stuck) {
                self.waiting_records -= lane.held.len();
            }
        }
    }

    pub(crate) fn generation(&self, partition: Partition) -> Option<u64> {
        self.partitions.get(&partition).map(|held| held.generation)
    }

    pub(crate) fn partitions(&self) -> Vec<Partition> {
        self.partitions.keys().copied().collect()
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// What holds partitions back: undecodable records, and keys whose attempts are used up.
    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        let lanes = self.lanes.iter().flatten().filter(|lane| lane.phase == Phase::Stuck);
        lanes
            .map(|lane| {
                let undecodable =
                    self.partitions.get(&lane.partition).is_some_and(|held| held.stop == Some(Stop::Undecodable));
                let held = lane.held.front().map(|(_, record)| record.offset);
                Blocked {
                    partition: lane.partition,
                    offset: held.or_else(|| lane.further.front().map(|(_, offset)| *offset)),
                    key: (!undecodable).then(|| lane.key.clone()),
                    why: if undecodable { "a record cannot be decoded" } else { "a key has used its attempts up" },
                }
            })
            .collect()
    }
}

fn lane_of(lanes: &mut [Option<Lane>], lane_ref: LaneRef) -> Option<&mut Lane> {
    lanes.get_mut(lane_ref.place as usize)?.as_mut().filter(|lane| lane.id == lane_ref.id)
}

pub(crate) fn size_of(record: &Record) -> usize {
    record.key.len() + record.body.len()
}
