//! The line between `publish` and the sink: what is accepted, handed over and reported, and in which order.
//!
//! Everything that promise P1 speaks of happens under one short lock: acceptance, and the report of an outcome. So
//! "accepted before its outcome was reported" is a fact of this lock, not of timing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, TryAcquireError};
use tokio::time::Instant;

use super::batches::Batches;
use super::encoded::Encoded;
use super::feeding::Feeding;
use super::keeper::FailedItem;
use super::process::Process;
use super::receipt::Receipt;
use super::room::Room;
use super::stats::PublisherStats;
use crate::ack::Ack;
use crate::batch::{Settlement, behind_failed};
use crate::driver::{Sink, SinkOffer};
use crate::error::{Error, ErrorKind, Result};
use crate::panics;

/// The shared heart of one publisher.
pub(crate) struct Line {
    sink: Arc<dyn Sink>,
    offer: SinkOffer,
    subject: String,
    process: Process,
    deadline: Duration,
    room: Room,
    /// Wakes the keeper: the line became busy, a failure is waiting, or the publisher closes.
    pub(crate) stir: Notify,
    pub(crate) feeding: Feeding,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    batches: Batches,
    /// A thread is handing batches over, so that they reach the sink in order.
    handing_over: bool,
    /// The keeper sleeps towards a deadline and needs no wake-up for the next envelope.
    keeper_armed: bool,
    closed: Option<Error>,
    /// The failure handler runs.
    reporting: bool,
    /// Nothing is waited for any more: what the sink holds has its outcome.
    given_up: bool,
    /// By when the sink is to end, if somebody closes the publisher and waits.
    ends_by: Option<Instant>,
    sink_ended: bool,
}

/// Who publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A task, whose thread must not be blocked.
    Task,
    /// A thread that blocks until its envelope has an outcome.
    Thread,
}

/// An earlier envelope of the same key in the same call.
#[derive(Clone, Copy)]
pub(crate) struct Before<'a> {
    pub(crate) id: &'a str,
    pub(crate) receipt: &'a Receipt,
}

/// Grace beyond the deadline in which the sink, which knows more, may still report the outcome itself.
const DEADLINE_GRACE: Duration = Duration::from_millis(400);

/// Time that a sink has to end after the last handle of its publisher went away.
const SINK_CLOSE_MAX: Duration = Duration::from_secs(5);

impl Line {
    pub(crate) fn new(
        sink: Arc<dyn Sink>,
        subject: String,
        deadline: Duration,
        window_envelopes_max: usize,
        window_bytes_max: usize,
    ) -> Self {
        let process = Process::present();
        Self {
            offer: sink.offer(),
            sink,
            subject,
            deadline,
            room: Room::new(window_envelopes_max, window_bytes_max),
            stir: Notify::new(),
            feeding: Feeding::default(),
            state: Mutex::new(State { batches: Batches::new(process.id()), ..State::default() }),
            process,
        }
    }

    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    pub(crate) fn stats(&self) -> PublisherStats {
        self.lock().batches.stats
    }

    /// What keeps the sink from moving.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.sink.trouble()
    }

    /// Takes room in the window if there is some and nobody waits for it.
    pub(crate) fn try_take_room(&self, records: usize, bytes: usize) -> Result<bool> {
        match self.room.try_take(records, bytes) {
            Ok(()) => Ok(true),
            Err(TryAcquireError::NoPermits) => Ok(false),
            Err(TryAcquireError::Closed) => Err(self.closed_error()),
        }
    }

    /// Takes room in the window, first come first served; room that was taken goes back if the future is dropped.
    pub(crate) async fn take_room(&self, records: usize, bytes: usize) -> Result<()> {
        self.process.check(Instant::now()).map_err(|forked| forked.at("publish", &self.subject))?;
        self.room.take(records, bytes).await.map_err(|_| self.closed_error())
    }

    /// Accepts one record for which room was taken, unless the one before it of its key has failed by then.
    pub(crate) fn accept(
        self: &Arc<Self>,
        record: &Encoded,
        before: Option<Before<'_>>,
        caller: Caller,
    ) -> Result<Receipt> {
        let now = Instant::now();
        self.check_process(now, 1, record.len())?;
        let mut state = self.lock();
        let failed = || before.and_then(|before| Some(behind_failed(before.id, &before.receipt.error()?)));
        if let Some(refused) = state.closed.clone().or_else(failed) {
            drop(state);
            self.room.give_back(1, record.len());
            return Err(refused);
        }
        let receipt = state.batches.push(record, now, &self.offer);
        self.after_acceptance(state, caller);
        self.feeding.note(1);
        Ok(receipt)
    }

    /// Accepts records that must be stored together, for which room was taken.
    pub(crate) fn accept_atomic(self: &Arc<Self>, records: &[Encoded]) -> Result<Vec<Receipt>> {
        let (now, bytes) = (Instant::now(), records.iter().map(Encoded::len).sum());
        self.check_process(now, records.len(), bytes)?;
        let mut state = self.lock();
        if let Some(closed) = state.closed.clone() {
            drop(state);
            self.room.give_back(records.len(), bytes);
            return Err(closed);
        }
        state.batches.start_batch(true);
        let receipts = records.iter().map(|record| state.batches.push_into_last(record, now)).collect();
        self.after_acceptance(state, Caller::Task);
        self.feeding.note(records.len());
        Ok(receipts)
    }

    /// Gives the room back in a forked child, where nobody settles anything.
    fn check_process(&self, now: Instant, envelopes: usize, bytes: usize) -> Result<()> {
        self.process.check(now).map_err(|forked| {
            self.room.give_back(envelopes, bytes);
            forked.at("publish", &self.subject)
        })
    }

    fn after_acceptance(self: &Arc<Self>, mut state: MutexGuard<'_, State>, caller: Caller) {
        let stir = !std::mem::replace(&mut state.keeper_armed, true);
        let hand_over = state.can_hand_over(&self.offer);
        drop(state);
        if stir {
            self.stir.notify_one();
        }
        if hand_over {
            self.hand_over(caller);
        }
    }

    /// Hands open batches to the sink while it takes more. One thread at a time, so that they arrive in order; the lock
    /// is not held meanwhile, because the sink may settle at once.
    fn hand_over(self: &Arc<Self>, mut caller: Caller) {
        let mut state = self.lock();
        while state.can_hand_over(&self.offer) {
            let Some(batch) = state.batches.take(self.deadline, self) else { break };
            state.handing_over = true;
            drop(state);
            // Who blocks for its own batch does not work for others.
            let may_block = std::mem::replace(&mut caller, Caller::Task) == Caller::Thread;
            if let Err(panicked) = panics::publish(&*self.sink, batch.blocking(may_block), &self.subject) {
                // A thread is handing over for ever, so that the sink gets nothing more.
                return self.end_with(&panicked);
            }
            state = self.lock();
            state.handing_over = false;
        }
    }

    /// Accepts nothing more and waits for nothing.
    fn end_with(&self, error: &Error) {
        tracing::error!("{error}");
        self.refuse_further(error.clone());
        self.give_up(error);
    }

    /// Receipts of all that has no outcome, for whoever waits for it.
    pub(crate) fn unsettled(&self) -> Vec<Receipt> {
        self.lock().batches.unsettled()
    }

    /// Accepts nothing more; who waits for room is refused with this error.
    pub(crate) fn refuse_further(&self, error: Error) {
        self.lock().closed.get_or_insert(error);
        self.room.close();
        self.stir.notify_one();
    }

    pub(crate) fn closed_error(&self) -> Error {
        self.lock().closed.clone().unwrap_or_else(|| publisher_closed(&self.subject))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// Whether every accepted envelope has its outcome, and the sink's answer is not waited for.
    pub(crate) fn is_settled(&self) -> bool {
        self.lock().is_settled()
    }

    /// Whether everything is settled, and the failure handler has its part.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.is_settled() && state.batches.failures.is_empty() && !state.reporting
    }

    /// Whether the failure handler runs, or has failures to come.
    pub(crate) fn is_reporting(&self) -> bool {
        let state = self.lock();
        state.reporting || !state.batches.failures.is_empty()
    }

    /// Ends the sink; after that the publisher needs no memory for further batches.
    pub(crate) async fn end_sink(&self) {
        let ends_by = self.lock().ends_by.unwrap_or_else(|| Instant::now() + SINK_CLOSE_MAX);
        if let Err(error) = panics::close(&*self.sink, ends_by, &self.subject).await {
            tracing::warn!("close the sink of {}: {error}", self.subject);
        }
        let mut state = self.lock();
        state.sink_ended = true;
        state.batches.free_spare();
    }

    /// Says by when the sink is to end. A close that was dropped may be made again, with more time.
    pub(crate) fn end_by(&self, instant: Instant) {
        let mut state = self.lock();
        state.ends_by = state.ends_by.max(Some(instant));
    }

    pub(crate) fn is_sink_ended(&self) -> bool {
        self.lock().sink_ended
    }

    /// Settles everything now: what was not handed over with this definite error, the rest as indeterminate.
    pub(crate) fn give_up(&self, error: &Error) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        state.batches.give_up(error, &mut wake);
        state.given_up = true;
        drop(state);
        wake.into_iter().for_each(Waker::wake);
        self.stir.notify_one();
    }

    /// Reports what is past its deadline. Gives when to look again, or `None` if nothing is outstanding.
    ///
    /// # Source
    /// Promises P1, P2.
    pub(crate) fn tend(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let mut wake = Vec::new();
        let mut state = self.lock();
        if let Some(limit) = now.checked_sub(self.deadline + DEADLINE_GRACE) {
            state.batches.report_overdue(limit, &deadline_error(&self.subject, self.deadline), &mut wake);
        }
        let next = state.batches.oldest_unreported().map(|accepted| accepted + self.deadline + DEADLINE_GRACE);
        state.keeper_armed = next.is_some();
        drop(state);
        wake.into_iter().for_each(Waker::wake);
        next
    }

    /// Whether the handler has something to do and is not busy; it then counts as busy.
    pub(crate) fn start_reporting(&self) -> bool {
        let mut state = self.lock();
        let starts = !state.reporting && !state.batches.failures.is_empty();
        state.reporting |= starts;
        starts
    }

    /// Failed items that the handler has not seen; `None` ends its work.
    pub(crate) fn next_failures(&self) -> Option<Vec<FailedItem>> {
        let mut state = self.lock();
        if !state.batches.failures.is_empty() {
            return Some(std::mem::take(&mut state.batches.failures));
        }
        state.reporting = false;
        drop(state);
        self.stir.notify_one();
        None
    }

    /// A failed item goes to its handler: its room is free, unless the sink has it still.
    pub(crate) fn failure_handed_over(&self, item: &FailedItem) {
        let is_free = self.lock().batches.hear(item);
        if is_free {
            self.room.give_back(1, item.bytes());
        }
    }

    pub(crate) fn count_handler_panic(&self) {
        self.lock().batches.stats.handler_panics += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settlement for Line {
    fn settle(self: Arc<Self>, id: u64, outcomes: Vec<Result<Ack>>) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        let Some(freed) = state.batches.settle(id, outcomes, &mut wake) else { return };
        let failures = !state.batches.failures.is_empty();
        drop(state);
        self.room.give_back(freed.records, freed.bytes);
        wake.into_iter().for_each(Waker::wake);
        if failures || self.is_closed() {
            self.stir.notify_one();
        }
        self.hand_over(Caller::Task);
    }
}

impl State {
    fn is_settled(&self) -> bool {
        self.batches.is_handed_over() && (self.given_up || !self.batches.is_in_flight())
    }

    fn can_hand_over(&self, offer: &SinkOffer) -> bool {
        !self.handing_over && self.batches.can_hand_over(offer)
    }
}

fn deadline_error(subject: &str, deadline: Duration) -> Error {
    Error::new(ErrorKind::Timeout, "Deadline")
        .cause(format!("no outcome within {deadline:?}"))
        .next("see the bus's health; raise the deadline if the backend is only slow")
        .at("publish", subject)
}

pub(crate) fn publisher_closed(subject: &str) -> Error {
    Error::new(ErrorKind::Closed, "Publisher")
        .cause("the publisher is closed")
        .next("open another one")
        .at("publish", subject)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ack::{Durability, Medium};
    use crate::batch::Batch;
    use crate::capabilities::AckPositions;
    use crate::driver::BoxFuture;

    /// A sink that remembers by when it was to end, and may panic over it.
    #[derive(Debug, Default)]
    struct Ends {
        by: Mutex<Option<Instant>>,
        panics: bool,
    }

    impl Sink for Ends {
        fn offer(&self) -> SinkOffer {
            SinkOffer {
                durability: Durability::one(Medium::Memory),
                positions: AckPositions::Always,
                batches_in_flight_max: 1,
                batch_records_max: 1,
                batch_bytes_max: 1,
            }
        }

        fn publish(&self, _: Batch) {}

        fn trouble(&self) -> Option<Error> {
            None
        }

        fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
            *self.by.lock().expect("no panic") = Some(deadline);
            Box::pin(async {
                assert!(!self.panics, "the test lets this sink panic");
                Ok(())
            })
        }
    }

    fn line(sink: &Arc<Ends>) -> Line {
        Line::new(Arc::clone(sink) as Arc<dyn Sink>, "t".into(), Duration::from_secs(1), 1, 1)
    }

    #[tokio::test]
    async fn a_sink_that_panics_over_its_close_has_ended() {
        let sink = Arc::new(Ends { panics: true, ..Ends::default() });
        let line = line(&sink);
        line.end_sink().await;
        assert!(line.is_sink_ended());
    }

    #[tokio::test]
    async fn a_close_that_is_made_again_gives_the_sink_its_own_time() {
        let sink = Arc::new(Ends::default());
        let line = line(&sink);
        let now = Instant::now();
        for seconds in [1, 9, 4] {
            line.end_by(now + Duration::from_secs(seconds));
        }
        line.end_sink().await;
        assert_eq!(*sink.by.lock().expect("no panic"), Some(now + Duration::from_secs(9)));
    }
}
