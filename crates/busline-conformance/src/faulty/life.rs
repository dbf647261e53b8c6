//! The death of the process behind a faulty driver, at a step that a test chooses.
//!
//! From its death on the process has no effect any more: whatever it asks for waits for ever.

use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use busline_core::{Batch, Headers, TopicName};
use bytes::Bytes;
use tokio::sync::Notify;

/// On which side of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// It does not happen.
    Before,
    /// It has happened, and the process does not hear of it.
    After,
}

/// A moment in the life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// `read` or `trim` of a topic of the bus's own, `commit`, `release`, the kind of an entry of a parking topic, or what
    /// the test itself passes.
    pub(crate) step: &'static str,
    /// Before or after it.
    pub(crate) side: Side,
    /// The how manieth of these steps since it was chosen, from 0.
    pub(crate) nth: usize,
}

#[derive(Default)]
pub(super) struct Life {
    state: Mutex<State>,
    died: Notify,
}

#[derive(Default)]
struct State {
    end: Option<Moment>,
    passed: usize,
    is_dead: bool,
    /// Batches of a dead process: neither stored nor answered.
    kept: Vec<Batch>,
}

impl Life {
    pub(super) fn end_at(&self, moment: Moment) {
        let mut state = self.lock();
        state.end = Some(moment);
        state.passed = 0;
    }

    pub(super) fn is_to_end(&self) -> bool {
        self.lock().end.is_some()
    }

    pub(super) async fn died(&self) {
        loop {
            let died = self.died.notified();
            tokio::pin!(died);
            died.as_mut().enable();
            if self.lock().is_dead {
                return;
            }
            died.await;
        }
    }

    /// Passes a moment of this step; gives whether the process lives on.
    pub(super) fn lives(&self, step: &str, side: Side) -> bool {
        let mut state = self.lock();
        if let Some(end) = state.end.filter(|end| end.step == step && end.side == side && !state.is_dead) {
            state.is_dead = state.passed == end.nth;
            state.passed += 1;
        }
        let lives = !state.is_dead;
        drop(state);
        if !lives {
            self.died.notify_waiters();
        }
        lives
    }

    /// The same, and never comes back if the process is dead.
    pub(super) async fn pass(&self, step: &str, side: Side) {
        if !self.lives(step, side) {
            pending().await
        }
    }

    /// The same for what is done to a topic of the bus's own; others pass, unless the process is dead.
    pub(super) async fn pass_own(&self, topic: &TopicName, step: &str, side: Side) {
        self.pass(if topic.is_own() { step } else { "" }, side).await;
    }

    pub(super) fn keep(&self, batch: Batch) {
        self.lock().kept.push(batch);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The kind of the first entry of a batch; nothing for records of other topics.
pub(super) fn kind_of(batch: &Batch) -> String {
    let block = batch.records().next().map(|record| Bytes::copy_from_slice(record.header_block));
    let headers = block.and_then(|block| Headers::decode(block).ok()).unwrap_or_default();
    let kind = headers.iter().filter(|header| header.name == "busline-entry").last();
    kind.map(|kind| String::from_utf8_lossy(&kind.value).into_owned()).unwrap_or_default()
}
