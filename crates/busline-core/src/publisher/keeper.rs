//! The one task of a publisher: it enforces deadlines, feeds the failure handler and closes the sink at the end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

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
    /// Whether its room in the window is free only when the handler gets it.
    pub(crate) keeps_room: bool,
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

/// Time that a sink has to end in which nothing is unsettled any more.
const SINK_CLOSE: Duration = Duration::from_secs(5);

pub(crate) struct Keeper {
    line: Arc<Line>,
    handler: FailureHandler,
}

impl Keeper {
    pub(crate) fn spawn(line: Arc<Line>, handler: FailureHandler, runtime: &Handle) -> JoinHandle<()> {
        runtime.spawn(Self { line, handler }.run())
    }

    async fn run(self) {
        loop {
            let next = self.line.tend(Instant::now());
            self.feed_handler();
            if self.line.is_closed() && self.line.is_idle() {
                break;
            }
            let stirred = self.line.stir.notified();
            match next {
                Some(at) => drop(timeout_at(at, stirred).await),
                None => stirred.await,
            }
        }
        if let Err(error) = self.line.sink().close(Instant::now() + SINK_CLOSE).await {
            tracing::warn!("close the sink of {}: {error}", self.line.subject());
        }
    }

    /// Starts a job of the handler if there is something for it and it is not busy.
    fn feed_handler(&self) {
        if let Some(failures) = self.line.start_reporting() {
            let (line, handler) = (Arc::clone(&self.line), Arc::clone(&self.handler));
            Handle::current().spawn_blocking(move || {
                report(&line, &handler, failures);
                line.end_reporting();
            });
        }
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
        report(&self.line, &self.handler, self.line.take_failures());
    }
}

fn report(line: &Line, handler: &FailureHandler, failures: Vec<FailedItem>) {
    for failed in failures {
        line.failure_handed_over(&failed);
        let envelope = match failed.envelope() {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::error!("a failed envelope cannot be read back for its handler: {error}");
                continue;
            }
        };
        let failure = Failure { envelope, error: failed.error };
        if catch_unwind(AssertUnwindSafe(|| handler(failure))).is_err() {
            line.count_handler_panic();
            tracing::error!("the failure handler of {} panicked", line.subject());
        }
    }
}
