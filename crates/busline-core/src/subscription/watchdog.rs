//! The thread that sees handlers which block theirs.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use super::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

/// Counts fifths of a second for a subscription and reports polls that last longer than a few of them. A thread of its own,
/// because a blocked runtime could not run a task that looks for it.
///
/// # Source
/// Promise C9.
#[derive(Debug)]
pub(crate) struct Watchdog {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

const TICK: Duration = Duration::from_millis(200);

impl Watchdog {
    pub(crate) fn start(engine: &Arc<Engine>) -> Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let thread = std::thread::Builder::new()
            .name("busline-watch".into())
            .spawn({
                let (stop, engine) = (Arc::clone(&stop), Arc::downgrade(engine));
                move || watch(&stop, &engine)
            })
            .map_err(|error| Error::new(ErrorKind::Unavailable, "Threads").because(error).next("allow more threads"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

fn watch(stop: &(Mutex<bool>, Condvar), engine: &Weak<Engine>) {
    let mut stopped = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*stopped {
        stopped = stop.1.wait_timeout(stopped, TICK).unwrap_or_else(PoisonError::into_inner).0;
        let Some(engine) = engine.upgrade() else { return };
        let tick = engine.tick.fetch_add(1, Ordering::Relaxed) + 1;
        for (worker, _) in engine.slots.iter().enumerate().filter(|(_, slot)| slot.look(tick)) {
            engine.count(|stats| stats.blocked_handlers += 1);
            // What the worker has in its hand would wait behind the handler.
            engine.give_back(worker);
            engine.with_lanes(|_| ());
            let (topic, partitions) = (&engine.place.topic, engine.hands[worker].running());
            tracing::error!("HandlerBlocked: a handler of {topic} {partitions:?} blocks its thread; its key waits");
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
