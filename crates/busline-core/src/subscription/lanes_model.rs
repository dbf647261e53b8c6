//! The lanes against a plain statement of their rules, over random courses of everything that can happen to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::behind::Behind;
use super::lane::Phase;
use super::lanes::{Bounds, End, Lanes, Load, Subject, Work, size_of};
use crate::driver::Assignment;
use crate::headers::Headers;
use crate::record::Record;
use crate::topic::{Offset, Partition};

const PARTITIONS: u32 = 3;
const KEYS: u64 = 5;

/// What is true of one partition that is held.
struct Plain {
    generation: u64,
    /// Changes with each assignment and each seek: attempts of another one count for nothing.
    epoch: u64,
    start: Offset,
    /// Delivered, in order: offset and key.
    delivered: Vec<(Offset, u64)>,
    finished: BTreeSet<Offset>,
    failed: HashMap<Offset, u32>,
    /// Heads that may not run before an instant, or never again.
    waits: HashMap<Offset, Option<Instant>>,
    stored: Offset,
    paused: bool,
    undecodable: bool,
    revoking: bool,
    source_paused: bool,
    /// Where its source goes on.
    next: Offset,
}

impl Plain {
    fn is_stopped(&self) -> bool {
        self.paused || self.undecodable || self.revoking
    }

    fn head(&self, key: u64) -> Option<Offset> {
        let of_key = self.delivered.iter().filter(|(_, of)| *of == key).map(|(offset, _)| *offset);
        of_key.into_iter().find(|offset| !self.finished.contains(offset))
    }

    fn prefix(&self) -> Offset {
        let finished = self.delivered.iter().take_while(|(offset, _)| self.finished.contains(offset));
        finished.last().map_or(self.start, |(offset, _)| offset.next())
    }
}

/// An attempt under way.
struct Running {
    work: Work,
    epoch: u64,
    key: u64,
    offset: Offset,
    /// What was taken out of its lane, to end with it.
    behind: Vec<Behind>,
}

struct Course {
    random: StdRng,
    bounds: Bounds,
    lanes: Lanes,
    plain: BTreeMap<Partition, Plain>,
    running: Vec<Running>,
    now: Instant,
    epochs: u64,
    attempts: usize,
    /// Kept as the stored offset of the group when a partition is not held.
    stored: HashMap<Partition, Offset>,
}

impl Course {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let bounds = Bounds {
            records_max: random.random_range(1..40),
            bytes_max: random.random_range(200..4_000),
            ahead_max: random.random_range(1..60),
        };
        let mut lanes = Lanes::new(bounds);
        lanes.empty_max = random.random_range(0..6);
        Self {
            random,
            bounds,
            lanes,
            plain: BTreeMap::new(),
            running: Vec::new(),
            now: Instant::now(),
            epochs: 0,
            attempts: 0,
            stored: HashMap::new(),
        }
    }

    fn key_of(record: &Record) -> u64 {
        u64::from(record.key[0])
    }

    /// The record that stands at this offset; offsets that do not exist lie between.
    fn record(partition: Partition, offset: Offset) -> Record {
        let mix = (offset.0 ^ u64::from(partition.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let body = vec![0; (mix % 97) as usize];
        Record {
            partition,
            offset,
            time: Timestamp::UNIX_EPOCH,
            key: Bytes::from(vec![(mix % KEYS) as u8]),
            headers: Headers::default(),
            body: Bytes::from(body),
        }
    }

    fn step(&mut self) {
        let partition = Partition(self.random.random_range(0..PARTITIONS));
        match self.random.random_range(0..100) {
            0..3 => self.assign(partition),
            3..5 => self.lose(partition),
            5..7 => self.revoke(partition),
            7..10 => self.seek(partition),
            10..14 => self.pause(partition),
            14..20 => self.resume(partition),
            20..45 => self.deliver(partition),
            45..67 => self.take(),
            67..70 => self.take_behind(),
            70..92 => self.finish(),
            92..96 => self.commit(),
            _ => self.wait(),
        }
        self.apply_pauses();
        self.check();
    }

    fn assign(&mut self, partition: Partition) {
        if self.plain.contains_key(&partition) {
            return;
        }
        self.epochs += 1;
        let committed = *self.stored.entry(partition).or_insert(Offset(0));
        let generation = self.epochs;
        self.lanes.assign(&Assignment { partition, generation, committed });
        self.plain.insert(partition, self.fresh(generation, committed, committed));
    }

    fn fresh(&self, generation: u64, start: Offset, stored: Offset) -> Plain {
        Plain {
            generation,
            epoch: self.epochs,
            start,
            delivered: Vec::new(),
            finished: BTreeSet::new(),
            failed: HashMap::new(),
            waits: HashMap::new(),
            stored,
            paused: false,
            undecodable: false,
            revoking: false,
            source_paused: false,
            next: start,
        }
    }

    fn lose(&mut self, partition: Partition) {
        self.lanes.drop_partition(partition);
        self.plain.remove(&partition);
    }

    fn revoke(&mut self, partition: Partition) {
        self.lanes.revoke(&[partition]);
        if let Some(plain) = self.plain.get_mut(&partition) {
            plain.revoking = true;
        }
    }

    fn seek(&mut self, partition: Partition) {
        let Some(before) = self.plain.get(&partition) else { return };
        let to = Offset(self.random.random_range(0..before.next.0 + 10));
        let (generation, stored) = (before.generation, before.stored);
        let (paused, source_paused) = (before.paused, before.source_paused);
        assert!(!self.lanes.seek(partition, generation + 1, to), "another generation");
        assert_eq!(self.lanes.seek(partition, generation, to), !before.revoking);
        if !before.revoking {
            self.epochs += 1;
            self.plain.insert(partition, Plain { paused, source_paused, ..self.fresh(generation, to, stored) });
        }
    }

    fn pause(&mut self, partition: Partition) {
        self.lanes.pause(&[partition]);
        if let Some(plain) = self.plain.get_mut(&partition) {
            plain.paused = true;
        }
    }

    fn resume(&mut self, partition: Partition) {
        self.lanes.resume(&[partition]);
        if let Some(plain) = self.plain.get_mut(&partition) {
            plain.paused = false;
        }
    }

    fn deliver(&mut self, partition: Partition) {
        let (records_max, bytes_max) = self.lanes.room();
        let Some(plain) = self.plain.get_mut(&partition) else { return };
        if plain.source_paused || records_max == 0 || bytes_max == 0 {
            return;
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.random.random_range(1..=records_max) {
            if bytes >= bytes_max {
                break;
            }
            let skipped = if self.random.random_ratio(1, 5) { self.random.random_range(1..4) } else { 0 };
            let offset = Offset(plain.next.0 + skipped);
            plain.next = offset.next();
            let record = Self::record(partition, offset);
            bytes += size_of(&record);
            records.push(record);
        }
        let delivered: Vec<_> = records.iter().map(|record| (record.offset, Self::key_of(record))).collect();
        assert_eq!(self.lanes.deliver(plain.generation + 1, records.clone()), 0, "another generation");
        let taken = self.lanes.deliver(plain.generation, records);
        if plain.revoking {
            assert_eq!(taken, 0);
        } else {
            assert_eq!(taken, delivered.len());
            plain.delivered.extend(delivered);
        }
    }

    fn take(&mut self) {
        let Some(work) = self.lanes.take() else { return };
        let plain = self.plain.get(&work.ticket.partition).expect("an attempt is of a partition that is held");
        assert!(!plain.is_stopped(), "nothing starts in a partition that is stopped");
        let offset = match &work.subject {
            Subject::Record(record) => record.offset,
            Subject::Offset(offset) => *offset,
        };
        let record = Self::record(work.ticket.partition, offset);
        let key = Self::key_of(&record);
        assert_eq!(size_of(&record), work.ticket.bytes);
        assert_eq!(plain.head(key), Some(offset), "the oldest unfinished record of its key");
        assert_eq!(work.ticket.attempt, plain.failed.get(&offset).copied().unwrap_or(0) + 1);
        let overlaps = |running: &Running| running.work.ticket.partition == work.ticket.partition && running.key == key;
        assert!(!self.running.iter().any(overlaps), "two attempts of one key at once");
        let waits = plain.waits.get(&offset);
        assert!(waits.is_none_or(|until| until.is_some_and(|until| until <= self.now)), "its pause has not ended");
        self.attempts += 1;
        self.running.push(Running { epoch: plain.epoch, key, offset, work, behind: Vec::new() });
    }

    fn take_behind(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let place = self.random.random_range(0..self.running.len());
        let running = &mut self.running[place];
        let taken = self.lanes.take_behind(running.work.ticket.lane);
        let plain = self.plain.get(&running.work.ticket.partition).filter(|plain| plain.epoch == running.epoch);
        let last = running.behind.last().map_or(running.offset, |one| one.record.offset);
        let of_key = plain.into_iter().flat_map(|plain| plain.delivered.iter().filter(|(_, key)| *key == running.key));
        let next: Vec<Offset> =
            of_key.map(|(offset, _)| *offset).filter(|offset| *offset > last).take(taken.len()).collect();
        let offsets: Vec<Offset> = taken.iter().map(|one| one.record.offset).collect();
        assert_eq!(offsets, next, "what comes next of its key, in order");
        running.behind.extend(taken);
    }

    fn finish(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let running = self.running.swap_remove(self.random.random_range(0..self.running.len()));
        let record = Box::new(Self::record(running.work.ticket.partition, running.offset));
        let due = self.now + Duration::from_millis(self.random.random_range(0..50));
        let end = match (self.random.random_range(0..20), &running.work.subject) {
            (0..3, _) => End::Retry(record, due),
            (3, _) if self.random.random_ratio(1, 4) => End::Stuck(record),
            (4, _) if self.random.random_ratio(1, 8) => End::Undecodable(record),
            (5..7, Subject::Record(_)) => End::Cancelled(record),
            (5..15, Subject::Offset(offset)) => End::ReadLater(*offset, due),
            (15, Subject::Offset(_)) => End::Gone,
            _ => End::Done,
        };
        self.end(running, end);
    }

    fn end(&mut self, running: Running, end: End) {
        let Running { work, epoch, offset, behind, .. } = running;
        if matches!(end, End::Done) {
            behind.iter().for_each(|one| self.lanes.finish_behind(work.ticket.lane, one));
            if let Some(plain) = self.plain.get_mut(&work.ticket.partition).filter(|plain| plain.epoch == epoch) {
                plain.finished.extend(behind.iter().map(|one| one.record.offset));
            }
        } else {
            self.lanes.give_back_behind(work.ticket.lane, behind);
        }
        if let Some(plain) = self.plain.get_mut(&work.ticket.partition).filter(|plain| plain.epoch == epoch) {
            match &end {
                End::Done | End::Gone => drop(plain.finished.insert(offset)),
                End::Retry(_, due) => {
                    *plain.failed.entry(offset).or_insert(0) += 1;
                    plain.waits.insert(offset, Some(*due));
                }
                End::Stuck(_) => {
                    plain.waits.insert(offset, None);
                }
                End::Undecodable(_) => {
                    plain.waits.insert(offset, None);
                    plain.undecodable = true;
                }
                End::ReadLater(_, due) => drop(plain.waits.insert(offset, Some(*due))),
                End::Cancelled(_) | End::Park(..) => {}
            }
        }
        self.lanes.finish(&work.ticket, end);
    }

    fn commit(&mut self) {
        let commits = self.lanes.commits();
        let wanted: Vec<_> = self
            .plain
            .iter()
            .filter(|(_, plain)| plain.prefix() > plain.stored)
            .map(|(partition, plain)| (*partition, plain.generation, plain.prefix()))
            .collect();
        let asked: Vec<_> = commits.iter().map(|commit| (commit.partition, commit.generation, commit.offset)).collect();
        assert_eq!(asked, wanted, "the contiguous prefix of what was delivered and finished");
        for commit in commits.iter().filter(|_| self.random.random_ratio(3, 4)) {
            self.lanes.committed(commit);
            self.stored.insert(commit.partition, commit.offset);
            if let Some(plain) = self.plain.get_mut(&commit.partition) {
                plain.stored = commit.offset;
            }
        }
    }

    fn wait(&mut self) {
        self.now += Duration::from_millis(self.random.random_range(0..40));
        self.lanes.wake_due(self.now);
        let drained: Vec<Partition> = self.lanes.drained().into_iter().map(|(partition, _)| partition).collect();
        let runs =
            |partition: &Partition| self.running.iter().any(|running| running.work.ticket.partition == *partition);
        let wanted: Vec<Partition> =
            self.plain.iter().filter(|(at, plain)| plain.revoking && !runs(at)).map(|(at, _)| *at).collect();
        assert_eq!(drained, wanted, "given up when nothing runs for it any more");
        for partition in drained {
            self.lose(partition);
        }
    }

    fn apply_pauses(&mut self) {
        let starving = self.random.random_bool(0.5);
        let (pause, resume) = self.lanes.pauses(starving);
        for (list, pauses) in [(pause, true), (resume, false)] {
            for (partition, generation) in list {
                let plain = self.plain.get_mut(&partition).expect("a partition that is held");
                assert_eq!((plain.generation, plain.source_paused), (generation, !pauses));
                plain.source_paused = pauses;
            }
        }
        for plain in self.plain.values() {
            assert!(plain.source_paused || !(plain.paused || plain.undecodable));
        }
    }

    fn check(&self) {
        let running = self.running.iter().fold(Load::default(), |load, running| {
            let load = load.plus(running.work.ticket.bytes);
            running.behind.iter().fold(load, |load, one| load.plus(size_of(&one.record)))
        });
        let lanes: Vec<_> = self.lanes.lanes.iter().flatten().collect();
        let mut load = running;
        lanes.iter().for_each(|lane| load.add(lane.load()));
        assert_eq!(self.lanes.load(), load, "what is held is counted exactly");
        let is_current = |running: &Running| {
            self.plain.get(&running.work.ticket.partition).is_some_and(|plain| plain.epoch == running.epoch)
        };
        let held_records: usize = self.lanes.partitions.values().map(|held| held.records).sum();
        let orphans = self.running.iter().filter(|running| !is_current(running));
        let orphans: usize = orphans.map(|running| 1 + running.behind.len()).sum();
        assert_eq!(held_records + orphans, load.records, "and counted for its partition");
        let mut waiting = Load::default();
        for lane in lanes.iter().filter(|lane| lane.rests && lane.phase != Phase::Orphan) {
            assert_eq!(lane.counted, lane.load());
            waiting.add(lane.load());
        }
        assert_eq!(self.lanes.waiting(), waiting, "what waits is counted exactly");
        let held_waiting: usize = self.lanes.partitions.values().map(|held| held.waiting).sum();
        assert_eq!(held_waiting, waiting.records, "and counted for its partition");
        assert!(load.records <= self.bounds.records_max, "{load:?} of {:?}", self.bounds);
        assert!(load.bytes < self.bounds.bytes_max + 98, "{load:?} of {:?}", self.bounds);
        assert!(waiting.records <= self.bounds.records_max / 2 && waiting.bytes <= self.bounds.bytes_max / 2);
        for (partition, plain) in &self.plain {
            let above = plain.delivered.iter().filter(|(offset, _)| *offset >= plain.stored.min(plain.prefix()));
            assert!(above.count() as u64 <= self.bounds.ahead_max, "{partition} is too far ahead");
        }
    }

    /// Everything that waits may go on; then everything is handled and nothing is left.
    fn heal(&mut self) {
        while let Some(running) = self.running.pop() {
            self.end(running, End::Done);
            self.check();
        }
        for partition in (0..PARTITIONS).map(Partition) {
            self.resume(partition);
        }
        self.now += Duration::from_secs(1);
        self.lanes.wake_due(self.now);
        loop {
            self.take();
            let Some(running) = self.running.pop() else { break };
            self.end(running, End::Done);
            self.check();
        }
        for plain in self.plain.values().filter(|plain| !plain.is_stopped()) {
            for key in 0..KEYS {
                let is_stuck = |offset| plain.waits.get(&offset).is_some_and(Option::is_none);
                let head = plain.head(key);
                assert!(head.is_none_or(is_stuck), "{head:?} of key {key} was forgotten");
            }
        }
        assert!(self.lanes.orphans.is_empty());
        self.commit();
    }
}

#[test]
fn lanes_agree_with_a_plain_model() {
    let first = busline_conformance::seed();
    let mut attempts = 0;
    for seed in (0..COURSES).map(|number| first.wrapping_add(number)) {
        let mut course = Course::new(seed);
        let run = std::panic::AssertUnwindSafe(|| {
            for _ in 0..400 {
                course.step();
            }
            course.heal();
            attempts += course.attempts;
        });
        // The rule itself was printed by the panic; this says how to see it again.
        assert!(std::panic::catch_unwind(run).is_ok(), "a rule is broken; repeat with BUSLINE_SEED={seed}");
    }
    assert!(attempts > COURSES as usize * 20, "only {attempts} attempts: the courses do nothing");
}

const COURSES: u64 = 2_000;

#[test]
fn a_partition_of_few_keys_leaves_the_window_to_the_others() {
    let bounds = Bounds { records_max: 64, bytes_max: 1 << 20, ahead_max: 10_000 };
    let mut lanes = Lanes::new(bounds);
    for number in 0..4 {
        lanes.assign(&Assignment { partition: Partition(number), generation: 1, committed: Offset(0) });
    }
    // All of one key, and more than a quarter of the window.
    lanes.deliver(1, (0..17).map(|offset| record_of(0, offset)));
    lanes.deliver(1, (0..16).map(|offset| record_of(1, offset)));
    assert_eq!(lanes.pauses(false), (vec![], vec![]), "nobody starves");
    assert_eq!(lanes.pauses(true), (vec![(Partition(0), 1)], vec![]));
    let mut handle = |count| {
        for _ in 0..count {
            let work = std::iter::from_fn(|| lanes.take()).find(|work| work.ticket.partition == Partition(0));
            lanes.finish(&work.expect("its key has more").ticket, End::Done);
        }
        lanes.pauses(true)
    };
    assert_eq!(handle(8), (vec![], vec![]), "it has more than half of its share");
    assert_eq!(handle(1), (vec![], vec![(Partition(0), 1)]));
}

fn record_of(partition: u32, offset: u64) -> Record {
    Course::record(Partition(partition), Offset(offset))
}
