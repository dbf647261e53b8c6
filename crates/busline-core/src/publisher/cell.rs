//! One completion cell for each batch: where its receipts look for their outcomes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::ack::Ack;
use crate::error::{Error, Result};

/// The outcomes of one batch, by slot.
///
/// Slots are numbered in the order of acceptance. Most batches are settled whole; what is settled earlier (at its
/// deadline, or taken out behind a failed envelope) stands apart and wins over what the sink says later.
#[derive(Default)]
pub(crate) struct Cell(Mutex<Outcomes>);

#[derive(Default)]
struct Outcomes {
    early: HashMap<u32, Error>,
    settled: Option<Vec<Result<Ack>>>,
    wakers: Vec<Waiting>,
    /// How often `wakers` was emptied: a place from before then is somebody else's by now.
    round: u32,
}

/// A task that waits for outcomes.
struct Waiting {
    waker: Waker,
    /// Whether several receipts of the task rely on it, so that none of them may replace it.
    shared: bool,
}

/// A receipt's own place among the wakers of its cell.
#[derive(Clone, Copy)]
pub(crate) struct Registered {
    round: u32,
    place: usize,
}

impl Cell {
    /// The outcome of this slot, or a wake-up when there is one. `registered` is the caller's place among the wakers.
    pub(crate) fn poll(
        &self,
        slot: u32,
        registered: &mut Option<Registered>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Ack>> {
        let mut outcomes = self.lock();
        if let Some(outcome) = outcomes.of(slot) {
            return Poll::Ready(outcome);
        }
        outcomes.register(registered, context.waker());
        Poll::Pending
    }

    /// The outcome of this slot, if it is there.
    pub(crate) fn outcome(&self, slot: u32) -> Option<Result<Ack>> {
        self.lock().of(slot)
    }

    /// Whether this slot has its outcome.
    pub(crate) fn is_settled(&self, slot: u32) -> bool {
        let outcomes = self.lock();
        outcomes.settled.is_some() || outcomes.early.contains_key(&slot)
    }

    /// Settles one slot before the rest; gives whom to wake, or `None` if it had its outcome.
    pub(crate) fn settle_early(&self, slot: u32, error: Error) -> Option<Vec<Waker>> {
        let mut outcomes = self.lock();
        if outcomes.of(slot).is_some() {
            return None;
        }
        outcomes.early.insert(slot, error);
        Some(outcomes.take_wakers())
    }

    /// Whether any slot was settled before the rest.
    pub(crate) fn has_early(&self) -> bool {
        !self.lock().early.is_empty()
    }

    /// Settles all slots; those settled earlier keep their outcome. Gives whom to wake.
    pub(crate) fn settle(&self, mut all: Vec<Result<Ack>>) -> Vec<Waker> {
        let mut outcomes = self.lock();
        for (slot, error) in std::mem::take(&mut outcomes.early) {
            all[slot as usize] = Err(error);
        }
        outcomes.settled = Some(all);
        outcomes.take_wakers()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Outcomes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcomes {
    fn of(&self, slot: u32) -> Option<Result<Ack>> {
        if let Some(settled) = &self.settled {
            return Some(settled[slot as usize].clone());
        }
        self.early.get(&slot).map(|error| Err(error.clone()))
    }

    /// A task that awaits many receipts one after another registers once.
    fn register(&mut self, registered: &mut Option<Registered>, waker: &Waker) {
        let own = registered.filter(|known| known.round == self.round);
        if let Some(waiting) = own.and_then(|known| self.wakers.get_mut(known.place)) {
            if waiting.waker.will_wake(waker) {
                return;
            }
            if !waiting.shared {
                return waiting.waker.clone_from(waker);
            }
        }
        match self.wakers.last_mut() {
            Some(last) if last.waker.will_wake(waker) => {
                last.shared = true;
                *registered = None;
            }
            _ => {
                self.wakers.push(Waiting { waker: waker.clone(), shared: false });
                *registered = Some(Registered { round: self.round, place: self.wakers.len() - 1 });
            }
        }
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        self.round = self.round.wrapping_add(1);
        std::mem::take(&mut self.wakers).into_iter().map(|waiting| waiting.waker).collect()
    }
}
