//! The one thread of a process that writes to the file; a thread that publishes and blocks may take its seat.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use busline_core::{Batch, Error, ErrorKind, Result, bus_closed, forked_process};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::group::{Publish, Store};
use crate::queue::{Deletes, Job, Queue, Turn, Work, Write};
use crate::sink::SinkTopic;
use crate::upkeep::Upkeep;
use crate::wake::Ring;

/// The committer as the driver and its sinks hold it.
pub(crate) struct Committer {
    queue: Arc<Queue>,
    /// Locked by who has the queue's seat, so nobody ever waits for it.
    store: Arc<Mutex<Store>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    process: u32,
    /// Time within which a change must begin.
    patience: Duration,
}

impl Committer {
    /// Starts the thread on its connection.
    pub(crate) fn start(store: Store) -> Result<Self> {
        let queue = Arc::new(Queue::seated());
        let (patience, limits) = (store.patience(), store.transaction_limits());
        let upkeep = Upkeep::new(store.retention_interval());
        let store = Arc::new(Mutex::new(store));
        let thread = std::thread::Builder::new()
            .name("busline-commit".into())
            .spawn({
                let (store, queue) = (Arc::clone(&store), Arc::clone(&queue));
                move || run(&store, &queue, limits, upkeep)
            })
            .map_err(|error| Error::new(ErrorKind::Unavailable, "Threads").because(error).next("allow more threads"))?;
        Ok(Self { queue, store, thread: Mutex::new(Some(thread)), process: std::process::id(), patience })
    }

    /// Hands a batch over, or stores it on this thread if that may block and nobody else has anything to do. It is settled
    /// here at once if the committer has ended.
    pub(crate) fn publish(&self, batch: Batch, topic: &Arc<SinkTopic>) {
        if self.process != std::process::id() {
            return batch.settle_all(&forked_process().at("publish", &topic.name));
        }
        let publish = Publish { batch, topic: Arc::clone(topic) };
        if publish.batch.may_block()
            && let Some(_seat) = self.queue.take_seat()
        {
            return lock(&self.store).publish(vec![publish], &self.queue);
        }
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
        self.ask(change, None, Deletes::Perhaps)?.await.unwrap_or_else(|_| Err(bus_closed()))
    }

    /// Runs a change to a group in a transaction of its own, and wakes its members.
    ///
    /// # Errors
    /// As [`Committer::write`].
    pub(crate) async fn change_group<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(change, Some(Ring::Group), Deletes::Perhaps)?.await.unwrap_or_else(|_| Err(bus_closed()))
    }

    /// Runs a change that deletes nothing which takes room, and blocks until it is made: on this thread, if nobody else has
    /// anything to do.
    ///
    /// # Errors
    /// As [`Committer::write`].
    pub(crate) fn write_blocking<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check_process()?;
        if let Some(_seat) = self.queue.take_seat() {
            return lock(&self.store).write(&self.queue, Instant::now() + self.patience, &change);
        }
        self.ask(change, None, Deletes::Nothing)?.blocking_recv().unwrap_or_else(|_| Err(bus_closed()))
    }

    /// Runs a change to a group, wakes its members, and blocks until it is made.
    ///
    /// # Errors
    /// As [`Committer::write`].
    pub(crate) fn change_group_blocking<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(change, Some(Ring::Group), Deletes::Perhaps)?.blocking_recv().unwrap_or_else(|_| Err(bus_closed()))
    }

    fn ask<T: Send + 'static>(
        &self,
        change: impl Fn(&Connection) -> Result<T> + Send + 'static,
        ring: Option<Ring>,
        deletes: Deletes,
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
        self.queue.push(Job::Write(Write { until, deletes, run })).map_err(|_| bus_closed())?;
        Ok(answered)
    }

    /// # Errors
    /// `Closed/ForkedProcess` in a child, which has neither the thread nor the locks.
    pub(crate) fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() { Ok(()) } else { Err(forked_process()) }
    }

    /// What keeps the file from being written at the moment.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.queue.trouble()
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
        f.debug_struct("Committer").field("jobs", &self.queue.len()).finish()
    }
}

fn run(shared: &Mutex<Store>, queue: &Queue, (records_max, bytes_max): (usize, usize), mut upkeep: Upkeep) {
    loop {
        let work = queue.next(records_max, bytes_max, upkeep.pause());
        if matches!(work, Work::Stop) {
            return lock(shared).end();
        }
        // Such as one of the user's clock. Without this thread what is queued would wait for ever.
        if catch_unwind(AssertUnwindSafe(|| turn(shared, queue, work, &mut upkeep))).is_err() {
            tracing::error!("the committer thread panicked: nothing more is written");
            // At once: its transaction keeps other processes from writing.
            drop(lock(shared));
            upkeep.break_off();
        }
    }
}

fn turn(shared: &Mutex<Store>, queue: &Queue, work: Work, upkeep: &mut Upkeep) {
    let store = &mut *lock(shared);
    match work {
        Work::Group(group) => {
            store.publish(group, queue);
            upkeep.step_under_load(store, queue);
        }
        Work::Write(write) => {
            (write.run)(Ok((store, queue)));
            upkeep.note_change(write.deletes);
            upkeep.step_under_load(store, queue);
        }
        Work::Idle => upkeep.step(store, queue),
        Work::Stop => {}
    }
}

/// The store; one that a panic has left in the middle of something writes nothing more.
fn lock(shared: &Mutex<Store>) -> MutexGuard<'_, Store> {
    shared.lock().unwrap_or_else(|left| {
        shared.clear_poison();
        let mut store = left.into_inner();
        store.give_up_after_panic();
        store
    })
}
