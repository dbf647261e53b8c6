//! What a publisher has accepted: batches that are open, batches in flight, and the rules of their outcomes.
//!
//! Pure: whoever calls holds the lock of the line, gives the instants, and wakes whom the outcomes wake once it has let go.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::broken::BrokenKeys;
use super::cell::Cell;
use super::encoded::Encoded;
use super::keeper::FailedItem;
use super::receipt::Receipt;
use super::stats::PublisherStats;
use crate::ack::Ack;
use crate::batch::{Batch, BatchBody, Item, Settlement, behind_failed, id_of};
use crate::driver::SinkOffer;
use crate::error::{Error, ErrorKind, Result};

/// All batches of a publisher that are not settled.
#[derive(Default)]
pub(super) struct Batches {
    /// Number of the process that opened the publisher.
    process: u32,
    /// Batches not handed over; only the last one grows.
    open: VecDeque<OpenBatch>,
    /// Batches handed over, oldest first.
    in_flight: Vec<InFlight>,
    next_id: u64,
    /// Empty bodies of settled batches, whose memory the next ones take over: one grows while another is with the sink.
    spare: Vec<BatchBody>,
    /// Failed records that the failure handler has not seen.
    pub(super) failures: Vec<FailedItem>,
    pub(super) stats: PublisherStats,
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
    atomic: bool,
    slots: u32,
    /// Keys that broke in an earlier batch after this one was accepted: their records are not acked, whatever the sink
    /// says. It may have taken the batch after it gave the failure.
    behind: HashMap<Vec<u8>, Error>,
    /// Slots that were reported before the sink let go of them, and that the failure handler has.
    heard: HashSet<u32>,
}

/// Bodies that are kept for further batches.
const SPARE_MAX: usize = 2;

/// Room in the window that has become free.
#[derive(Default)]
pub(super) struct Freed {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Batches {
    pub(super) fn new(process: u32) -> Self {
        Self { process, ..Self::default() }
    }

    /// Adds a record to the batch that grows, or to a new one.
    pub(super) fn push(&mut self, record: &Encoded, now: Instant, offer: &SinkOffer) -> Receipt {
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

    pub(super) fn start_batch(&mut self, atomic: bool) {
        let body = self.spare.pop().unwrap_or_default();
        self.open.push_back(OpenBatch { cell: Arc::default(), body, atomic, slots: 0 });
    }

    /// Adds a record to the batch that was started last.
    pub(super) fn push_into_last(&mut self, record: &Encoded, now: Instant) -> Receipt {
        self.stats.accepted += 1;
        let last = self.open.back_mut().expect("a batch was started");
        let slot = last.slots;
        last.slots += 1;
        last.body.push(&record.record(), slot, now);
        Receipt::new(Arc::clone(&last.cell), slot, self.process)
    }

    /// Whether a batch is open that the sink has room for.
    pub(super) fn can_hand_over(&self, offer: &SinkOffer) -> bool {
        !self.open.is_empty() && self.in_flight.len() < offer.batches_in_flight_max
    }

    /// The oldest open batch, for the sink: it is in flight from now on, and settled by `settlement`.
    pub(super) fn take(&mut self, deadline: Duration, settlement: &Arc<impl Settlement + 'static>) -> Option<Batch> {
        let OpenBatch { cell, body, atomic, slots } = self.open.pop_front()?;
        let deadline = body.items.first()?.accepted + deadline;
        let body = Arc::new(body);
        let id = self.next_id;
        self.next_id += 1;
        self.stats.batches += 1;
        let (behind, heard) = (HashMap::new(), HashSet::new());
        self.in_flight.push(InFlight { id, cell, body: Arc::clone(&body), atomic, slots, behind, heard });
        Some(Batch::new(id, body, atomic, deadline, Arc::clone(settlement) as Arc<dyn Settlement>))
    }

    /// Settles a batch in flight with what the sink says of it; gives the room that is free again, unless it is unknown.
    pub(super) fn settle(&mut self, id: u64, mut outcomes: Vec<Result<Ack>>, wake: &mut Vec<Waker>) -> Option<Freed> {
        let place = self.in_flight.iter().position(|batch| batch.id == id)?;
        // Not `swap_remove`: the batches stay in the order in which they were handed over.
        let batch = self.in_flight.remove(place);
        outcomes.resize(batch.body.items.len(), Err(outcome_forgotten()));
        Some(if outcomes.iter().all(Result::is_ok) && batch.behind.is_empty() && !batch.cell.has_early() {
            self.settle_acked(batch, outcomes, wake)
        } else {
            self.settle_mixed(batch, outcomes, wake)
        })
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
                // It was reported at its deadline, and counted then. If its handler has not heard of it, the room waits on.
                if batch.heard.contains(&item.slot) {
                    freed.add(item);
                }
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
                    self.note_failure(&batch.body, item, error, None);
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
    /// outcome unless it is an ack. An atomic batch is marked as a whole, and then its other keys are broken too.
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
            if batch.atomic
                && let Some(of_all) = batch.behind.values().next().cloned()
            {
                for item in &batch.body.items {
                    let key = batch.body.key(item);
                    broken.break_behind(key, &of_all);
                    batch.behind.entry(key.to_vec()).or_insert_with(|| of_all.clone());
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
                self.note_failure(&body, item, &error, None);
            }
        }
        if !body.items.is_empty() {
            // The failures hold the arena for the handler, so the batch that stays in line gets one of its own.
            let mut rest = BatchBody::default();
            body.items.iter().for_each(|item| rest.push(&body.record(item), item.slot, item.accepted));
            self.open.push_back(OpenBatch { cell, body: rest, atomic, slots });
        }
    }

    /// Settles everything now: what was not handed over with this definite error, the rest as indeterminate.
    pub(super) fn give_up(&mut self, error: &Error, wake: &mut Vec<Waker>) {
        for batch in std::mem::take(&mut self.open) {
            self.fail_open_batch(batch, error, wake);
        }
        self.give_up_in_flight(&error.clone().indeterminate(), |_| true, wake);
    }

    fn fail_open_batch(&mut self, mut batch: OpenBatch, error: &Error, wake: &mut Vec<Waker>) {
        let gone = std::mem::take(&mut batch.body.items);
        let errors = vec![error.clone(); gone.len()];
        self.take_out(batch, gone, errors, wake);
    }

    /// The failure handler has a failed item; gives whether its room is free.
    pub(super) fn hear(&mut self, failed: &FailedItem) -> bool {
        let at_sink = failed.in_flight.and_then(|id| self.in_flight.iter_mut().find(|batch| batch.id == id));
        at_sink.map(|batch| batch.heard.insert(failed.item.slot)).is_none()
    }

    fn note_failure(&mut self, body: &Arc<BatchBody>, item: &Item, error: &Error, in_flight: Option<u64>) {
        if error.is_definite() {
            self.stats.failed += 1;
        } else {
            self.stats.indeterminate += 1;
        }
        self.failures.push(FailedItem { body: Arc::clone(body), item: *item, error: error.clone(), in_flight });
    }

    /// Reports as indeterminate what the sink holds and `which` picks, with all later ones of its keys. `which` picks atomic
    /// batches as a whole, and one that stands behind another one with some of its keys is reported as a whole too.
    fn give_up_in_flight(&mut self, error: &Error, which: impl Fn(&Item) -> bool, wake: &mut Vec<Waker>) -> BrokenKeys {
        let mut broken = BrokenKeys::default();
        let mut reported = Vec::new();
        for batch in &self.in_flight {
            let items = &batch.body.items;
            let of_all = items.iter().filter(|_| batch.atomic).find_map(|item| broken.behind(batch.body.key(item)));
            for item in items {
                let behind = broken.behind(batch.body.key(item)).or_else(|| of_all.clone());
                if !which(item) && behind.is_none() {
                    continue;
                }
                let error = behind.map_or_else(|| error.clone(), Error::indeterminate);
                if let Some(mut woken) = batch.cell.settle_early(item.slot, error.clone()) {
                    wake.append(&mut woken);
                    broken.break_at(&batch.body, item, &error);
                    reported.push((batch.id, Arc::clone(&batch.body), *item, error));
                }
            }
        }
        for (id, body, item, error) in reported {
            self.note_failure(&body, &item, &error, Some(id));
        }
        broken
    }

    /// Reports what was accepted at this instant or before and has no outcome, with all later ones of its keys.
    pub(super) fn report_overdue(&mut self, limit: Instant, error: &Error, wake: &mut Vec<Waker>) {
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

    /// When the oldest record without an outcome was accepted.
    pub(super) fn oldest_unreported(&self) -> Option<Instant> {
        let open = self.open.front().and_then(|batch| batch.body.items.first()).map(|item| item.accepted);
        let in_flight = self.in_flight.iter().filter_map(|batch| {
            batch.body.items.iter().find(|item| !batch.cell.is_settled(item.slot)).map(|item| item.accepted)
        });
        in_flight.chain(open).min()
    }

    /// Receipts of all that has no outcome, for whoever waits for it.
    pub(super) fn unsettled(&self) -> Vec<Receipt> {
        let open = self.open.iter().map(|batch| (&batch.cell, batch.slots));
        let in_flight = self.in_flight.iter().map(|batch| (&batch.cell, batch.slots));
        in_flight
            .chain(open)
            .flat_map(|(cell, slots)| (0..slots).map(move |slot| (cell, slot)))
            .filter(|(cell, slot)| !cell.is_settled(*slot))
            .map(|(cell, slot)| Receipt::new(Arc::clone(cell), slot, self.process))
            .collect()
    }

    /// Whether every record has been handed over.
    pub(super) fn is_handed_over(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether the sink owes an answer.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Needs no memory for further batches.
    pub(super) fn free_spare(&mut self) {
        self.spare = Vec::new();
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
