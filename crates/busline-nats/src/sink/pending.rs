//! Batches that a sink has taken and not settled, and the outcomes known so far.
//!
//! They are settled in the order in which they were taken: an ack that is reported says that everything of its key before
//! it has been reported too, so that no deadline can come between the two.

use std::collections::VecDeque;

use busline_core::{Ack, Batch, Error, ErrorKind, Result};
use tokio::time::Instant;

/// The unsettled batches of a sink, numbered from 0 in the order in which they were taken.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    first: u64,
    entries: VecDeque<Entry>,
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
        self.entries.push_back(entry);
        self.first + self.entries.len() as u64 - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of unsettled batches.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn batch(&self, number: u64) -> Option<&Batch> {
        self.entry(number).map(|entry| &entry.batch)
    }

    fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Whether this record has no outcome yet.
    pub(crate) fn is_open(&self, number: u64, index: usize) -> bool {
        self.entry(number).is_some_and(|entry| !entry.known[index])
    }

    /// Notes the outcome of a record, the first one only.
    pub(crate) fn note(&mut self, number: u64, index: usize, outcome: Result<Ack>) {
        let Some(entry) = self.entry_mut(number) else { return };
        if std::mem::replace(&mut entry.known[index], true) {
            return;
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
    }

    /// The oldest batch, if all its outcomes are known: its number, and whether a record of it was not acked.
    pub(crate) fn complete(&self) -> Option<(u64, bool)> {
        let entry = self.entries.front()?;
        (entry.left == 0).then_some((self.first, entry.failed))
    }

    /// Settles the oldest batch, whose outcomes are all known.
    pub(crate) fn settle_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.first += 1;
            entry.batch.settle(entry.outcomes);
        }
    }

    /// The numbers of the batches whose deadline has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<u64> {
        let numbered = self.entries.iter().zip(self.first..);
        numbered
            .filter(|(entry, _)| entry.left > 0 && entry.batch.deadline() <= now)
            .map(|(_, number)| number)
            .collect()
    }

    /// The numbers of all unsettled batches.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        (self.first..self.first + self.entries.len() as u64).collect()
    }
}

/// What stands where an outcome is not known; it never leaves, since only complete batches are settled.
pub(crate) fn forgotten() -> Error {
    Error::new(ErrorKind::Internal, "OutcomeForgotten").next("report this").indeterminate()
}
