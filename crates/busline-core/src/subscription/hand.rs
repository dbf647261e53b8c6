//! What a worker holds: attempts that it was given and has not begun, and ends that it has not told.
//!
//! A worker whose handlers are quick is given several attempts at once, so that it need not meet the others at the lanes
//! for each. As soon as one has to wait, or blocks its thread, the rest goes back to the lanes for the other workers.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::guarded::Slot;
use super::lanes::Work;
use super::outcome::Ended;
use crate::topic::Partition;

/// Most attempts that a worker is given at once.
pub(super) const HAND_MAX: usize = 32;

/// One worker's hand. Its lock is short, and taken under the engine's or alone.
#[derive(Debug, Default)]
pub(crate) struct Hand(Mutex<InHand>);

/// What is in it.
#[derive(Debug, Default)]
pub(super) struct InHand {
    pub(super) works: VecDeque<Work>,
    pub(super) ended: Vec<Ended>,
    /// The partitions of what runs at the moment.
    running: Vec<Partition>,
}

impl Hand {
    /// Notes the end of the attempt before, and begins the next one, if there is one.
    ///
    /// What concerned the run before is forgotten under the lock under which a run is broken off, so that breaking this
    /// one off cannot be forgotten.
    pub(crate) fn next(&self, ended: Option<Ended>, slot: &Slot) -> Option<Work> {
        let mut held = self.lock();
        held.ended.extend(ended);
        held.running.clear();
        let work = held.works.pop_front()?;
        held.running.push(work.ticket.partition);
        slot.begin();
        Some(work)
    }

    /// Begins all attempts at once.
    pub(crate) fn all(&self, slot: &Slot) -> Vec<Work> {
        let mut held = self.lock();
        let works: Vec<Work> = held.works.drain(..).collect();
        held.running.clear();
        held.running.extend(works.iter().map(|work| work.ticket.partition));
        slot.begin();
        works
    }

    /// Notes ends.
    pub(crate) fn end(&self, ended: impl IntoIterator<Item = Ended>) {
        let mut held = self.lock();
        held.running.clear();
        held.ended.extend(ended);
    }

    /// Takes out what has not begun of these partitions.
    pub(super) fn recall(&self, partitions: &[Partition]) -> VecDeque<Work> {
        let mut held = self.lock();
        let is_recalled = |work: &Work| partitions.contains(&work.ticket.partition);
        if !held.works.iter().any(is_recalled) {
            return VecDeque::new();
        }
        let (recalled, rest) = std::mem::take(&mut held.works).into_iter().partition(is_recalled);
        held.works = rest;
        recalled
    }

    /// Breaks off what runs for these partitions.
    pub(crate) fn cancel(&self, partitions: &[Partition], slot: &Slot) {
        let held = self.lock();
        if held.running.iter().any(|partition| partitions.contains(partition)) {
            slot.cancel();
        }
    }

    /// The partitions of what runs at the moment.
    pub(crate) fn running(&self) -> Vec<Partition> {
        self.lock().running.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, InHand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many attempts a worker is given at once: more as long as they are quick, one after a slow one.
#[derive(Debug)]
pub(crate) struct Pace(usize);

/// Runs of a whole hand that take no longer than this are quick.
const QUICK: Duration = Duration::from_micros(100);

impl Pace {
    pub(crate) fn new() -> Self {
        Self(1)
    }

    pub(crate) fn size(&self) -> usize {
        self.0
    }

    /// Notes how long the last hand took, and whether some attempt of it had to wait.
    pub(crate) fn note(&mut self, took: Duration, waited: bool) {
        self.0 = if waited || took > QUICK { 1 } else { (self.0 * 2).min(HAND_MAX) };
    }
}
