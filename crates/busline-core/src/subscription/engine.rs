//! What the tasks of one subscription share: the lanes under one short lock, and who is to be woken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::guarded::{Slot, next_subscription};
use super::hand::{HAND_MAX, Hand};
use super::handler::Place;
use super::lanes::{Blocked, Bounds, End, Lanes, Subject, Ticket, Work};
use super::outcome::{Ended, SubscriptionStats};
use super::parking::{Item, Parking};
use super::settings::SubscriptionSettings;
use crate::driver::{Driver, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::record::Record;
use crate::topic::{Offset, Partition};

pub(crate) struct Engine {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) settings: SubscriptionSettings,
    pub(crate) place: Arc<Place>,
    /// Where records go whose attempts are used up; without it their keys wait.
    pub(crate) parking: Option<Parking>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) hands: Vec<Hand>,
    /// Tells this subscription's handlers from those of others.
    pub(crate) number: u64,
    /// The watchdog's count of its looks, from 1.
    pub(crate) tick: AtomicU64,
    closing: AtomicBool,
    /// Wakes the reader: there is room again, or a seek is wanted.
    pub(crate) reader: Notify,
    /// Wakes the tender: much has finished, a partition is drained or the subscription closes.
    pub(crate) tender: Notify,
    /// Wakes the alarm: a pause ends earlier than all others.
    pub(crate) alarm: Notify,
    /// The watchdog, once it runs.
    pub(crate) watchdog: OnceLock<Thread>,
    state: Mutex<State>,
    /// Held while the source is told to pause or resume, so that it is told in the order of the decisions.
    pausing: Mutex<()>,
}

struct State {
    lanes: Lanes,
    /// Workers that wait for work, each at most once.
    idle: Vec<(usize, Waker)>,
    stats: SubscriptionStats,
    reader_waits: bool,
    /// The tender has nothing to do until something moves.
    tender_sleeps: bool,
    /// No worker has anything to do, so that there is nothing to watch.
    watchdog_sleeps: bool,
    /// Room for this many records is worth reading while lanes are ready.
    read_min: usize,
    seeks: Vec<SeekOrder>,
    /// Why the reader has ended; nothing more comes then.
    ended: Option<Error>,
    /// Attempts that have ended since the tender was last woken for their number.
    finished: usize,
}

/// A seek that the reader is to make, between two reads.
pub(crate) struct SeekOrder {
    pub(crate) partition: Partition,
    pub(crate) offset: Offset,
    pub(crate) answer: oneshot::Sender<Result<()>>,
}

/// Records that are queued under one hold of the lock.
const ROUTED_AT_ONCE: usize = 64;

/// Records that are read at once where there is no hurry: a few at a time cost the source as much as many.
const READ_MIN: usize = 256;

impl Engine {
    pub(crate) fn new(
        driver: Arc<dyn Driver>,
        source: Arc<dyn Source>,
        settings: SubscriptionSettings,
        place: Arc<Place>,
        parking: Option<Parking>,
    ) -> Self {
        let bounds = Bounds {
            records_max: settings.in_flight_records_max,
            bytes_max: settings.in_flight_bytes_max,
            ahead_max: settings.ahead_max,
        };
        let state = State {
            lanes: Lanes::new(bounds),
            idle: Vec::new(),
            stats: SubscriptionStats::default(),
            reader_waits: false,
            tender_sleeps: false,
            watchdog_sleeps: false,
            read_min: settings.in_flight_records_max.div_ceil(4).min(READ_MIN),
            seeks: Vec::new(),
            ended: None,
            finished: 0,
        };
        let number = next_subscription();
        Self {
            driver,
            source,
            place,
            parking,
            slots: (0..settings.concurrency).map(|_| Slot::new(number)).collect(),
            hands: (0..settings.concurrency).map(|_| Hand::default()).collect(),
            settings,
            number,
            tick: AtomicU64::new(1),
            closing: AtomicBool::new(false),
            reader: Notify::new(),
            tender: Notify::new(),
            alarm: Notify::new(),
            watchdog: OnceLock::new(),
            state: Mutex::new(state),
            pausing: Mutex::new(()),
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Starts no further handler.
    pub(crate) fn stop_starting(&self) {
        self.closing.store(true, Ordering::Release);
        let idle = std::mem::take(&mut self.lock().idle);
        idle.into_iter().for_each(|(_, waker)| waker.wake());
        self.reader.notify_one();
        self.tender.notify_one();
        self.alarm.notify_one();
    }

    /// Whether the tender may sleep until it is woken, because nothing is left to commit or to give up.
    pub(crate) fn lets_tender_sleep(&self) -> bool {
        let mut state = self.lock();
        state.tender_sleeps = !state.lanes.is_moving();
        state.tender_sleeps
    }

    /// Whether the watchdog may sleep until it is woken, because every worker waits.
    pub(crate) fn lets_watchdog_sleep(&self) -> bool {
        let mut state = self.lock();
        state.watchdog_sleeps = state.idle.len() == self.slots.len();
        state.watchdog_sleeps
    }

    /// Breaks off every handler that runs.
    pub(crate) fn cancel_running(&self) {
        self.slots.iter().for_each(Slot::cancel);
    }

    pub(crate) fn stats(&self) -> SubscriptionStats {
        let state = self.lock();
        let load = state.lanes.load();
        SubscriptionStats { in_flight_records: load.records as u64, in_flight_bytes: load.bytes as u64, ..state.stats }
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut SubscriptionStats)) {
        change(&mut self.lock().stats);
    }

    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        self.lock().lanes.blocked()
    }

    /// Why nothing more comes, or what keeps the source from moving.
    pub(crate) fn trouble(&self) -> Option<Error> {
        let ended = self.lock().ended.clone();
        ended.or_else(|| self.source.trouble()).or_else(|| self.parking.as_ref().and_then(Parking::trouble))
    }

    /// Records and bytes that may be read now; nothing means that the reader will be woken.
    pub(crate) fn room_to_read(&self) -> Option<(usize, usize)> {
        let mut state = self.lock();
        state.reader_waits = !state.may_read();
        (!state.reader_waits).then(|| state.lanes.room())
    }

    /// Queues records in their lanes and wakes as many workers as can start.
    pub(crate) fn deliver(&self, generation: u64, records: Vec<Record>) {
        // A few at a time, so that workers need not wait for the lanes until all are routed.
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let few = records.by_ref().take(ROUTED_AT_ONCE);
            let taken = self.with_lanes_and_stats(|lanes, stats| {
                let taken = lanes.deliver(generation, few);
                stats.delivered += taken as u64;
                taken
            });
            if taken == 0 {
                return;
            }
        }
    }

    /// Changes the lanes of these partitions, after what workers have in their hands of them has come back.
    pub(crate) fn with_lanes_of<T>(&self, partitions: &[Partition], change: impl FnOnce(&mut Lanes) -> T) -> T {
        self.with_state(|state| {
            for hand in &self.hands {
                state.take_back(hand.recall(partitions).into_iter());
            }
            change(&mut state.lanes)
        })
    }

    /// Changes the lanes, and wakes whoever can go on afterwards.
    pub(crate) fn with_lanes<T>(&self, change: impl FnOnce(&mut Lanes) -> T) -> T {
        self.with_lanes_and_stats(|lanes, _| change(lanes))
    }

    fn with_lanes_and_stats<T>(&self, change: impl FnOnce(&mut Lanes, &mut SubscriptionStats) -> T) -> T {
        self.with_state(|state| change(&mut state.lanes, &mut state.stats))
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        let (reader, tender) = (state.takes_reader(), state.wakes_tender());
        let ready = state.lanes.ready_count();
        let idle = state.takes_idle(ready.div_ceil(HAND_MAX));
        drop(state);
        self.wake(Wakes { idle, reader, tender, ..Wakes::default() });
        outcome
    }

    /// Tells the source which partitions are to pause or go on.
    pub(crate) fn apply_pauses(&self) {
        let _in_order = self.pausing.lock().unwrap_or_else(PoisonError::into_inner);
        let (pause, resume) = {
            let mut state = self.lock();
            let starving = state.is_starving();
            state.lanes.pauses(starving)
        };
        if !pause.is_empty() {
            self.source.pause(&pause);
            // A partition that is full of finished records goes on as soon as they are committed.
            self.tender.notify_one();
        }
        if !resume.is_empty() {
            self.source.resume(&resume);
        }
    }

    /// Drops partitions that are lost, and breaks off what runs for them.
    pub(crate) fn lose(&self, partitions: &[Partition]) {
        self.count(|stats| stats.lost_partitions += partitions.len() as u64);
        self.with_lanes_of(partitions, |lanes| {
            partitions.iter().for_each(|partition| lanes.drop_partition(*partition))
        });
        self.cancel_partitions(partitions);
    }

    /// The same for one assignment; nothing, if the partition is held under another by now. Gives whether it was held.
    pub(crate) fn lose_assignment(&self, partition: Partition, generation: u64) -> bool {
        let was_held = self.with_lanes_of(&[partition], |lanes| lanes.drop_assignment(partition, generation));
        if was_held {
            self.count(|stats| stats.lost_partitions += 1);
            self.cancel_partitions(&[partition]);
        }
        was_held
    }

    /// Breaks off what runs for these partitions.
    pub(crate) fn cancel_partitions(&self, partitions: &[Partition]) {
        for (hand, slot) in self.hands.iter().zip(&self.slots) {
            hand.cancel(partitions, slot);
        }
    }

    /// Ends the worker's last attempts and gives the next ones, at most `size_max` of different keys, or waits for some.
    pub(crate) fn poll_next(&self, worker: usize, size_max: usize, context: &mut Context<'_>) -> Poll<Next> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut hand = self.hands[worker].lock();
        let mut wakes = state.finish(&mut hand.ended, self.settings.commit_records);
        let polled = if self.is_closing() {
            Poll::Ready(Next::End)
        } else if state.lanes.take_some(&mut hand.works, size_max) {
            // Whoever wakes one worker for several lanes relies on it to wake the next.
            wakes.idle = state.takes_idle(state.lanes.ready_count().min(1));
            wakes.watchdog = std::mem::take(&mut state.watchdog_sleeps);
            Poll::Ready(Next::Run)
        } else {
            state.wait(worker, context.waker());
            Poll::Pending
        };
        wakes.reader = state.takes_reader();
        drop(hand);
        drop(guard);
        let yields = wakes.wakes_somebody() && matches!(polled, Poll::Ready(Next::Run));
        self.wake(wakes);
        if yields { Poll::Ready(Next::Yield) } else { polled }
    }

    /// Takes from a worker what it has not begun and not told, because it is held up.
    pub(crate) fn give_back(&self, worker: usize) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut hand = self.hands[worker].lock();
        if hand.works.is_empty() && hand.ended.is_empty() {
            return;
        }
        let mut wakes = state.finish(&mut hand.ended, self.settings.commit_records);
        state.take_back(hand.works.drain(..));
        wakes.alarm = true;
        wakes.idle = state.takes_idle(state.lanes.ready_count());
        wakes.reader = state.takes_reader();
        drop(hand);
        drop(guard);
        self.wake(wakes);
    }

    fn wake(&self, wakes: Wakes) {
        wakes.idle.into_iter().for_each(|(_, waker)| waker.wake());
        for (is_wanted, task) in
            [(wakes.tender, &self.tender), (wakes.reader, &self.reader), (wakes.alarm, &self.alarm)]
        {
            if is_wanted {
                task.notify_one();
            }
        }
        if let Some(watchdog) = self.watchdog.get().filter(|_| wakes.watchdog) {
            watchdog.unpark();
        }
        if let Some(parking) = &self.parking {
            parking.park(wakes.items);
        }
    }

    /// Ends attempts whose records were parked, or that were queued for it in vain; `parked` of them are.
    pub(crate) fn end_parking(&self, ends: Vec<(Ticket, End)>, parked: u64) {
        if ends.is_empty() {
            return;
        }
        let has_drained = self.with_lanes_and_stats(|lanes, stats| {
            stats.parked += parked;
            ends.into_iter().for_each(|(ticket, end)| lanes.finish(&ticket, end));
            lanes.has_drained()
        });
        if has_drained {
            self.tender.notify_one();
        }
    }

    /// Whether the assignment certainly stands.
    pub(crate) fn is_held(&self) -> bool {
        self.source.holds_until().is_none_or(|until| Instant::now() < until)
    }

    /// Asks the reader for a seek.
    pub(crate) fn order_seek(&self, order: SeekOrder) {
        let mut state = self.lock();
        if state.ended.is_some() {
            drop(order.answer.send(Err(source_closed())));
            return;
        }
        state.seeks.push(order);
        drop(state);
        self.reader.notify_one();
    }

    pub(crate) fn take_seeks(&self) -> Vec<SeekOrder> {
        std::mem::take(&mut self.lock().seeks)
    }

    /// The reader has ended; whoever waits for it is told.
    pub(crate) fn reader_has_ended(&self, why: Option<Error>) {
        let mut state = self.lock();
        state.ended.get_or_insert_with(|| why.unwrap_or_else(source_closed));
        let seeks = std::mem::take(&mut state.seeks);
        drop(state);
        for order in seeks {
            drop(order.answer.send(Err(source_closed())));
        }
    }

    /// When the next pause of a lane ends.
    pub(crate) fn wake_due(&self, now: Instant) -> Option<Instant> {
        self.with_lanes(|lanes| lanes.wake_due(now))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker does next.
pub(crate) enum Next {
    /// It runs what it has in its hand.
    Run,
    /// The same, after whom it has woken. The runtime keeps the task that a thread woke last for that thread alone, and a
    /// handler that blocks the thread would keep it from running.
    Yield,
    /// The subscription closes.
    End,
}

/// Who is to be woken after a change.
#[derive(Default)]
struct Wakes {
    idle: Vec<(usize, Waker)>,
    tender: bool,
    reader: bool,
    alarm: bool,
    watchdog: bool,
    /// Records that are to be parked.
    items: Vec<Item>,
}

impl Wakes {
    fn wakes_somebody(&self) -> bool {
        self.tender || self.reader || self.alarm || !self.idle.is_empty() || !self.items.is_empty()
    }
}

impl State {
    /// Ends attempts, or takes out what is to be parked.
    fn finish(&mut self, ended: &mut Vec<Ended>, commit_records: usize) -> Wakes {
        if ended.is_empty() {
            return Wakes::default();
        }
        let due = self.lanes.next_due();
        self.finished += ended.len();
        let mut items = Vec::new();
        for ended in ended.drain(..) {
            ended.count(&mut self.stats);
            match ended.end {
                End::Park(record, cause) => items.push(Item { ticket: ended.ticket, record: *record, cause }),
                end => self.lanes.finish(&ended.ticket, end),
            }
        }
        let is_much = self.finished >= commit_records;
        if is_much {
            self.finished = 0;
        }
        let tender = self.wakes_tender() || is_much || self.lanes.has_drained();
        let alarm = self.lanes.next_due() != due;
        Wakes { tender, alarm, items, ..Wakes::default() }
    }

    /// Whether the tender sleeps and there is something to commit or to give up; then it is to be woken.
    fn wakes_tender(&mut self) -> bool {
        self.tender_sleeps && self.lanes.is_moving() && std::mem::take(&mut self.tender_sleeps)
    }

    /// Takes attempts back that have not begun.
    fn take_back(&mut self, works: impl Iterator<Item = Work>) {
        for work in works {
            let end = match work.subject {
                Subject::Record(record) => End::Cancelled(Box::new(record)),
                Subject::Offset(offset) => End::ReadLater(offset, Instant::now()),
            };
            self.lanes.finish(&work.ticket, end);
        }
    }

    /// Takes up to so many workers that wait out of the list, to wake them.
    fn takes_idle(&mut self, count: usize) -> Vec<(usize, Waker)> {
        let keep = self.idle.len() - self.idle.len().min(count);
        self.idle.split_off(keep)
    }

    /// Whether there is room to read, and enough for a piece that is worth the way. Less will do for workers that have
    /// nothing to do.
    fn may_read(&self) -> bool {
        let (records, bytes) = self.lanes.room();
        records > 0 && bytes > 0 && (records >= self.read_min || self.lacks_work())
    }

    /// Whether workers have nothing to do although the window is about full.
    fn is_starving(&self) -> bool {
        self.lacks_work() && self.lanes.room().0 < self.read_min
    }

    /// Whether workers wait and no lane is ready for them.
    fn lacks_work(&self) -> bool {
        !self.idle.is_empty() && self.lanes.ready_count() == 0
    }

    /// Whether the reader is to be woken: it waits for room and there is some, or a partition need not pause any more.
    fn takes_reader(&mut self) -> bool {
        let has_room = self.reader_waits && self.may_read() && std::mem::take(&mut self.reader_waits);
        has_room || self.lanes.has_relieved()
    }

    /// A worker that is polled for another reason while it waits must not stand in the list twice, or a wake-up meant for
    /// a lane would be spent on a worker that is busy by then.
    fn wait(&mut self, worker: usize, waker: &Waker) {
        match self.idle.iter_mut().find(|(waiting, _)| *waiting == worker) {
            Some((_, known)) => known.clone_from(waker),
            None => self.idle.push((worker, waker.clone())),
        }
    }
}

pub(crate) fn source_closed() -> Error {
    Error::new(ErrorKind::Closed, "Subscription").cause("nothing more is read").next("subscribe again")
}
