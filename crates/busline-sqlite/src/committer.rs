//! The one thread of a process that writes to the file, and the queue in front of it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use busline_core::{Batch, Error, ErrorKind, Result, bus_closed, forked_process};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::group::{Publish, Store, settle_all};
use crate::sink::SinkTopic;
use crate::upkeep::Upkeep;
use crate::wake::Ring;

/// What the committer is asked to do.
enum Job {
    /// Store a batch; several of them share one transaction.
    Publish(Publish),
    /// Run one change in a transaction of its own.
    Write(Write),
}

/// A change, and the time by which its transaction must have begun.
struct Write {
    until: Instant,
    run: Box<dyn FnOnce(Turn<'_>) + Send>,
}

/// What a change runs with, or why it is not run.
type Turn<'a> = Result<(&'a mut Store, &'a Queue)>;

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
    /// The committer waits to be woken.
    asleep: bool,
    /// The last job came within [`LOOKOUT`] after the one before it was done.
    brisk: bool,
}

/// How long the committer looks out for the next job before it sleeps, as long as jobs come that soon. Who publishes one
/// envelope after the other's ack is back as soon as its own thread is awake, and need not wait for this one's too.
const LOOKOUT: Duration = Duration::from_micros(250);

/// Turns of the loop between two looks; about a microsecond.
const LOOK_EVERY: u32 = 20;

/// The next thing to do.
enum Work {
    Group(Vec<Publish>),
    Write(Write),
    /// Nothing is waiting.
    Idle,
    Stop,
}

impl Queue {
    fn push(&self, job: Job) -> std::result::Result<(), Job> {
        let mut state = self.lock();
        if state.stopping {
            return Err(job);
        }
        state.jobs.push_back(job);
        let asleep = state.asleep;
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
    fn next(&self, records_max: usize, bytes_max: usize, pause: Duration) -> Work {
        let begun = Instant::now();
        let mut state = self.lock();
        loop {
            let waited = begun.elapsed();
            match state.jobs.pop_front() {
                Some(job) => {
                    state.brisk = waited < LOOKOUT;
                    return match job {
                        Job::Write(write) => Work::Write(write),
                        Job::Publish(first) => Work::Group(state.take_group(first, records_max, bytes_max)),
                    };
                }
                None if state.stopping => return Work::Stop,
                None if waited >= pause => return Work::Idle,
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

    fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The committer as the driver and its sinks hold it.
pub(crate) struct Committer {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
    process: u32,
    /// Time within which a change must begin.
    patience: Duration,
}

impl Committer {
    /// Starts the thread on its connection.
    pub(crate) fn start(store: Store) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let patience = store.patience();
        let thread = std::thread::Builder::new()
            .name("busline-commit".into())
            .spawn({
                let queue = Arc::clone(&queue);
                move || run(store, &queue)
            })
            .map_err(|error| Error::new(ErrorKind::Unavailable, "Threads").because(error).next("allow more threads"))?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)), process: std::process::id(), patience })
    }

    /// Hands a batch over; it is settled here at once if the committer has ended.
    pub(crate) fn publish(&self, batch: Batch, topic: &Arc<SinkTopic>) {
        if self.process != std::process::id() {
            return batch.settle_all(&forked_process().at("publish", &topic.name));
        }
        let publish = Publish { batch, topic: Arc::clone(topic) };
        if let Err(Job::Publish(refused)) = self.queue.push(Job::Publish(publish)) {
            refused.batch.settle_all(&bus_closed());
        }
    }

    /// Runs a change in a transaction of its own, which must begin within the patience of the settings.
    ///
    /// # Errors
    /// What the change gives, `Closed/Bus`, or what keeps the transaction from being committed.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(change, None)?.await.unwrap_or_else(|_| Err(bus_closed()))
    }

    /// Runs a change to a group in a transaction of its own, and wakes its members.
    ///
    /// # Errors
    /// As [`Committer::write`].
    pub(crate) async fn change_group<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(change, Some(Ring::Group))?.await.unwrap_or_else(|_| Err(bus_closed()))
    }

    /// Runs a change and blocks until it is made.
    ///
    /// # Errors
    /// As [`Committer::write`].
    pub(crate) fn write_blocking<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(change, None)?.blocking_recv().unwrap_or_else(|_| Err(bus_closed()))
    }

    /// Runs a change to a group, wakes its members, and blocks until it is made.
    ///
    /// # Errors
    /// As [`Committer::write`].
    pub(crate) fn change_group_blocking<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(change, Some(Ring::Group))?.blocking_recv().unwrap_or_else(|_| Err(bus_closed()))
    }

    fn ask<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
        ring: Option<Ring>,
    ) -> Result<oneshot::Receiver<Result<T>>> {
        self.check_process()?;
        let (answer, answered) = oneshot::channel();
        let until = Instant::now() + self.patience;
        let run = Box::new(move |turn: Turn<'_>| {
            let outcome = turn.and_then(|(store, queue)| {
                let changed = store.write(queue, until, &change)?;
                if let Some(why) = ring {
                    store.ring(why);
                }
                Ok(changed)
            });
            // Whoever asked may be gone; the change was made all the same.
            drop(answer.send(outcome));
        });
        self.queue.push(Job::Write(Write { until, run })).map_err(|_| bus_closed())?;
        Ok(answered)
    }

    /// # Errors
    /// `Closed/ForkedProcess` in a child, which has neither the thread nor the locks.
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() { Ok(()) } else { Err(forked_process()) }
    }

    /// What keeps the file from being written at the moment.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.queue.lock().trouble.clone()
    }

    /// Ends the thread after what is queued. Blocks until it has ended.
    pub(crate) fn stop(&self) {
        self.queue.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the committer thread panicked");
        }
    }
}

impl Drop for Committer {
    /// A driver that was dropped instead of closed still stores what was handed over; its thread ends by itself.
    fn drop(&mut self) {
        self.queue.stop();
    }
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").field("jobs", &self.queue.lock().jobs.len()).finish()
    }
}

fn run(mut store: Store, queue: &Queue) {
    let (records_max, bytes_max) = store.transaction_limits();
    let mut upkeep = Upkeep::new(store.retention_interval());
    loop {
        match queue.next(records_max, bytes_max, upkeep.pause()) {
            Work::Group(group) => {
                store.publish(group, queue);
                upkeep.step_under_load(&mut store, queue);
            }
            Work::Write(write) => {
                (write.run)(Ok((&mut store, queue)));
                upkeep.note_change();
                upkeep.step_under_load(&mut store, queue);
            }
            Work::Idle => upkeep.step(&mut store, queue),
            Work::Stop => break,
        }
    }
    store.end();
}
