//! The thread that sees handlers which block theirs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
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
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const TICK: Duration = Duration::from_millis(200);

impl Watchdog {
    pub(crate) fn start(engine: &Arc<Engine>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new()
            .name("busline-watch".into())
            .spawn({
                let (stop, engine) = (Arc::clone(&stop), Arc::downgrade(engine));
                move || {
                    while !stop.load(Ordering::Acquire) && watch(&engine) {}
                }
            })
            .map_err(|error| Error::new(ErrorKind::Unavailable, "Threads").because(error).next("allow more threads"))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

/// Sleeps while every worker waits, so that an idle process rests, or else for a tick, and then looks. Gives whether the
/// subscription is still there.
fn watch(engine: &Weak<Engine>) -> bool {
    let may_sleep = |engine: Arc<Engine>| {
        engine.watchdog.get_or_init(thread::current);
        engine.lets_watchdog_sleep()
    };
    match engine.upgrade().map(may_sleep) {
        None => return false,
        Some(true) => {
            thread::park();
            return true;
        }
        Some(false) => thread::park_timeout(TICK),
    }
    engine.upgrade().map(|engine| look(&engine)).is_some()
}

fn look(engine: &Engine) {
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

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}
