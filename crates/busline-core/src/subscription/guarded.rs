//! One run of a handler: its panic is caught, its time is bounded, and it can be broken off.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::time::{Instant, Sleep, sleep_until};

use super::handler::HandlerError;

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ran {
    Returned(Result<(), HandlerError>),
    Panicked(String),
    TimedOut,
    /// It returned, after blocking its thread for longer than the watchdog allows.
    Blocked,
    Cancelled,
}

/// What others see of one worker: whether its handler is inside a poll, and since when; and a way to break it off.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The watchdog's tick at which the present poll began; 0 outside.
    polling_since: AtomicU64,
    blocked: AtomicBool,
    cancelled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Ticks that a poll may last; the watchdog counts four a second.
const POLL_TICKS_MAX: u64 = 3;

impl Slot {
    /// Forgets what concerned the run before. Called under the engine's lock, as the worker is given its next attempt, so
    /// that breaking that one off cannot be forgotten.
    pub(crate) fn begin(&self) {
        self.cancelled.store(false, Ordering::Relaxed);
        self.blocked.store(false, Ordering::Relaxed);
    }

    /// Breaks the present run off.
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }

    /// Whether the present run is to end before it begins.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Marks the run as blocked if its poll lasts too long; gives whether it is so for the first time.
    pub(crate) fn look(&self, tick: u64) -> bool {
        let since = self.polling_since.load(Ordering::Relaxed);
        since != 0 && tick > since + POLL_TICKS_MAX && !self.blocked.swap(true, Ordering::Relaxed)
    }

    /// Runs the handler's future to one of its ends, at the latest at `until`. `tick` is the watchdog's count, from 1.
    pub(crate) async fn run(
        &self,
        tick: &AtomicU64,
        until: Instant,
        handler: impl Future<Output = Result<(), HandlerError>>,
    ) -> Ran {
        let mut handler = pin!(handler);
        // Most handlers of a quick kind end in their first poll and never need the timer.
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|context| {
            if let Poll::Ready(ran) = self.poll(tick, handler.as_mut(), context) {
                return Poll::Ready(ran);
            }
            if self.blocked.load(Ordering::Relaxed) {
                return Poll::Ready(Ran::Blocked);
            }
            *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
            if self.cancelled.load(Ordering::Acquire) {
                return Poll::Ready(Ran::Cancelled);
            }
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
            timer.as_mut().poll(context).map(|()| Ran::TimedOut)
        })
        .await
    }

    fn poll<F: Future<Output = Result<(), HandlerError>>>(
        &self,
        tick: &AtomicU64,
        handler: Pin<&mut F>,
        context: &mut Context<'_>,
    ) -> Poll<Ran> {
        self.polling_since.store(tick.load(Ordering::Relaxed), Ordering::Relaxed);
        let polled = catch_unwind(AssertUnwindSafe(|| handler.poll(context)));
        self.polling_since.store(0, Ordering::Relaxed);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(_)) if self.blocked.load(Ordering::Relaxed) => Poll::Ready(Ran::Blocked),
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ran::Returned(outcome)),
            Err(panic) => Poll::Ready(Ran::Panicked(panic_text(&*panic))),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a text".into())
}
