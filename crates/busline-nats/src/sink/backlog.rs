//! Batches that were taken from the door and are not under way, with what the records behind a failure are told.

use std::collections::VecDeque;

use busline_core::{Ack, Batch, Error, Result};
use tokio::time::Instant;

use super::door::Door;
use super::key_hash::{ByKey, KeyHash};

#[derive(Debug, Default)]
pub(crate) struct Backlog {
    queue: VecDeque<Waiting>,
    from_door: VecDeque<Batch>,
}

#[derive(Debug)]
struct Waiting {
    batch: Batch,
    /// Keys that failed after this batch was handed over.
    behind: ByKey<Error>,
}

impl Backlog {
    pub(crate) fn fill_from(&mut self, door: &Door) {
        door.drain_into(&mut self.from_door);
        let taken = self.from_door.drain(..).map(|batch| Waiting { batch, behind: ByKey::default() });
        self.queue.extend(taken);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_next_atomic(&self) -> bool {
        self.queue.front().is_some_and(|next| next.batch.is_atomic())
    }

    /// The next batch.
    pub(crate) fn take(&mut self) -> Option<(Batch, ByKey<Error>)> {
        self.queue.pop_front().map(|next| (next.batch, next.behind))
    }

    /// The next batch, an atomic one, unless a record of it stands behind a failure: then all of it has failed.
    pub(crate) fn take_atomic(&mut self, hash: KeyHash) -> Option<Batch> {
        let (batch, behind) = self.take()?;
        let told = batch.records().find_map(|record| behind.get(&hash.of(record.key)).cloned());
        match told {
            None => Some(batch),
            Some(error) => {
                let outcomes = vec![Err(error); batch.len()];
                self.taint(&batch, &outcomes, hash);
                batch.settle(outcomes);
                None
            }
        }
    }

    /// These keys failed: the records of them that wait here stand behind.
    pub(crate) fn taint_keys<'a>(&mut self, broken: impl Iterator<Item = (&'a u64, &'a (u64, Error))>) {
        if self.queue.is_empty() {
            return;
        }
        for (key, (_, error)) in broken {
            for waiting in &mut self.queue {
                waiting.behind.entry(*key).or_insert_with(|| error.clone());
            }
        }
    }

    /// The same for the records of a batch that were not acked.
    pub(crate) fn taint(&mut self, batch: &Batch, outcomes: &[Result<Ack>], hash: KeyHash) {
        if self.queue.is_empty() {
            return;
        }
        let failed = outcomes.iter().enumerate().filter_map(|(index, outcome)| Some((index, outcome.as_ref().err()?)));
        for (index, error) in failed {
            let key = hash.of(batch.record(index).key);
            let behind = batch.behind(index, error);
            for waiting in &mut self.queue {
                waiting.behind.entry(key).or_insert_with(|| behind.clone());
            }
        }
    }

    pub(crate) fn settle_all(&mut self, error: &Error) {
        for waiting in std::mem::take(&mut self.queue) {
            waiting.batch.settle_all(error);
        }
    }

    /// Fails the batches whose deadline has passed: no byte of them was sent.
    pub(crate) fn settle_overdue(&mut self, now: Instant, hash: KeyHash, error: impl Fn() -> Error) {
        while self.queue.iter().any(|waiting| waiting.batch.deadline() <= now) {
            let mut rest = std::mem::take(&mut self.queue);
            let Some(at) = rest.iter().position(|waiting| waiting.batch.deadline() <= now) else { return };
            let Some(overdue) = rest.remove(at) else { return };
            // Those before it keep what they know; those behind it hear of its failure.
            let behind = rest.split_off(at);
            self.queue = behind;
            let outcomes = vec![Err(error()); overdue.batch.len()];
            self.taint(&overdue.batch, &outcomes, hash);
            rest.append(&mut self.queue);
            self.queue = rest;
            overdue.batch.settle(outcomes);
        }
    }
}
