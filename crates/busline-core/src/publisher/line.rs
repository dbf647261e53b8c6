//! The line between `publish` and the sink: open batches, batches in flight, and the rules of their outcomes.
//!
//! Everything that promise P1 speaks of happens under one short lock: acceptance, and the report of an outcome. So
//! "accepted before its outcome was reported" is a fact of this lock, not of timing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::broken::BrokenKeys;
use super::cell::Cell;
use super::encoded::Encoded;
use super::feeding::Feeding;
use super::keeper::FailedItem;
use super::process::Process;
use super::receipt::Receipt;
use crate::ack::Ack;
use crate::batch::{Batch, BatchBody, Item, Settlement, behind_failed, id_of};
use crate::driver::{Sink, SinkOffer};
use crate::error::{Error, ErrorKind, Result};

/// Counts of a publisher since it was opened. Unit: envelopes, or batches where it says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublisherStats {
    /// Entered the window.
    pub accepted: u64,
    /// Stored, duplicates included.
    pub acked: u64,
    /// Certainly not stored.
    pub failed: u64,
    /// Perhaps stored.
    pub indeterminate: u64,
    /// Acked as known already.
    pub duplicates: u64,
    /// Batches handed to the sink.
    pub batches: u64,
    /// Calls of the failure handler that panicked.
    pub handler_panics: u64,
}

/// The shared heart of one publisher.
pub(crate) struct Line {
    sink: Arc<dyn Sink>,
    offer: SinkOffer,
    subject: String,
    process: Process,
    deadline: Duration,
    envelopes: Semaphore,
    bytes: Semaphore,
    /// Wakes the keeper: the line became busy, a failure is waiting, or the publisher closes.
    pub(crate) stir: Notify,
    pub(crate) feeding: Feeding,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of the process that opened the publisher.
    process: u32,
    /// Batches not handed over; only the last one grows.
    open: VecDeque<OpenBatch>,
    /// Batches handed over, oldest first.
    in_flight: Vec<InFlight>,
    /// A thread is handing batches over, so that they reach the sink in order.
    handing_over: bool,
    /// The keeper sleeps towards a deadline and needs no wake-up for the next envelope.
    keeper_armed: bool,
    closed: Option<Error>,
    next_id: u64,
    /// Empty bodies of settled batches, whose memory the next ones take over: one grows while another is with the sink.
    spare: Vec<BatchBody>,
    failures: Vec<FailedItem>,
    /// The failure handler runs.
    reporting: bool,
    /// Nothing is waited for any more: what the sink holds has its outcome.
    given_up: bool,
    /// By when the sink is to end, if somebody closes the publisher and waits.
    ends_by: Option<Instant>,
    sink_ended: bool,
    stats: PublisherStats,
}

struct OpenBatch {
    cell: Arc<Cell>,
    body: BatchBody,
    atomic: bool,
    slots: u32,
}

struct InFlight {
    id: u64,
    cell: Arc<Cell>,
    body: Arc<BatchBody>,
    slots: u32,
    /// Keys that broke in an earlier batch after this one was accepted: their records are not acked, whatever the sink
    /// says. It may have taken the batch after it gave the failure.
    behind: HashMap<Vec<u8>, Error>,
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

/// Bodies that are kept for further batches.
const SPARE_MAX: usize = 2;

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
            envelopes: Semaphore::new(window_envelopes_max),
            bytes: Semaphore::new(window_bytes_max),
            stir: Notify::new(),
            feeding: Feeding::default(),
            state: Mutex::new(State { process: process.id(), ..State::default() }),
            process,
        }
    }

    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    pub(crate) fn stats(&self) -> PublisherStats {
        self.lock().stats
    }

    /// What keeps the sink from moving.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.sink.trouble()
    }

    /// Takes room in the window if there is some and nobody waits for it.
    pub(crate) fn try_take_room(&self, records: usize, bytes: usize) -> Result<bool> {
        use tokio::sync::TryAcquireError::{Closed, NoPermits};
        let envelopes = match self.envelopes.try_acquire_many(records as u32) {
            Ok(permit) => permit,
            Err(NoPermits) => return Ok(false),
            Err(Closed) => return Err(self.closed_error()),
        };
        match self.bytes.try_acquire_many(bytes as u32) {
            Ok(permit) => permit.forget(),
            Err(NoPermits) => return Ok(false),
            Err(Closed) => return Err(self.closed_error()),
        }
        envelopes.forget();
        Ok(true)
    }

    /// Takes room in the window, first come first served; room that was taken goes back if the future is dropped.
    pub(crate) async fn take_room(&self, records: usize, bytes: usize) -> Result<()> {
        self.process.check(Instant::now()).map_err(|forked| forked.at("publish", &self.subject))?;
        let closed = |_| self.closed_error();
        let envelopes = self.envelopes.acquire_many(records as u32).await.map_err(closed)?;
        let bytes = self.bytes.acquire_many(bytes as u32).await.map_err(closed)?;
        envelopes.forget();
        bytes.forget();
        Ok(())
    }

    fn give_room_back(&self, records: usize, bytes: usize) {
        self.envelopes.add_permits(records);
        self.bytes.add_permits(bytes);
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
            self.give_room_back(1, record.len());
            return Err(refused);
        }
        let receipt = state.push(record, now, &self.offer);
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
            self.give_room_back(records.len(), bytes);
            return Err(closed);
        }
        state.start_batch(true);
        let receipts = records.iter().map(|record| state.push_into_last(record, now)).collect();
        self.after_acceptance(state, Caller::Task);
        self.feeding.note(records.len());
        Ok(receipts)
    }

    /// Gives the room back in a forked child, where nobody settles anything.
    fn check_process(&self, now: Instant, envelopes: usize, bytes: usize) -> Result<()> {
        self.process.check(now).map_err(|forked| {
            self.give_room_back(envelopes, bytes);
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
            let Some(batch) = state.take_batch(self) else { break };
            state.handing_over = true;
            drop(state);
            // Who blocks for its own batch does not work for others.
            let may_block = std::mem::replace(&mut caller, Caller::Task) == Caller::Thread;
            self.sink.publish(batch.blocking(may_block));
            state = self.lock();
            state.handing_over = false;
        }
    }

    /// Cells of all batches that are not settled, for whoever waits for them.
    pub(crate) fn unsettled(&self) -> Vec<Receipt> {
        let state = self.lock();
        let open = state.open.iter().map(|batch| (&batch.cell, batch.slots));
        let in_flight = state.in_flight.iter().map(|batch| (&batch.cell, batch.slots));
        in_flight
            .chain(open)
            .flat_map(|(cell, slots)| (0..slots).map(move |slot| (cell, slot)))
            .filter(|(cell, slot)| !cell.is_settled(*slot))
            .map(|(cell, slot)| Receipt::new(Arc::clone(cell), slot, state.process))
            .collect()
    }

    /// Accepts nothing more; who waits for room is refused with this error.
    pub(crate) fn refuse_further(&self, error: Error) {
        self.lock().closed.get_or_insert(error);
        self.envelopes.close();
        self.bytes.close();
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
        state.is_settled() && state.failures.is_empty() && !state.reporting
    }

    /// Whether the failure handler runs, or has failures to come.
    pub(crate) fn is_reporting(&self) -> bool {
        let state = self.lock();
        state.reporting || !state.failures.is_empty()
    }

    /// Ends the sink; after that the publisher needs no memory for further batches.
    pub(crate) async fn end_sink(&self) {
        let ends_by = self.lock().ends_by.unwrap_or_else(|| Instant::now() + SINK_CLOSE_MAX);
        if let Err(error) = self.sink.close(ends_by).await {
            tracing::warn!("close the sink of {}: {error}", self.subject);
        }
        let mut state = self.lock();
        state.sink_ended = true;
        state.spare = Vec::new();
    }

    /// Says by when the sink is to end.
    pub(crate) fn end_by(&self, instant: Instant) {
        self.lock().ends_by.get_or_insert(instant);
    }

    pub(crate) fn is_sink_ended(&self) -> bool {
        self.lock().sink_ended
    }

    /// Settles everything now: what was not handed over with this definite error, the rest as indeterminate.
    pub(crate) fn give_up(&self, error: &Error) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        for batch in std::mem::take(&mut state.open) {
            state.fail_open_batch(batch, error, &mut wake);
        }
        state.give_up_in_flight(&error.clone().indeterminate(), |_| true, &mut wake);
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
            state.report_overdue(limit, &deadline_error(&self.subject, self.deadline), &mut wake);
        }
        let next = state.oldest_unreported().map(|accepted| accepted + self.deadline + DEADLINE_GRACE);
        state.keeper_armed = next.is_some();
        drop(state);
        wake.into_iter().for_each(Waker::wake);
        next
    }

    /// Whether the handler has something to do and is not busy; it then counts as busy.
    pub(crate) fn start_reporting(&self) -> bool {
        let mut state = self.lock();
        let starts = !state.reporting && !state.failures.is_empty();
        state.reporting |= starts;
        starts
    }

    /// Failed items that the handler has not seen; `None` ends its work.
    pub(crate) fn next_failures(&self) -> Option<Vec<FailedItem>> {
        let mut state = self.lock();
        if !state.failures.is_empty() {
            return Some(std::mem::take(&mut state.failures));
        }
        state.reporting = false;
        drop(state);
        self.stir.notify_one();
        None
    }

    /// A failed item goes to its handler: its room is free.
    pub(crate) fn failure_handed_over(&self, item: &FailedItem) {
        if item.keeps_room {
            self.give_room_back(1, item.bytes());
        }
    }

    pub(crate) fn count_handler_panic(&self) {
        self.lock().stats.handler_panics += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settlement for Line {
    fn settle(self: Arc<Self>, id: u64, mut outcomes: Vec<Result<Ack>>) {
        let mut wake = Vec::new();
        let mut state = self.lock();
        let Some(place) = state.in_flight.iter().position(|batch| batch.id == id) else { return };
        // Not `swap_remove`: the batches stay in the order in which they were handed over.
        let batch = state.in_flight.remove(place);
        outcomes.resize(batch.body.items.len(), Err(outcome_forgotten()));
        let freed = if outcomes.iter().all(Result::is_ok) && batch.behind.is_empty() && !batch.cell.has_early() {
            state.settle_acked(batch, outcomes, &mut wake)
        } else {
            state.settle_mixed(batch, outcomes, &mut wake)
        };
        let failures = !state.failures.is_empty();
        drop(state);
        self.give_room_back(freed.records, freed.bytes);
        wake.into_iter().for_each(Waker::wake);
        if failures || self.is_closed() {
            self.stir.notify_one();
        }
        self.hand_over(Caller::Task);
    }
}

/// Room in the window that has become free.
#[derive(Default)]
struct Freed {
    records: usize,
    bytes: usize,
}

impl State {
    fn is_settled(&self) -> bool {
        self.open.is_empty() && (self.in_flight.is_empty() || self.given_up)
    }

    fn push(&mut self, record: &Encoded, now: Instant, offer: &SinkOffer) -> Receipt {
        let fits = self.open.back().is_some_and(|last| {
            !last.atomic
                && last.body.items.len() < offer.batch_records_max
                && last.body.arena_bytes() + record.len() <= offer.batch_bytes_max
        });
        if !fits {
            self.start_batch(false);
        }
        self.push_into_last(record, now)
    }

    fn start_batch(&mut self, atomic: bool) {
        let body = self.spare.pop().unwrap_or_default();
        self.open.push_back(OpenBatch { cell: Arc::default(), body, atomic, slots: 0 });
    }

    fn push_into_last(&mut self, record: &Encoded, now: Instant) -> Receipt {
        self.stats.accepted += 1;
        let last = self.open.back_mut().expect("a batch was started");
        let slot = last.slots;
        last.slots += 1;
        last.body.push(&record.record(), slot, now);
        Receipt::new(Arc::clone(&last.cell), slot, self.process)
    }

    fn can_hand_over(&self, offer: &SinkOffer) -> bool {
        !self.handing_over && !self.open.is_empty() && self.in_flight.len() < offer.batches_in_flight_max
    }

    fn take_batch(&mut self, line: &Arc<Line>) -> Option<Batch> {
        let OpenBatch { cell, body, atomic, slots } = self.open.pop_front()?;
        let deadline = body.items.first()?.accepted + line.deadline;
        let body = Arc::new(body);
        let id = self.next_id;
        self.next_id += 1;
        self.stats.batches += 1;
        self.in_flight.push(InFlight { id, cell, body: Arc::clone(&body), slots, behind: HashMap::new() });
        Some(Batch::new(id, body, atomic, deadline, Arc::clone(line) as Arc<dyn Settlement>))
    }

    fn settle_acked(&mut self, batch: InFlight, outcomes: Vec<Result<Ack>>, wake: &mut Vec<Waker>) -> Freed {
        self.stats.acked += outcomes.len() as u64;
        self.stats.duplicates += outcomes.iter().filter(|o| o.as_ref().is_ok_and(|ack| ack.duplicate)).count() as u64;
        let freed = Freed { records: batch.body.items.len(), bytes: batch.body.arena_bytes() };
        wake.append(&mut batch.cell.settle(outcomes));
        if self.spare.len() < SPARE_MAX {
            self.spare.extend(Arc::try_unwrap(batch.body).ok().map(BatchBody::cleared));
        }
        freed
    }

    /// Settles a batch in which something failed, and in the same step everything behind it.
    fn settle_mixed(&mut self, batch: InFlight, outcomes: Vec<Result<Ack>>, wake: &mut Vec<Waker>) -> Freed {
        let mut freed = Freed::default();
        let mut broken = BrokenKeys::default();
        let mut by_slot = vec![Err(outcome_forgotten()); batch.slots as usize];
        for (item, outcome) in batch.body.items.iter().zip(outcomes) {
            if batch.cell.is_settled(item.slot) {
                // It was reported at its deadline, and counted then; its room was kept until the sink let go of it.
                freed.add(item);
                continue;
            }
            let outcome = outcome.and_then(|ack| match batch.behind.get(batch.body.key(item)) {
                Some(behind) => Err(behind.clone().indeterminate()),
                None => Ok(ack),
            });
            match &outcome {
                Ok(ack) => {
                    self.stats.acked += 1;
                    self.stats.duplicates += u64::from(ack.duplicate);
                    freed.add(item);
                }
                Err(error) => {
                    self.note_failure(&batch.body, item, error, true);
                    broken.break_at(&batch.body, item, error);
                }
            }
            by_slot[item.slot as usize] = outcome;
        }
        wake.append(&mut batch.cell.settle(by_slot));
        self.break_in_flight(batch.id, &mut broken);
        self.fail_behind(broken, wake);
        freed
    }

    /// Marks the records of broken keys in the batches that were handed over after this one. They keep the sink's
    /// outcome unless it is an ack.
    fn break_in_flight(&mut self, id: u64, broken: &mut BrokenKeys) {
        if broken.is_empty() {
            return;
        }
        for batch in self.in_flight.iter_mut().filter(|batch| batch.id > id) {
            for item in &batch.body.items {
                let key = batch.body.key(item);
                if let Some(behind) = broken.behind(key) {
                    batch.behind.entry(key.to_vec()).or_insert(behind);
                }
            }
        }
    }

    /// Takes the later envelopes of broken keys out of the open batches. An atomic batch goes as a whole, and then its
    /// other keys are broken too.
    fn fail_behind(&mut self, mut broken: BrokenKeys, wake: &mut Vec<Waker>) {
        if broken.is_empty() {
            return;
        }
        for mut batch in std::mem::take(&mut self.open) {
            let mut errors: Vec<Option<Error>> =
                batch.body.items.iter().map(|item| broken.behind(batch.body.key(item))).collect();
            if batch.atomic
                && let Some(of_all) = errors.iter().flatten().next().cloned()
            {
                for error in &mut errors {
                    error.get_or_insert_with(|| of_all.clone());
                }
            }
            if errors.iter().all(Option::is_none) {
                self.open.push_back(batch);
                continue;
            }
            let items = std::mem::take(&mut batch.body.items);
            let (mut gone, mut gone_errors) = (Vec::new(), Vec::new());
            for (item, error) in items.into_iter().zip(errors) {
                let Some(error) = error else {
                    batch.body.items.push(item);
                    continue;
                };
                broken.break_behind(batch.body.key(&item), &error);
                gone.push(item);
                gone_errors.push(error);
            }
            self.take_out(batch, gone, gone_errors, wake);
        }
    }

    /// Reports items that were taken out of an open batch; what is left of the batch stays in line.
    fn take_out(&mut self, batch: OpenBatch, gone: Vec<Item>, errors: Vec<Error>, wake: &mut Vec<Waker>) {
        let OpenBatch { cell, body, atomic, slots } = batch;
        let body = Arc::new(body);
        for (item, error) in gone.iter().zip(errors) {
            if let Some(mut woken) = cell.settle_early(item.slot, error.clone()) {
                wake.append(&mut woken);
                self.note_failure(&body, item, &error, true);
            }
        }
        if !body.items.is_empty() {
            // The failures hold the arena for the handler, so the batch that stays in line gets one of its own.
            let mut rest = BatchBody::default();
            body.items.iter().for_each(|item| rest.push(&body.record(item), item.slot, item.accepted));
            self.open.push_back(OpenBatch { cell, body: rest, atomic, slots });
        }
    }

    fn fail_open_batch(&mut self, mut batch: OpenBatch, error: &Error, wake: &mut Vec<Waker>) {
        let gone = std::mem::take(&mut batch.body.items);
        let errors = vec![error.clone(); gone.len()];
        self.take_out(batch, gone, errors, wake);
    }

    fn note_failure(&mut self, body: &Arc<BatchBody>, item: &Item, error: &Error, keeps_room: bool) {
        if error.is_definite() {
            self.stats.failed += 1;
        } else {
            self.stats.indeterminate += 1;
        }
        self.failures.push(FailedItem { body: Arc::clone(body), item: *item, error: error.clone(), keeps_room });
    }

    /// Reports as indeterminate what the sink holds and `which` picks, with all later ones of its keys.
    fn give_up_in_flight(&mut self, error: &Error, which: impl Fn(&Item) -> bool, wake: &mut Vec<Waker>) -> BrokenKeys {
        let mut broken = BrokenKeys::default();
        let mut reported = Vec::new();
        for batch in &self.in_flight {
            for item in &batch.body.items {
                let key = batch.body.key(item);
                let behind = broken.behind(key);
                if !which(item) && behind.is_none() {
                    continue;
                }
                let error = behind.map_or_else(|| error.clone(), Error::indeterminate);
                if let Some(mut woken) = batch.cell.settle_early(item.slot, error.clone()) {
                    wake.append(&mut woken);
                    broken.break_at(&batch.body, item, &error);
                    reported.push((Arc::clone(&batch.body), *item, error));
                }
            }
        }
        for (body, item, error) in reported {
            self.note_failure(&body, &item, &error, false);
        }
        broken
    }

    fn report_overdue(&mut self, limit: Instant, error: &Error, wake: &mut Vec<Waker>) {
        let overdue = |item: &Item| item.accepted <= limit;
        let mut broken = self.give_up_in_flight(&error.clone().indeterminate(), overdue, wake);
        for mut batch in std::mem::take(&mut self.open) {
            let (mut gone, mut kept) = (Vec::new(), Vec::new());
            for item in std::mem::take(&mut batch.body.items) {
                // The first overdue one of each key names the deadline; those behind it name the first.
                let is_first = overdue(&item) && !broken.contains(batch.body.key(&item));
                if is_first {
                    broken.break_behind(batch.body.key(&item), &behind_failed(&id_of(&batch.body, &item), error));
                }
                if is_first { gone.push(item) } else { kept.push(item) }
            }
            batch.body.items = kept;
            if gone.is_empty() {
                self.open.push_back(batch);
                continue;
            }
            let errors = vec![error.clone(); gone.len()];
            self.take_out(batch, gone, errors, wake);
        }
        self.fail_behind(broken, wake);
    }

    fn oldest_unreported(&self) -> Option<Instant> {
        let open = self.open.front().and_then(|batch| batch.body.items.first()).map(|item| item.accepted);
        let in_flight = self.in_flight.iter().filter_map(|batch| {
            batch.body.items.iter().find(|item| !batch.cell.is_settled(item.slot)).map(|item| item.accepted)
        });
        in_flight.chain(open).min()
    }
}

impl Freed {
    fn add(&mut self, item: &Item) {
        self.records += 1;
        self.bytes += item.bytes();
    }
}

fn outcome_forgotten() -> Error {
    Error::new(ErrorKind::Internal, "OutcomeForgotten")
        .cause("the driver gave too few outcomes")
        .next("look the envelope up before publishing it again, and report this")
        .indeterminate()
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
