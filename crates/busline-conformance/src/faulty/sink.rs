//! The queue between a publisher and the sink underneath.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busline_core::{Ack, Batch, BoxFuture, Error, ErrorKind, Result, Sink, SinkOffer};

use tokio::time::Instant;

use super::control::{Control, Fate};
use super::life::{Side, kind_of};

pub(super) struct FaultySink {
    queue: Arc<Queue>,
    closed: AtomicBool,
}

/// Batches that were taken and not passed on.
pub(super) struct Queue {
    inner: Arc<dyn Sink>,
    control: Arc<Control>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(u64, Batch)>,
    /// A thread is passing batches on, so that they arrive in order.
    passing: bool,
    at_inner: usize,
    /// Number of the newest batch that was taken.
    newest: u64,
    /// Keys behind which nothing may be acked, up to this batch; `None` while the outcome is not reported.
    broken: HashMap<Vec<u8>, Option<u64>>,
    closed: bool,
}

impl FaultySink {
    pub(super) fn new(inner: Arc<dyn Sink>, control: Arc<Control>) -> Self {
        let queue = Arc::new(Queue { inner, control, state: Mutex::default() });
        queue.control.sink_opened(&queue);
        Self { queue, closed: AtomicBool::new(false) }
    }
}

impl Sink for FaultySink {
    fn offer(&self) -> SinkOffer {
        let offer = self.queue.inner.offer();
        let shape = self.queue.control.shape;
        SinkOffer {
            batches_in_flight_max: shape.batches_in_flight_max.unwrap_or(offer.batches_in_flight_max),
            batch_records_max: shape
                .batch_records_max
                .map_or(offer.batch_records_max, |max| max.min(offer.batch_records_max)),
            ..offer
        }
    }

    fn publish(&self, batch: Batch) {
        self.queue.control.enter();
        self.queue.control.keep_calm(Side::Before);
        let life = Arc::clone(&self.queue.control.life);
        let kind = if life.is_to_end() { kind_of(&batch) } else { String::new() };
        if !life.lives(&kind, Side::Before) {
            return life.keep(batch);
        }
        // What a dead process hears has no effect any more.
        self.queue.take(batch.map_outcomes(move |outcomes| {
            life.lives(&kind, Side::After);
            outcomes
        }));
        self.queue.control.keep_calm(Side::After);
    }

    fn trouble(&self) -> Option<Error> {
        self.queue.inner.trouble()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.queue.control.until_it_hears().await;
            self.queue.close();
            self.queue.inner.close(deadline).await?;
            if !self.closed.swap(true, Ordering::AcqRel) {
                self.queue.control.sink_closed();
            }
            Ok(())
        })
    }
}

impl Queue {
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn take(self: &Arc<Self>, batch: Batch) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return batch.settle_all(&sink_closed());
        }
        state.newest += 1;
        let number = state.newest;
        state.waiting.push_back((number, batch));
        drop(state);
        self.control.changed();
        self.pump();
    }

    /// Passes batches on as long as none is held and the sink underneath takes more.
    pub(super) fn pump(self: &Arc<Self>) {
        let mut state = self.lock();
        while let Some((fate, batch)) = self.next(&mut state) {
            state.passing = true;
            drop(state);
            self.meet(fate, batch);
            state = self.lock();
            state.passing = false;
        }
    }

    /// The next batch with its fate; `Err` is the error of one that stands behind a failed record.
    fn next(&self, state: &mut State) -> Option<(Result<Fate>, Batch)> {
        if state.passing || state.closed || state.at_inner >= self.inner.offer().batches_in_flight_max {
            return None;
        }
        let (number, batch) = state.waiting.front()?;
        if state.is_behind_failed(*number, batch) {
            let (_, batch) = state.waiting.pop_front()?;
            state.break_keys(keys(&batch), Some(state.newest));
            return Some((Err(behind_failed()), batch));
        }
        let fate = self.control.next_fate()?;
        let (_, batch) = state.waiting.pop_front()?;
        match &fate {
            Fate::Pass => state.at_inner += 1,
            Fate::Swallow(key) => {
                state.at_inner += 1;
                state.break_keys(keys(&batch).filter(|of| is_swallowed(key.as_deref(), of)), None);
            }
            Fate::Fail | Fate::Forget => state.break_keys(keys(&batch), Some(state.newest)),
        }
        Some((Ok(fate), batch))
    }

    fn meet(self: &Arc<Self>, fate: Result<Fate>, batch: Batch) {
        let swallowed = match fate {
            Ok(Fate::Pass) => None,
            Ok(Fate::Swallow(key)) => Some(key),
            Ok(Fate::Fail) => return batch.settle_all(&refused()),
            Ok(Fate::Forget) => return drop(batch),
            Err(behind) => return batch.settle_all(&behind),
        };
        let keys: Vec<Vec<u8>> = keys(&batch).map(<[u8]>::to_vec).collect();
        let queue = Arc::clone(self);
        let map = move |outcomes| queue.answered(&keys, swallowed.as_ref().map(Option::as_deref), outcomes);
        self.inner.publish(batch.map_outcomes(map));
    }

    /// The sink underneath has answered: what it failed, or what is kept from the publisher, breaks its key.
    fn answered(
        self: &Arc<Self>,
        keys: &[Vec<u8>],
        swallowed: Option<Option<&str>>,
        mut outcomes: Vec<Result<Ack>>,
    ) -> Vec<Result<Ack>> {
        let mut state = self.lock();
        state.at_inner -= 1;
        for (key, outcome) in keys.iter().zip(&mut outcomes) {
            if swallowed.is_some_and(|only| is_swallowed(only, key)) {
                *outcome = Err(answer_lost());
            }
            if outcome.is_err() {
                let newest = state.newest;
                state.broken.insert(key.clone(), Some(newest));
            }
        }
        drop(state);
        self.pump();
        outcomes
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for (_, batch) in waiting {
            batch.settle_all(&sink_closed());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_behind_failed(&self, number: u64, batch: &Batch) -> bool {
        let is_behind = |key: &[u8]| self.broken.get(key).is_some_and(|until| until.is_none_or(|last| number <= last));
        !self.broken.is_empty() && keys(batch).any(is_behind)
    }

    fn break_keys<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>, until: Option<u64>) {
        for key in keys {
            self.broken.insert(key.to_vec(), until);
        }
    }
}

fn keys(batch: &Batch) -> impl Iterator<Item = &[u8]> {
    batch.records().map(|record| record.key)
}

fn is_swallowed(only: Option<&str>, key: &[u8]) -> bool {
    only.is_none_or(|only| only.as_bytes() == key)
}

fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "Injected")
        .cause("the test refused this batch")
        .next("publish it again")
        .at("publish", "faulty sink")
}

fn behind_failed() -> Error {
    Error::new(ErrorKind::Unavailable, "BehindFailed")
        .cause("an earlier batch with one of these keys was not acked")
        .next("settle the earlier one first")
        .at("publish", "faulty sink")
}

fn answer_lost() -> Error {
    Error::new(ErrorKind::Timeout, "AnswerLost")
        .cause("the test lost the answer")
        .next("look the envelope up before publishing it again")
        .at("publish", "faulty sink")
        .indeterminate()
}

fn sink_closed() -> Error {
    Error::new(ErrorKind::Closed, "Sink")
        .cause("the sink is closed")
        .next("open another publisher")
        .at("publish", "faulty sink")
}

impl fmt::Debug for FaultySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultySink").field("waiting", &self.queue.waiting()).field("inner", &self.queue.inner).finish()
    }
}
