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
    open: Arc<Open>,
}

/// What a stop at once would leave open.
#[derive(Debug, Default)]
struct Open {
    /// Published events whose outcome is not told yet.
    unsettled: AtomicUsize,
    /// Events that are being handled.
    handled: AtomicUsize,
}

impl Open {
    fn interrupted(&self) -> Error {
        let error = Error::new(ErrorKind::Closed, "Interrupted");
        match (self.unsettled.load(Ordering::Relaxed), self.handled.load(Ordering::Relaxed)) {
            (0, 0) => error.cause("stopped at once").next("look at what it has done before running it again"),
            (0, handled) => error
                .cause(format!("stopped at once, with {handled} events whose handlers had not ended"))
                .next("run it again: they come again"),
            (unsettled, _) => error
                .cause(format!("stopped at once, without the outcome of {unsettled} events"))
                .next("look them up before publishing them again"),
        }
    }
}

/// Stands for an event that is being handled, until it is dropped.
#[derive(Debug)]
pub(crate) struct Handling(Arc<Open>);

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.handled.fetch_sub(1, Ordering::Relaxed);
    }
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
        self.open.unsettled.store(events, Ordering::Relaxed);
    }

    /// Counts an event as being handled.
    pub(crate) fn handling(&self) -> Handling {
        self.open.handled.fetch_add(1, Ordering::Relaxed);
        Handling(Arc::clone(&self.open))
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
        let stop = Stop { requested, open: Arc::default() };
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
        self.stop.open.interrupted()
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
