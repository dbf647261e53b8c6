//! The driver's own thread: what must go on while every worker of the caller's runtime is blocked, and what must end
//! when the driver does.
//!
//! The client library's tasks cannot be stopped while it reconnects; the end of this thread's runtime ends them.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use busline_core::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

/// A thread with a runtime of its own.
#[derive(Debug)]
pub(crate) struct Home {
    runtime: Handle,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ended: watch::Receiver<bool>,
}

impl Home {
    /// Starts the thread.
    ///
    /// # Errors
    /// `Unavailable/Thread` if the system gives none.
    pub(crate) fn start() -> Result<Self> {
        let refused = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "Thread").because(error).next("raise the limit of threads and files")
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("busline-nats".into())
            .spawn(move || {
                // A sender that was dropped says the same: the driver is gone.
                drop(runtime.block_on(stopped));
                runtime.shutdown_timeout(Duration::from_millis(100));
                end.send_replace(true);
            })
            .map_err(refused)?;
        Ok(Self { runtime: handle, stop: Mutex::new(Some(stop)), thread: Mutex::new(Some(thread)), ended })
    }

    /// Where tasks of the driver run.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs this on the thread.
    ///
    /// # Errors
    /// `Closed/Bus` if the thread ends meanwhile.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.runtime.spawn(work).await.unwrap_or_else(|_| Err(busline_core::bus_closed()))
    }

    /// Ends the thread with everything that runs on it. Needs no runtime.
    pub(crate) async fn close(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut ended = self.ended.clone();
        drop(ended.wait_for(|ended| *ended).await);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has said its last word, so this takes no time.
            drop(thread.join());
        }
    }
}
