//! What the tasks of one subscription share: the lanes under one short lock, and who is to be woken.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::guarded::Slot;
use super::handler::Place;
use super::lanes::{Blocked, End, LaneRef, Lanes, Work};
use super::settings::SubscriptionSettings;
use crate::driver::{Driver, Source};
use crate::record::Record;
use crate::topic::Partition;

/// Counts of a subscription since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscriptionStats {
    /// Records that the source handed over.
    pub delivered: u64,
    /// Events whose handler ended well.
    pub handled: u64,
    /// Events passed over because their handler said so.
    pub skipped: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Handlers that blocked their thread.
    pub blocked_handlers: u64,
    /// Positions that nothing explains were skipped.
    pub gaps: u64,
    /// Partitions that were lost to another member before their work had ended.
    pub lost_partitions: u64,
}

pub(crate) struct Engine {
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) settings: SubscriptionSettings,
    pub(crate) place: Arc<Place>,
    pub(crate) slots: Vec<Slot>,
    /// The watchdog's count of quarter seconds, from 1.
    pub(crate) tick: AtomicU64,
    pub(crate) closing: AtomicBool,
    /// Wakes the reader: there is room again.
    pub(crate) room: Notify,
    /// Wakes the tender: much has finished, a partition is drained, a pause is set or the subscription closes.
    pub(crate) stir: Notify,
    /// Lanes that could run while no worker was free.
    finished: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    lanes: Lanes,
    idle: Vec<Waker>,
    stats: SubscriptionStats,
    /// Which worker runs for which partition, to break it off when that is lost.
    running: Vec<Option<Partition>>,
    reader_waits: bool,
}

impl Engine {
    pub(crate) fn new(
        driver: Arc<dyn Driver>,
        source: Arc<dyn Source>,
        settings: SubscriptionSettings,
        place: Arc<Place>,
    ) -> Self {
        let bounds = super::lanes::Bounds {
            records_max: settings.in_flight_records_max,
            bytes_max: settings.in_flight_bytes_max,
            ahead_max: settings.ahead_max,
        };
        let state = State {
            lanes: Lanes::new(bounds),
            idle: Vec::new(),
            stats: SubscriptionStats::default(),
            running: vec![None; settings.concurrency],
            reader_waits: false,
        };
        Self {
            driver,
            source,
            place,
            slots: (0..settings.concurrency).map(|_| Slot::default()).collect(),
            settings,
            tick: AtomicU64::new(1),
            closing: AtomicBool::new(false),
            room: Notify::new(),
            stir: Notify::new(),
            finished: AtomicUsize::new(0),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Starts no further handler.
    pub(crate) fn stop_starting(&self) {
        self.closing.store(true, Ordering::Release);
        let idle = std::mem::take(&mut self.lock().idle);
        idle.into_iter().for_each(Waker::wake);
        self.room.notify_one();
        self.stir.notify_one();
    }

    /// Breaks off every handler that runs.
    pub(crate) fn cancel_running(&self) {
        self.slots.iter().for_each(Slot::cancel);
    }

    pub(crate) fn stats(&self) -> SubscriptionStats {
        self.lock().stats
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut SubscriptionStats)) {
        change(&mut self.lock().stats);
    }

    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        self.lock().lanes.blocked()
    }

    /// Records and bytes that may be read now; nothing means that the reader will be woken.
    pub(crate) fn room_to_read(&self) -> Option<(usize, usize)> {
        let mut state = self.lock();
        let (records, bytes) = state.lanes.room();
        let records = records.min(usize::try_from(state.lanes.ahead_room()).unwrap_or(usize::MAX).max(1));
        state.reader_waits = records == 0 || bytes == 0;
        (!state.reader_waits).then_some((records, bytes))
    }

    /// Queues records in their lanes and wakes as many workers as can start.
    pub(crate) fn deliver(&self, generation: u64, records: Vec<Record>) {
        let mut state = self.lock();
        state.stats.delivered += records.len() as u64;
        let woken = records.len();
        state.lanes.deliver(generation, records);
        self.wake_workers(state, woken);
    }

    /// Changes the lanes, and wakes workers if some may run afterwards.
    pub(crate) fn with_lanes<T>(&self, change: impl FnOnce(&mut Lanes) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state.lanes);
        self.wake_workers(state, usize::MAX);
        outcome
    }

    fn wake_workers(&self, mut state: MutexGuard<'_, State>, at_most: usize) {
        let count = state.idle.len().min(at_most).min(state.lanes.ready_count());
        let keep = state.idle.len() - count;
        let woken = state.idle.split_off(keep);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Drops partitions that are lost, and breaks off what runs for them.
    pub(crate) fn lose(&self, partitions: &[Partition]) {
        let mut state = self.lock();
        state.stats.lost_partitions += partitions.len() as u64;
        for partition in partitions {
            state.lanes.drop_partition(*partition);
        }
        self.cancel_of(&state, partitions);
    }

    /// Breaks off what runs for these partitions.
    pub(crate) fn cancel_partitions(&self, partitions: &[Partition]) {
        let state = self.lock();
        self.cancel_of(&state, partitions);
    }

    fn cancel_of(&self, state: &State, partitions: &[Partition]) {
        for (slot, running) in self.slots.iter().zip(&state.running) {
            if running.is_some_and(|running| partitions.contains(&running)) {
                slot.cancel();
            }
        }
    }

    /// Ends the worker's last attempt and gives the next one, or waits for one; `None` when the subscription closes.
    pub(crate) fn poll_next(
        &self,
        worker: usize,
        ended: &mut Option<Ended>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Work>> {
        let mut state = self.lock();
        let mut wake_reader = false;
        if let Some(ended) = ended.take() {
            state.running[worker] = None;
            ended.count(&mut state.stats);
            state.lanes.finish(ended.lane, ended.ordinal, ended.bytes, ended.end);
            wake_reader = std::mem::take(&mut state.reader_waits);
            if self.finished.fetch_add(1, Ordering::Relaxed) + 1 >= self.settings.commit_records
                || state.lanes.running() == 0
            {
                self.finished.store(0, Ordering::Relaxed);
                self.stir.notify_one();
            }
        }
        let polled = if self.is_closing() {
            Poll::Ready(None)
        } else if let Some(work) = state.lanes.take() {
            state.running[worker] = Some(work.partition);
            self.slots[worker].begin();
            Poll::Ready(Some(work))
        } else {
            state.idle.push(context.waker().clone());
            Poll::Pending
        };
        drop(state);
        if wake_reader {
            self.room.notify_one();
        }
        polled
    }

    /// When the next pause of a lane ends.
    pub(crate) fn wake_due(&self, now: Instant) -> Option<Instant> {
        self.with_lanes(|lanes| lanes.wake_due(now))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) lane: LaneRef,
    pub(crate) ordinal: u64,
    pub(crate) bytes: usize,
    pub(crate) end: End,
    pub(crate) note: Note,
}

/// What to count of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    Handled,
    Skipped,
    Failed,
    Blocked,
    Nothing,
}

impl Ended {
    fn count(&self, stats: &mut SubscriptionStats) {
        match self.note {
            Note::Handled => stats.handled += 1,
            Note::Skipped => stats.skipped += 1,
            Note::Failed => stats.failed_attempts += 1,
            Note::Blocked => {
                stats.failed_attempts += 1;
                stats.blocked_handlers += 1;
            }
            Note::Nothing => {}
        }
    }
}
