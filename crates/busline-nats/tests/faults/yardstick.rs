//! What the machine itself takes away: a busy or frozen one proves nothing about whoever waits on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a thread asks for that wants to go on soon.
const STEP: Duration = Duration::from_millis(5);

/// A thread that sleeps for a moment again and again, and notes how much longer that took. Ends with the value.
pub(crate) struct Yardstick {
    over: Arc<AtomicBool>,
    /// Each sleep that was longer than asked for: its end, and by how much.
    late: Arc<Mutex<Vec<(Instant, Duration)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Yardstick {
    pub(crate) fn start() -> Self {
        let (over, late) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ended, notes) = (Arc::clone(&over), Arc::clone(&late));
        let thread = std::thread::spawn(move || {
            let mut before = Instant::now();
            while !ended.load(Ordering::Acquire) {
                std::thread::park_timeout(STEP);
                let now = Instant::now();
                let late = now.saturating_duration_since(before).saturating_sub(STEP);
                notes.lock().unwrap_or_else(PoisonError::into_inner).push((now, late));
                before = now;
            }
        });
        Self { over, late, thread: Some(thread) }
    }

    /// How much longer the sleeps since this instant took together than asked for.
    pub(crate) fn taken_since(&self, since: Instant) -> Duration {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.iter().rev().take_while(|(end, _)| *end > since).map(|(_, late)| *late).sum()
    }

    /// The longest delay of a single sleep.
    pub(crate) fn longest(&self) -> Duration {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.iter().map(|(_, late)| *late).max().unwrap_or_default()
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}
