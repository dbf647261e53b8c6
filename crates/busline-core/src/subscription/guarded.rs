//! One run of foreign code: its panic is caught, its time is bounded, and it can be broken off.

use std::any::Any;
use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ran<T> {
    Returned(T),
    Panicked(String),
    TimedOut,
    /// It returned, after blocking its thread for longer than the watchdog allows.
    Blocked,
    Cancelled,
}

/// What others see of one worker: whether its handler is inside a poll, and since when; and a way to break it off.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Number of the subscription.
    subscription: u64,
    /// The watchdog's tick at which the present poll began; 0 outside.
    polling_since: AtomicU64,
    blocked: AtomicBool,
    cancelled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Ticks that a poll may last; the watchdog counts five a second, so a blocked thread is seen after 0.6 to 0.8 s.
const POLL_TICKS_MAX: u64 = 3;

thread_local! {
    /// The subscription whose handler this thread polls; 0 outside.
    static HANDLING: Cell<u64> = const { Cell::new(0) };
}

/// A number that no other subscription of this process has.
pub(crate) fn next_subscription() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// The subscription whose handler this thread is inside of.
pub(crate) fn handling() -> Option<u64> {
    Some(HANDLING.get()).filter(|subscription| *subscription != 0)
}

/// Whether this thread is inside a handler of this subscription.
pub(crate) fn is_inside(subscription: u64) -> bool {
    HANDLING.get() == subscription
}

impl Slot {
    pub(crate) fn new(subscription: u64) -> Self {
        Self {
            subscription,
            polling_since: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Forgets what concerned the run before. Called under the lock of the worker's hand, under which runs are broken off.
    pub(crate) fn begin(&self) {
        self.cancelled.store(false, Ordering::Relaxed);
        self.blocked.store(false, Ordering::Relaxed);
    }

    /// Breaks the present run off.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        if let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }

    /// Marks the run as blocked if its poll lasts too long; gives whether it is so for the first time.
    pub(crate) fn look(&self, tick: u64) -> bool {
        let since = self.polling_since.load(Ordering::Relaxed);
        since != 0 && tick > since + POLL_TICKS_MAX && !self.blocked.swap(true, Ordering::Relaxed)
    }

    /// Whether a handler that was marked as blocked has not returned yet.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) && self.polling_since.load(Ordering::Relaxed) != 0
    }

    /// Makes a future, runs it to one of its ends and drops it; it may be waited for so long. `tick` is the watchdog's
    /// count, from 1.
    pub(crate) async fn run<T, F: Future<Output = T>>(
        &self,
        tick: &AtomicU64,
        wait_max: Option<Duration>,
        make: impl FnOnce() -> F,
    ) -> Ran<T> {
        // What was broken off before it began must not begin.
        if self.cancelled.load(Ordering::Acquire) {
            return Ran::Cancelled;
        }
        // Made in its place: a handler's future holds the whole envelope, and every move copies it.
        let mut future = pin!(None);
        if let Err(panic) = self.guard(tick, || future.set(Some(make()))) {
            return Ran::Panicked(panic_text(&*panic));
        }
        // Most handlers of a quick kind end in their first poll and never need the timer.
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let ran = poll_fn(|context| {
            if self.cancelled.load(Ordering::Acquire) {
                return Poll::Ready(Ran::Cancelled);
            }
            let Some(running) = future.as_mut().as_pin_mut() else { return Poll::Pending };
            if let Poll::Ready(ran) = self.poll(tick, running, context) {
                return Poll::Ready(ran);
            }
            // Whoever breaks it off from here on finds the waker; who did so before is seen.
            *self.waker() = Some(context.waker().clone());
            if self.cancelled.load(Ordering::Acquire) {
                return Poll::Ready(Ran::Cancelled);
            }
            if self.blocked.load(Ordering::Relaxed) {
                return Poll::Ready(Ran::Blocked);
            }
            let Some(wait_max) = wait_max else { return Poll::Pending };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep(wait_max)));
            timer.as_mut().poll(context).map(|()| Ran::TimedOut)
        })
        .await;
        // What the future owns is foreign code too, and so is its end.
        if let Err(panic) = self.guard(tick, || future.set(None)) {
            tracing::error!("the drop of a handler panicked: {}", panic_text(&*panic));
        }
        ran
    }

    fn poll<T>(
        &self,
        tick: &AtomicU64,
        future: Pin<&mut impl Future<Output = T>>,
        context: &mut Context<'_>,
    ) -> Poll<Ran<T>> {
        match self.guard(tick, || future.poll(context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(_)) if self.blocked.load(Ordering::Relaxed) => Poll::Ready(Ran::Blocked),
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ran::Returned(outcome)),
            Err(panic) => Poll::Ready(Ran::Panicked(panic_text(&*panic))),
        }
    }

    /// Runs foreign code where the watchdog sees it.
    fn guard<T>(&self, tick: &AtomicU64, run: impl FnOnce() -> T) -> thread::Result<T> {
        let outside = HANDLING.replace(self.subscription);
        self.polling_since.store(tick.load(Ordering::Relaxed), Ordering::Relaxed);
        let ran = catch_unwind(AssertUnwindSafe(run));
        self.polling_since.store(0, Ordering::Relaxed);
        HANDLING.set(outside);
        ran
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a text".into())
}
