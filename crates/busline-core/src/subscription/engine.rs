//! What the tasks of one subscription share: the lanes under one short lock, and who is to be woken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::guarded::{Slot, next_subscription};
use super::handler::Place;
use super::lanes::{Blocked, Bounds, Lanes, Work};
use super::outcome::{Ended, SubscriptionStats};
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
    pub(crate) slots: Vec<Slot>,
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
    state: Mutex<State>,
    /// Held while the source is told to pause or resume, so that it is told in the order of the decisions.
    pausing: Mutex<()>,
}

struct State {
    lanes: Lanes,
    /// Workers that wait for work, each at most once.
    idle: Vec<(usize, Waker)>,
    stats: SubscriptionStats,
    /// For which partitions each worker runs, to break it off when one is lost.
    running: Vec<Vec<Partition>>,
    reader_waits: bool,
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

/// Records that are read at once where there is no hurry: a few at a time cost the source as much as many.
const READ_MIN: usize = 256;

impl Engine {
    pub(crate) fn new(
        driver: Arc<dyn Driver>,
        source: Arc<dyn Source>,
        settings: SubscriptionSettings,
        place: Arc<Place>,
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
            running: vec![Vec::new(); settings.concurrency],
            reader_waits: false,
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
            slots: (0..settings.concurrency).map(|_| Slot::new(number)).collect(),
            settings,
            number,
            tick: AtomicU64::new(1),
            closing: AtomicBool::new(false),
            reader: Notify::new(),
            tender: Notify::new(),
            alarm: Notify::new(),
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
        ended.or_else(|| self.source.trouble())
    }

    /// Records and bytes that may be read now; nothing means that the reader will be woken.
    pub(crate) fn room_to_read(&self) -> Option<(usize, usize)> {
        let mut state = self.lock();
        state.reader_waits = !state.may_read();
        (!state.reader_waits).then(|| state.lanes.room())
    }

    /// Queues records in their lanes and wakes as many workers as can start.
    pub(crate) fn deliver(&self, generation: u64, records: Vec<Record>) {
        self.with_lanes_and_stats(|lanes, stats| stats.delivered += lanes.deliver(generation, records) as u64);
    }

    /// Changes the lanes, and wakes whoever can go on afterwards.
    pub(crate) fn with_lanes<T>(&self, change: impl FnOnce(&mut Lanes) -> T) -> T {
        self.with_lanes_and_stats(|lanes, _| change(lanes))
    }

    fn with_lanes_and_stats<T>(&self, change: impl FnOnce(&mut Lanes, &mut SubscriptionStats) -> T) -> T {
        let mut guard = self.lock();
        let state = &mut *guard;
        let outcome = change(&mut state.lanes, &mut state.stats);
        let wake_reader = state.takes_reader();
        let keep = state.idle.len() - state.idle.len().min(state.lanes.ready_count());
        let woken = state.idle.split_off(keep);
        drop(guard);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
        if wake_reader {
            self.reader.notify_one();
        }
        outcome
    }

    /// Tells the source which partitions are to pause or go on.
    pub(crate) fn apply_pauses(&self) {
        let _in_order = self.pausing.lock().unwrap_or_else(PoisonError::into_inner);
        let (pause, resume) = self.with_lanes(Lanes::pauses);
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
        self.with_lanes_and_stats(|lanes, stats| {
            stats.lost_partitions += partitions.len() as u64;
            partitions.iter().for_each(|partition| lanes.drop_partition(*partition));
        });
        self.cancel_partitions(partitions);
    }

    /// Breaks off what runs for these partitions.
    pub(crate) fn cancel_partitions(&self, partitions: &[Partition]) {
        let state = self.lock();
        for (slot, running) in self.slots.iter().zip(&state.running) {
            if running.iter().any(|partition| partitions.contains(partition)) {
                slot.cancel();
            }
        }
    }

    /// What a worker runs for.
    pub(crate) fn running(&self, worker: usize) -> Vec<Partition> {
        self.lock().running[worker].clone()
    }

    /// Ends the worker's last attempts and gives the next ones, at most `size_max` of different keys, or waits for some;
    /// `false` when the subscription closes.
    pub(crate) fn poll_next(
        &self,
        worker: usize,
        ended: &mut Vec<Ended>,
        works: &mut Vec<Work>,
        size_max: usize,
        context: &mut Context<'_>,
    ) -> Poll<bool> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let (mut wake_tender, mut wake_alarm) = (false, false);
        if !ended.is_empty() {
            let due = state.lanes.next_due();
            wake_tender = state.finish(worker, ended, self.settings.commit_records);
            wake_alarm = state.lanes.next_due() != due;
        }
        let polled = if self.is_closing() {
            Poll::Ready(false)
        } else if state.take(worker, works, size_max) {
            self.slots[worker].begin();
            Poll::Ready(true)
        } else {
            state.wait(worker, context.waker());
            Poll::Pending
        };
        let wake_reader = state.takes_reader();
        drop(guard);
        if wake_tender {
            self.tender.notify_one();
        }
        if wake_reader {
            self.reader.notify_one();
        }
        if wake_alarm {
            self.alarm.notify_one();
        }
        polled
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

impl State {
    /// Ends attempts; gives whether the tender has something to do.
    fn finish(&mut self, worker: usize, ended: &mut Vec<Ended>, commit_records: usize) -> bool {
        self.finished += ended.len();
        for ended in ended.drain(..) {
            ended.count(&mut self.stats);
            self.lanes.finish(ended.lane, ended.ordinal, ended.bytes, ended.end);
        }
        let is_drained = self.running[worker].iter().any(|partition| self.lanes.is_drained(*partition));
        self.running[worker].clear();
        let is_much = self.finished >= commit_records;
        if is_much {
            self.finished = 0;
        }
        is_drained || is_much
    }

    /// Whether there is room to read, and enough for a piece that is worth the way. Less will do where no lane is ready:
    /// then workers wait for what is read.
    fn may_read(&self) -> bool {
        let (records, bytes) = self.lanes.room();
        records > 0 && bytes > 0 && (records >= self.read_min || self.lanes.ready_count() == 0)
    }

    /// Whether the reader waits for room and there is some; then it is to be woken.
    fn takes_reader(&mut self) -> bool {
        self.reader_waits && self.may_read() && std::mem::take(&mut self.reader_waits)
    }

    fn take(&mut self, worker: usize, works: &mut Vec<Work>, size_max: usize) -> bool {
        while works.len() < size_max
            && let Some(work) = self.lanes.take()
        {
            if !self.running[worker].contains(&work.partition) {
                self.running[worker].push(work.partition);
            }
            works.push(work);
        }
        !works.is_empty()
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
