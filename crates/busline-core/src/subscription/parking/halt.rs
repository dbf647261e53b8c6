//! The word to a replay that it is to begin nothing more.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;

/// Whether a replay is to end; clones are of one replay.
#[derive(Debug, Clone)]
pub(super) struct Halt(watch::Sender<bool>);

impl Default for Halt {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Halt {
    /// Says so.
    pub(super) fn now(&self) {
        self.0.send_replace(true);
    }

    pub(super) fn is_said(&self) -> bool {
        *self.0.borrow()
    }

    /// What `work` gives, or `None` if the word comes first; then `work` is dropped.
    pub(super) async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut receiver = self.0.subscribe();
        let mut said = pin!(receiver.wait_for(|said| *said));
        let mut work = pin!(work);
        poll_fn(|context| {
            if said.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }
}
