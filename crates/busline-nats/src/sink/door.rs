//! Where batches wait between the publisher's thread and the sink's task.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use busline_core::{Batch, Error};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Shared by a sink and its task.
#[derive(Debug, Default)]
pub(crate) struct Door {
    state: Mutex<State>,
    /// Wakes the task.
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    closing: Option<Instant>,
    trouble: Option<Error>,
}

impl Door {
    /// Takes a batch in, or gives it back if the sink is closed.
    pub(crate) fn push(&self, batch: Batch) -> Option<Batch> {
        let mut state = self.lock();
        if state.closing.is_some() {
            return Some(batch);
        }
        state.batches.push_back(batch);
        drop(state);
        self.bell.notify_one();
        None
    }

    /// Moves what waits to the end of this queue.
    pub(crate) fn drain_into(&self, queue: &mut VecDeque<Batch>) {
        queue.append(&mut self.lock().batches);
    }

    /// Waits until something was pushed or the sink is to close.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes nothing more, and says by when everything is to end; of several calls the earliest counts.
    pub(crate) fn close(&self, deadline: Instant) {
        let mut state = self.lock();
        state.closing = Some(state.closing.map_or(deadline, |closing| closing.min(deadline)));
        drop(state);
        self.bell.notify_one();
    }

    pub(crate) fn closing(&self) -> Option<Instant> {
        self.lock().closing
    }

    pub(crate) fn set_trouble(&self, trouble: Option<Error>) {
        self.lock().trouble = trouble;
    }

    pub(crate) fn trouble(&self) -> Option<Error> {
        self.lock().trouble.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
