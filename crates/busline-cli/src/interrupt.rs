//! Ctrl-C: once stops in order, twice stops at once.
//!
//! ```text
//! main thread      signals ─→ first: Stop::request ── second: give up, exit
//!                                 │
//! command thread   looks at Stop ─┘ between two pieces of work; may block on stdout, which is why main does not wait
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use busline::{Error, ErrorKind, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The command's side.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    requested: watch::Receiver<bool>,
    unsettled: Arc<AtomicUsize>,
}

impl Stop {
    /// Whether the command is to end.
    pub(crate) fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Waits until the command is to end.
    pub(crate) async fn requested(&mut self) {
        if self.requested.wait_for(|requested| *requested).await.is_err() {
            // Nobody can ask any more: the process ends without the command.
            std::future::pending().await
        }
    }

    /// Says of how many events the outcome is not told yet.
    pub(crate) fn note_unsettled(&self, events: usize) {
        self.unsettled.store(events, Ordering::Relaxed);
    }
}

/// The main thread's side: SIGINT and SIGTERM.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    request: watch::Sender<bool>,
    stop: Stop,
}

impl Interrupts {
    /// Listens from now on; needs a runtime.
    ///
    /// # Errors
    /// `Unavailable/Signals`.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Error::new(ErrorKind::Unavailable, "Signals").because(error).next("raise the limit of descriptors")
            })
        };
        let (request, requested) = watch::channel(false);
        let stop = Stop { requested, unsettled: Arc::default() };
        let (interrupt, terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, request, stop })
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Passes the first signal on, and returns with the second.
    pub(crate) async fn twice(&mut self) -> Error {
        self.one().await;
        self.request.send_replace(true);
        self.one().await;
        let unsettled = self.stop.unsettled.load(Ordering::Relaxed);
        Error::new(ErrorKind::Closed, "Interrupted")
            .cause(format!("stopped at once, without the outcome of {unsettled} events"))
            .next("look them up before publishing them again")
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
