//! One lane: the queue of one key, and what the lanes of a partition share.

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt};

use super::progress::Progress;
use crate::record::Record;
use crate::topic::{Offset, Partition};

/// Names a lane as long as it exists; its place may be given to another one later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaneRef {
    pub(super) place: u32,
    pub(super) id: u64,
}

/// The queue of one key. Its head is not in it while an attempt runs.
///
/// INVARIANT: every record of `held` stands before every one of `further`.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) id: u64,
    pub(super) partition: Partition,
    pub(super) key: Bytes,
    pub(super) held: VecDeque<(u64, Record)>,
    pub(super) further: VecDeque<Further>,
    /// Failed attempts of the record at the head.
    pub(super) failed: u32,
    pub(super) times_emptied: u64,
    pub(super) phase: Phase,
    /// Whether it waits or its partition is stopped, so that it may keep little.
    pub(super) rests: bool,
    /// What it keeps of the room for waiting lanes.
    pub(super) counted: Load,
}

/// A record that is kept as a place only, and read again when its turn comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Further {
    pub(super) ordinal: u64,
    pub(super) offset: Offset,
    pub(super) bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Kept for the key's next record.
    Empty,
    Ready,
    Running,
    /// Its head waits for its next attempt.
    Backoff,
    /// The head has used its attempts up and holds its key.
    Stuck,
    /// The head cannot be decoded and holds its partition.
    Undecodable,
    /// An attempt for this key still runs that began before the partition was lost, or moved by a seek.
    Behind,
    /// Runs on without a partition; its end counts for nothing.
    Orphan,
}

impl Phase {
    /// Nothing of the lane can run until something else happens.
    pub(super) fn waits(self) -> bool {
        matches!(self, Self::Backoff | Self::Stuck | Self::Undecodable | Self::Behind)
    }
}

impl Lane {
    pub(super) fn load(&self) -> Load {
        self.held.iter().fold(Load::default(), |load, (_, record)| load.plus(size_of(record)))
    }

    /// Keeps the newest held record as a place only; gives its size.
    pub(super) fn let_go_of_newest(&mut self) -> usize {
        let Some((ordinal, record)) = self.held.pop_back() else { return 0 };
        let bytes = size_of(&record);
        self.further.push_front(Further { ordinal, offset: record.offset, bytes });
        bytes
    }

    /// The oldest record that waits.
    pub(super) fn oldest(&self) -> Option<Offset> {
        let held = self.held.front().map(|(_, record)| record.offset);
        held.or_else(|| self.further.front().map(|further| further.offset))
    }
}

/// One partition that this member holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) generation: u64,
    pub(super) progress: Progress,
    pub(super) by_key: HashMap<Bytes, LaneRef>,
    pub(super) running: usize,
    /// Its records that are handed over and unfinished, without what is kept as offsets.
    pub(super) records: usize,
    /// Those of them that waiting lanes keep.
    pub(super) waiting: usize,
    /// It has more than its share of the window, and workers had nothing to do.
    pub(super) greedy: bool,
    /// Being given up: nothing more is started.
    pub(super) revoking: bool,
    /// Paused by the user.
    pub(super) paused: bool,
    /// What was parked here is not known yet.
    pub(super) awaits_parking: bool,
    /// No further key may be parked.
    pub(super) parking_full: bool,
    /// A record that cannot be decoded has no key, so all behind it wait.
    pub(super) undecodable: bool,
    /// Ready lanes that were met while the partition was stopped.
    pub(super) set_aside: Vec<LaneRef>,
    pub(super) source_paused: bool,
}

impl Held {
    pub(super) fn new(generation: u64, progress: Progress) -> Self {
        Self {
            generation,
            progress,
            by_key: HashMap::new(),
            running: 0,
            records: 0,
            waiting: 0,
            greedy: false,
            revoking: false,
            paused: false,
            awaits_parking: false,
            parking_full: false,
            undecodable: false,
            set_aside: Vec::new(),
            source_paused: false,
        }
    }

    /// Records that could run, or do.
    pub(super) fn lively(&self) -> usize {
        self.records - self.waiting
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.revoking || self.is_paused()
    }

    /// Nothing more is to be read.
    pub(super) fn is_paused(&self) -> bool {
        self.paused || self.undecodable || self.awaits_parking || self.parking_full
    }
}

/// Records and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Load {
    #[must_use]
    pub(super) fn plus(self, bytes: usize) -> Self {
        Self { records: self.records + 1, bytes: self.bytes + bytes }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }

    pub(super) fn take(&mut self, other: Self) {
        self.records -= other.records;
        self.bytes -= other.bytes;
    }

    #[must_use]
    pub(super) fn minus(self, other: Self) -> Self {
        Self { records: self.records - other.records, bytes: self.bytes - other.bytes }
    }

    pub(super) fn one(bytes: usize) -> Self {
        Self { records: 1, bytes }
    }
}

/// What a record counts for: key, headers and body.
pub(crate) fn size_of(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|header| header.name.len() + header.value.len()).sum();
    record.key.len() + headers + record.body.len()
}
