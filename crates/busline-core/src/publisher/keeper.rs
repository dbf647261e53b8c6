//! The one task of a publisher: it enforces deadlines, feeds the failure handler and closes the sink at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::line::Line;
use crate::batch::{BatchBody, Item};
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::headers::Headers;
use crate::wire;

/// An envelope that was not acked, and why.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The envelope as it was published.
    pub envelope: Envelope,
    /// Definite: certainly not stored. Otherwise indeterminate: perhaps stored.
    pub error: Error,
}

/// What is called once for each failed or indeterminate envelope, on a thread where it may block.
///
/// A panic in it is caught, counted and logged. While it is busy, further failures wait and keep their room in the
/// window, so a handler that waits for room of its own publisher should use `try_publish`.
pub type FailureHandler = Arc<dyn Fn(Failure) + Send + Sync>;

/// A failed record that waits for the handler.
pub(crate) struct FailedItem {
    pub(crate) body: Arc<BatchBody>,
    pub(crate) item: Item,
    pub(crate) error: Error,
    /// The batch in flight that it was reported of before the sink let go of it; its room is free when the sink has let go
    /// *and* the handler has it.
    pub(crate) in_flight: Option<u64>,
}

impl FailedItem {
    pub(crate) fn bytes(&self) -> usize {
        self.item.bytes()
    }

    fn envelope(&self) -> Result<Envelope> {
        let record = self.body.record(&self.item);
        let mut envelope = wire::decode(&Bytes::copy_from_slice(record.body), String::new)?;
        envelope.headers = Headers::decode(Bytes::copy_from_slice(record.header_block))?;
        Ok(envelope)
    }
}

/// The handler of a publisher that was given none: one log line for each failure.
pub(crate) fn log_failure(failure: Failure) {
    let outcome = if failure.error.is_definite() { "failed" } else { "indeterminate" };
    tracing::error!(
        id = failure.envelope.id,
        key = failure.envelope.aggregate_id,
        payload_bytes = failure.envelope.payload.bytes().len(),
        "publish {outcome}: {}",
        failure.error
    );
}

pub(crate) struct Keeper {
    line: Arc<Line>,
    handler: FailureHandler,
}

impl Keeper {
    pub(crate) fn spawn(line: Arc<Line>, handler: FailureHandler, runtime: &Handle) -> JoinHandle<()> {
        runtime.spawn(Self { line, handler }.run())
    }

    async fn run(self) {
        self.tend_until(Line::is_settled).await;
        // Before the handler has heard everything: a handler that never returns must not keep the sink.
        self.line.end_sink().await;
        self.tend_until(Line::is_idle).await;
    }

    /// Keeps deadlines and feeds the handler until the publisher is closed and this holds of it.
    async fn tend_until(&self, holds: impl Fn(&Line) -> bool) {
        loop {
            let next = self.line.tend(Instant::now());
            self.feed_handler();
            if self.line.is_closed() && holds(&self.line) {
                return;
            }
            let stirred = self.line.stir.notified();
            match next {
                Some(at) => drop(timeout_at(at, stirred).await),
                None => stirred.await,
            }
        }
    }

    /// Starts a job of the handler if there is something for it and it is not busy.
    fn feed_handler(&self) {
        if self.line.start_reporting() {
            let job = self.report();
            Handle::current().spawn_blocking(move || job.run());
        }
    }

    fn report(&self) -> Report {
        Report { line: Arc::clone(&self.line), handler: Arc::clone(&self.handler), begun: false }
    }
}

impl Drop for Keeper {
    /// The end of the runtime drops the task in the middle: nobody would settle or report anything any more.
    fn drop(&mut self) {
        if self.line.is_closed() && self.line.is_idle() {
            return;
        }
        let gone = Error::new(ErrorKind::Closed, "RuntimeGone")
            .cause("the runtime of the publisher ended")
            .next("close the bus before its runtime ends")
            .at("publish", self.line.subject());
        self.line.refuse_further(gone.clone());
        self.line.give_up(&gone);
        // A handler that is busy gets the rest on its own thread when it returns.
        if self.line.start_reporting() {
            self.report().run();
        }
    }
}

/// One job of the failure handler: everything that waits for it, also what comes meanwhile.
struct Report {
    line: Arc<Line>,
    handler: FailureHandler,
    begun: bool,
}

impl Report {
    fn run(mut self) {
        self.run_here();
    }

    fn run_here(&mut self) {
        self.begun = true;
        while let Some(failures) = self.line.next_failures() {
            failures.into_iter().for_each(|failed| self.tell(failed));
        }
    }

    fn tell(&self, failed: FailedItem) {
        self.line.failure_handed_over(&failed);
        let envelope = match failed.envelope() {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!("a failed envelope cannot be read back for its handler: {error}");
                return;
            }
        };
        let failure = Failure { envelope, error: failed.error };
        if catch_unwind(AssertUnwindSafe(|| (self.handler)(failure))).is_err() {
            self.line.count_handler_panic();
            tracing::error!("the failure handler of {} panicked", self.line.subject());
        }
    }
}

impl Drop for Report {
    /// A runtime that ends drops jobs that no thread has begun.
    fn drop(&mut self) {
        if !self.begun {
            self.run_here();
        }
    }
}
