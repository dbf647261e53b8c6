//! The task of a sink, and all of a driver's: whoever closes the driver waits for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use busline_core::Batch;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::door::Door;

/// A sink's task, seen from outside.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    door: Arc<Door>,
    abort: AbortHandle,
    /// Its sender lives in the task.
    ended: watch::Receiver<()>,
}

impl Task {
    /// Starts it on this runtime.
    pub(crate) fn start(runtime: &Handle, door: Arc<Door>, work: impl Future<Output = ()> + Send + 'static) -> Self {
        let (end, ended) = watch::channel(());
        let task = runtime.spawn(async move {
            work.await;
            drop(end);
        });
        Self { door, abort: task.abort_handle(), ended }
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// Takes a batch in, or gives it back if the sink is closed.
    pub(crate) fn push(&self, batch: Batch) -> Option<Batch> {
        self.door.push(batch)
    }

    /// Ends the task by this instant, which it keeps by itself. Returns when it has ended.
    ///
    /// # Cancel safety
    /// It ends all the same.
    pub(crate) async fn end(self, deadline: Instant) {
        self.door.close(deadline);
        let mut ended = self.ended;
        // The task looks at its clock at least every 50 ms; its end, or that of its runtime, drops the sender.
        drop(ended.changed().await);
    }

    pub(crate) fn abort(&self) {
        self.abort.abort();
    }
}

/// The tasks of all sinks of a driver that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Mutex<Vec<Task>>);

impl Tasks {
    pub(crate) fn add(&self, task: Task) {
        let mut tasks = self.lock();
        tasks.retain(|task| !task.abort.is_finished());
        tasks.push(task);
    }

    /// Ends what its publisher has left behind: one whose time to close was over does not wait for its sink.
    ///
    /// # Cancel safety
    /// They end all the same, and a further call waits for them.
    pub(crate) async fn end(&self) {
        let tasks = self.lock().clone();
        let now = Instant::now();
        // All are told before the first is waited for.
        tasks.iter().for_each(|task| task.door.close(now));
        for task in tasks {
            task.end(now).await;
        }
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
