//! What a member knows of the partitions it owns, and what waits to be parked.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::entry::{ParkedScope, Token};
use super::log::{Applied, LogState, Way};
use super::writer::Writer;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::record::Record;
use crate::subscription::lanes::Ticket;
use crate::subscription::outcome::ParkingHealth;
use crate::topic::{Offset, Partition, TopicInfo};

/// The parking of one subscription.
#[derive(Debug)]
pub(crate) struct Parking {
    /// What a record that has used its attempts up takes with it.
    pub(crate) scope: ParkedScope,
    /// Parked keys of a partition.
    pub(crate) keys_max: usize,
    /// The topic whose records are parked.
    pub(crate) source: TopicInfo,
    /// The topic that holds them.
    pub(crate) topic: TopicInfo,
    pub(crate) member: String,
    pub(crate) writer: Writer,
    /// Wakes the task that writes.
    pub(crate) wake: Notify,
    /// Whether anything is or was parked, so that records have to be looked up.
    in_use: AtomicBool,
    is_ending: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) owned: BTreeMap<Partition, Owned>,
    pub(super) queue: Vec<Item>,
    /// When the first attempt failed of records that are attempted again.
    failing: HashMap<(Partition, Offset), Timestamp>,
    pub(super) write_errors: u64,
    pub(super) trouble: Option<Error>,
}

/// A partition that this member writes for.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) generation: u64,
    pub(super) token: Token,
    /// The first entry that was read.
    pub(super) first: Option<Offset>,
    /// The first entry that was not read.
    pub(super) next: Offset,
    pub(super) state: LogState,
    /// Its own `owner` entry was read.
    pub(super) has_begun: bool,
    /// Another `owner` stands behind its own.
    pub(super) is_foreign: bool,
    /// A further key does not fit.
    pub(super) is_full: bool,
    pub(super) trimmed: Offset,
}

impl Owned {
    pub(super) fn new(generation: u64, token: Token, state: LogState) -> Self {
        Self {
            generation,
            token,
            first: None,
            next: Offset(0),
            state,
            has_begun: false,
            is_foreign: false,
            is_full: false,
            trimmed: Offset(0),
        }
    }

    /// Takes what was read.
    pub(super) fn apply(&mut self, records: &[Record]) {
        self.first = self.first.or(records.first().map(|record| record.offset));
        for record in records {
            if let Applied::Owner(token) = self.state.apply(record) {
                self.is_foreign = self.has_begun && token != self.token;
                self.has_begun |= token == self.token;
            }
            self.next = record.offset.next();
        }
    }
}

/// A record that is to be parked. Its lane waits for it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) ticket: Ticket,
    pub(crate) record: Record,
    pub(crate) cause: Box<Cause>,
}

/// Why a record is to be parked.
#[derive(Debug)]
pub(crate) struct Cause {
    pub(crate) kind: Kind,
    pub(crate) attempts: u32,
    pub(crate) error: String,
    pub(crate) first: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Park(ParkedScope),
    /// Its key is parked.
    Behind,
}

impl Kind {
    pub(super) fn scope(self) -> ParkedScope {
        match self {
            Self::Park(scope) => scope,
            Self::Behind => ParkedScope::Key,
        }
    }
}

impl Parking {
    pub(crate) fn new(
        policy: (ParkedScope, usize),
        source: TopicInfo,
        topic: TopicInfo,
        member: String,
        writer: Writer,
    ) -> Self {
        Self {
            scope: policy.0,
            keys_max: policy.1,
            source,
            topic,
            member,
            writer,
            wake: Notify::new(),
            in_use: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// What is to happen to a record of a partition that is owned.
    pub(crate) fn way(&self, record: &Record) -> Way {
        if !self.in_use.load(Ordering::Acquire) {
            return Way::Live;
        }
        let state = self.lock();
        match state.owned.get(&record.partition) {
            // Begun before it was stopped; whoever writes decides once it is known.
            Some(owned) if !owned.has_begun => Way::Behind,
            Some(owned) => owned.state.way(&record.key, record.offset),
            None => Way::Live,
        }
    }

    /// The first attempt of a record has failed, and there will be others.
    pub(crate) fn note_failing(&self, record: &Record) {
        self.lock().failing.insert((record.partition, record.offset), SystemClock.now());
    }

    /// A record whose first attempt had failed is finished or parked; gives when that was.
    pub(crate) fn end_failing(&self, record: &Record) -> Option<Timestamp> {
        self.lock().failing.remove(&(record.partition, record.offset))
    }

    /// Queues records to be parked.
    pub(crate) fn park(&self, items: Vec<Item>) {
        if !items.is_empty() {
            self.lock().queue.extend(items);
            self.wake.notify_one();
        }
    }

    /// After a seek: what is closed at or above the offset comes again.
    pub(crate) fn seek(&self, partition: Partition, offset: Offset) {
        if let Some(owned) = self.lock().owned.get_mut(&partition) {
            owned.state.forget_closed_from(offset);
        }
        // What was queued for lanes that are gone is dropped.
        self.wake.notify_one();
    }

    /// Writes what is queued, and ends.
    pub(crate) fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    /// What keeps records from being parked at the moment.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.lock().trouble.clone().or_else(|| self.writer.trouble())
    }

    /// What is parked in the partitions of this member, and how parking goes.
    pub(crate) fn health(&self) -> ParkingHealth {
        let state = self.lock();
        let logs = || state.owned.values().map(|owned| &owned.state);
        ParkingHealth {
            keys: logs().map(LogState::open_keys).sum(),
            records: logs().map(LogState::open_records).sum(),
            oldest: logs().filter_map(LogState::oldest).min(),
            waiting: state.queue.len(),
            full: state.owned.iter().filter(|(_, owned)| owned.is_full).map(|(partition, _)| *partition).collect(),
            write_errors: state.write_errors,
            trouble: state.trouble.clone(),
        }
    }

    /// Looks at or changes the state.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        let in_use = state.owned.values().any(|owned| !owned.has_begun || !owned.state.is_empty());
        self.in_use.store(in_use, Ordering::Release);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets partitions that are not held under their generation any more.
    pub(super) fn keep_only(&mut self, held: &[(Partition, u64)]) {
        self.owned.retain(|partition, owned| held.contains(&(*partition, owned.generation)));
        self.failing.retain(|(partition, _), _| held.iter().any(|(held, _)| held == partition));
    }
}
