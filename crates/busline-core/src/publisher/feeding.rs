//! What handlers publish, so that a topic that feeds itself is told.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::subscription::handling;

/// What one publisher has accepted from inside handlers.
#[derive(Debug, Default)]
pub(crate) struct Feeding {
    /// The subscription whose handlers published last; 0 if none ever did.
    subscription: AtomicU64,
    envelopes: AtomicU64,
}

impl Feeding {
    /// Counts envelopes that this thread has published, if it is inside a handler.
    pub(crate) fn note(&self, envelopes: usize) {
        if let Some(subscription) = handling() {
            self.subscription.store(subscription, Ordering::Relaxed);
            self.envelopes.fetch_add(envelopes as u64, Ordering::Relaxed);
        }
    }

    /// The subscription whose handlers published last, and how many envelopes handlers have published.
    pub(crate) fn seen(&self) -> Option<(u64, u64)> {
        let subscription = self.subscription.load(Ordering::Relaxed);
        (subscription != 0).then(|| (subscription, self.envelopes.load(Ordering::Relaxed)))
    }
}
