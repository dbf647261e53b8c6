//! A failure handler that remembers what it was given.

use std::sync::{Arc, Mutex, PoisonError};

use busline_core::Failure;
use tokio::sync::watch;

use crate::stage::within;

/// What a publisher's failure handler has been given.
#[derive(Clone)]
pub(crate) struct Failures {
    given: Arc<Mutex<Vec<Failure>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Failures {
    pub(crate) fn new() -> Self {
        Self { given: Arc::default(), count: Arc::new(watch::channel(0).0) }
    }

    /// The handler.
    pub(crate) fn handler(&self) -> impl Fn(Failure) + Send + Sync + 'static {
        let failures = self.clone();
        move |failure| failures.take(failure)
    }

    /// A handler that blocks its thread until the latch is open.
    pub(crate) fn handler_behind(&self, latch: &Latch) -> impl Fn(Failure) + Send + Sync + 'static {
        let (failures, latch) = (self.clone(), latch.clone());
        move |failure| {
            latch.wait();
            failures.take(failure);
        }
    }

    pub(crate) fn take(&self, failure: Failure) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.push(failure);
        self.count.send_replace(given.len());
    }

    pub(crate) fn all(&self) -> Vec<Failure> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ids in the order in which they were given.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.all().into_iter().map(|failure| failure.envelope.id).collect()
    }

    /// Waits until at least this many were given, and gives all.
    pub(crate) async fn at_least(&self, count: usize) -> Vec<Failure> {
        let mut seen = self.count.subscribe();
        let reached = seen.wait_for(|given| *given >= count);
        within("the failure handler's share of failures", reached).await.expect("the sender lives");
        self.all()
    }
}

/// A latch on which a blocking handler waits.
#[derive(Clone, Default)]
pub(crate) struct Latch(Arc<(Mutex<bool>, std::sync::Condvar)>);

impl Latch {
    /// Blocks this thread until the latch is open.
    pub(crate) fn wait(&self) {
        let (open, changed) = &*self.0;
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(changed.wait_while(open, |open| !*open));
    }

    pub(crate) fn open(&self) {
        let (open, changed) = &*self.0;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}
