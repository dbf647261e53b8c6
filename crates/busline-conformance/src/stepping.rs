//! Futures polled by hand: to drop them at a chosen await point, and to see whom an outcome wakes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often its waker was woken.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// A future with a waker of its own.
pub(crate) struct Stepped<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
    wakes: Arc<Wakes>,
}

impl<'a, T> Stepped<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'a) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    /// Polls once.
    pub(crate) fn step(&mut self) -> Poll<T> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls up to `polls` times, each time letting other tasks run in between; then it can be dropped.
    pub(crate) async fn steps(&mut self, polls: usize) -> Poll<T> {
        for _ in 0..polls {
            if let Poll::Ready(output) = self.step() {
                return Poll::Ready(output);
            }
            tokio::task::yield_now().await;
        }
        Poll::Pending
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.count()
    }

    /// Awaits the rest.
    pub(crate) async fn finish(self) -> T {
        self.future.await
    }
}
