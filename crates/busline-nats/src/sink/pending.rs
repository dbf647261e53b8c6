//! Batches that a sink has taken and not settled, and the outcomes known so far.

use std::collections::VecDeque;

use busline_core::{Ack, Batch, Error, ErrorKind, Result};
use tokio::time::Instant;

/// The unsettled batches of a sink, numbered from 0 in the order in which they were taken.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    first: u64,
    entries: VecDeque<Option<Entry>>,
}

#[derive(Debug)]
struct Entry {
    batch: Batch,
    outcomes: Vec<Result<Ack>>,
    known: Vec<bool>,
    left: usize,
    failed: bool,
}

impl Pending {
    /// Takes a batch; gives its number.
    pub(crate) fn add(&mut self, batch: Batch) -> u64 {
        let records = batch.len();
        let entry = Entry {
            outcomes: Vec::with_capacity(records),
            known: vec![false; records],
            left: records,
            failed: false,
            batch,
        };
        self.entries.push_back(Some(entry));
        self.first + self.entries.len() as u64 - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of unsettled batches.
    pub(crate) fn len(&self) -> usize {
        self.entries.iter().flatten().count()
    }

    pub(crate) fn batch(&self, number: u64) -> Option<&Batch> {
        self.entry(number).map(|entry| &entry.batch)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)?.as_ref()
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)?.as_mut()
    }

    /// Whether this record has no outcome yet.
    pub(crate) fn is_open(&self, number: u64, index: usize) -> bool {
        self.entry(number).is_some_and(|entry| !entry.known[index])
    }

    /// Notes the outcome of a record, the first one only; gives whether its batch is complete.
    pub(crate) fn note(&mut self, number: u64, index: usize, outcome: Result<Ack>) -> bool {
        let Some(entry) = self.entry_mut(number) else { return false };
        if std::mem::replace(&mut entry.known[index], true) {
            return false;
        }
        entry.failed |= outcome.is_err();
        entry.left -= 1;
        if index == entry.outcomes.len() {
            entry.outcomes.push(outcome);
        } else {
            if index >= entry.outcomes.len() {
                entry.outcomes.resize_with(index + 1, || Err(forgotten()));
            }
            entry.outcomes[index] = outcome;
        }
        entry.left == 0
    }

    /// Whether a record of this batch was not acked.
    pub(crate) fn has_failed(&self, number: u64) -> bool {
        self.entry(number).is_some_and(|entry| entry.failed)
    }

    /// Takes a complete batch out and settles it.
    pub(crate) fn settle(&mut self, number: u64) {
        let Some(at) = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()) else { return };
        let Some(entry) = self.entries.get_mut(at).and_then(Option::take) else { return };
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
        entry.batch.settle(entry.outcomes);
    }

    /// The numbers of the batches whose deadline has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<u64> {
        let numbered = self.entries.iter().zip(self.first..);
        numbered
            .filter(|(entry, _)| entry.as_ref().is_some_and(|entry| entry.batch.deadline() <= now))
            .map(|(_, number)| number)
            .collect()
    }

    /// When the first deadline of a batch passes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.entries.iter().flatten().map(|entry| entry.batch.deadline()).min()
    }

    /// The numbers of all unsettled batches.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.entries.iter().zip(self.first..).filter(|(entry, _)| entry.is_some()).map(|(_, number)| number).collect()
    }
}

/// What stands where an outcome is not known; it never leaves, since only complete batches are settled.
fn forgotten() -> Error {
    Error::new(ErrorKind::Internal, "OutcomeForgotten").next("report this").indeterminate()
}
