//! The queue in front of the one connection that writes, and the seat of whoever works on it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use busline_core::{Error, Result};

use crate::group::{Publish, Store, settle_all};

/// What the committer is asked to do.
pub(crate) enum Job {
    /// Store a batch; several of them share one transaction.
    Publish(Publish),
    /// Run one change in a transaction of its own.
    Write(Write),
}

/// A change, and the time by which its transaction must have begun.
pub(crate) struct Write {
    pub(crate) until: Instant,
    pub(crate) deletes: Deletes,
    pub(crate) run: Box<dyn FnOnce(Turn<'_>) + Send>,
}

/// Whether a change may leave something to tidy up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deletes {
    Nothing,
    Perhaps,
}

/// What a change runs with, or why it is not run.
pub(crate) type Turn<'a> = Result<(&'a mut Store, &'a Queue)>;

impl Job {
    fn is_overdue(&self, now: Instant) -> bool {
        match self {
            Self::Publish(publish) => publish.is_overdue(now),
            Self::Write(write) => write.until <= now,
        }
    }

    fn refuse(self, error: &Error) {
        match self {
            Self::Publish(publish) => settle_all(vec![publish], error),
            Self::Write(write) => (write.run)(Err(error.clone())),
        }
    }
}

/// Jobs in order. Bounded by its users: each publisher has one batch here at most, each other call one change.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<QueueState>,
    wake: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    stopping: bool,
    trouble: Option<Error>,
    /// Somebody works on the file: the committer, or a thread that publishes and blocks.
    seat_taken: bool,
    /// The committer waits to be woken.
    asleep: bool,
    /// It waits for such a thread to end.
    awaits_seat: bool,
    /// The last job came within [`LOOKOUT`] after the one before it was done.
    brisk: bool,
}

/// How long the committer looks out for the next job before it sleeps, as long as jobs come that soon. Who publishes one
/// envelope after the other's ack is back as soon as its own thread is awake, and need not wait for this one's too.
const LOOKOUT: Duration = Duration::from_micros(250);

/// Turns of the loop between two looks; about a microsecond.
const LOOK_EVERY: u32 = 20;

/// The next thing to do.
pub(crate) enum Work {
    Group(Vec<Publish>),
    Write(Write),
    /// Nothing is waiting.
    Idle,
    Stop,
}

impl Queue {
    /// A queue with the committer in its seat: it begins by asking for work.
    pub(crate) fn seated() -> Self {
        let queue = Self::default();
        queue.lock().seat_taken = true;
        queue
    }

    pub(crate) fn push(&self, job: Job) -> std::result::Result<(), Job> {
        let mut state = self.lock();
        if state.stopping {
            return Err(job);
        }
        state.jobs.push_back(job);
        // Who has the seat wakes it at the end.
        let asleep = state.asleep && !state.seat_taken;
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Says what keeps the file from being written, or that nothing does.
    pub(crate) fn set_trouble(&self, trouble: Option<Error>) {
        self.lock().trouble = trouble;
    }

    /// What keeps the file from being written.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.lock().trouble.clone()
    }

    /// Jobs that wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().jobs.len()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Takes jobs out whose time has passed while the file was locked, and gives them this error.
    pub(crate) fn refuse_overdue(&self, now: Instant, error: &Error) {
        let mut state = self.lock();
        let (overdue, rest): (VecDeque<Job>, VecDeque<Job>) =
            std::mem::take(&mut state.jobs).into_iter().partition(|job| job.is_overdue(now));
        state.jobs = rest;
        drop(state);
        overdue.into_iter().for_each(|job| job.refuse(error));
    }

    /// The next change, or the batches at the head as far as they fit one transaction; waits so long for one.
    pub(crate) fn next(&self, records_max: usize, bytes_max: usize, pause: Duration) -> Work {
        let begun = Instant::now();
        let mut state = self.lock();
        state.seat_taken = false;
        loop {
            while state.seat_taken {
                state = self.await_seat(state);
            }
            let waited = begun.elapsed();
            match state.jobs.pop_front() {
                Some(job) => {
                    state.brisk = waited < LOOKOUT;
                    state.seat_taken = true;
                    return match job {
                        Job::Write(write) => Work::Write(write),
                        Job::Publish(first) => Work::Group(state.take_group(first, records_max, bytes_max)),
                    };
                }
                None if state.stopping => return Work::Stop,
                None if waited >= pause => {
                    state.seat_taken = true;
                    return Work::Idle;
                }
                None if state.brisk && waited < LOOKOUT => {
                    drop(state);
                    // Not `yield_now`, which gives the core to whoever computes for milliseconds.
                    (0..LOOK_EVERY).for_each(|_| std::hint::spin_loop());
                    state = self.lock();
                }
                None => state = self.sleep(state, pause - waited),
            }
        }
    }

    fn sleep<'a>(&self, mut state: MutexGuard<'a, QueueState>, time: Duration) -> MutexGuard<'a, QueueState> {
        state.asleep = true;
        let mut state = self.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0;
        state.asleep = false;
        state
    }

    fn await_seat<'a>(&self, mut state: MutexGuard<'a, QueueState>) -> MutexGuard<'a, QueueState> {
        state.awaits_seat = true;
        let mut state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.awaits_seat = false;
        state
    }

    /// The committer's place for a thread that publishes and blocks, if nothing waits for the committer.
    pub(crate) fn take_seat(&self) -> Option<Seat<'_>> {
        let mut state = self.lock();
        let is_free = state.jobs.is_empty() && !state.seat_taken && !state.awaits_seat && !state.stopping;
        is_free.then(|| {
            state.seat_taken = true;
            Seat(self)
        })
    }

    fn end_seat(&self) {
        let mut state = self.lock();
        state.seat_taken = false;
        let is_wanted = state.awaits_seat || state.stopping || !state.jobs.is_empty();
        drop(state);
        if is_wanted {
            self.wake.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of the committer, for one transaction.
pub(crate) struct Seat<'a>(&'a Queue);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.end_seat();
    }
}

impl QueueState {
    fn take_group(&mut self, first: Publish, records_max: usize, bytes_max: usize) -> Vec<Publish> {
        let (mut records, mut bytes) = (first.batch.len(), first.batch.bytes());
        let mut group = vec![first];
        while let Some(Job::Publish(next)) = self.jobs.front() {
            records += next.batch.len();
            bytes += next.batch.bytes();
            if records > records_max || bytes > bytes_max {
                break;
            }
            if let Some(Job::Publish(next)) = self.jobs.pop_front() {
                group.push(next);
            }
        }
        group
    }
}
