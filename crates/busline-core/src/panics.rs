//! Calls of a sink, whose panics end here: who publishes, parks or keeps deadlines cannot mend a driver.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use tokio::time::Instant;

use crate::batch::Batch;
use crate::driver::Sink;
use crate::error::{Error, ErrorKind, Result};

/// Hands a batch over.
///
/// # Errors
/// `Internal/SinkPanicked`: the batch was dropped or is kept by the sink, and what the sink does with a further one is
/// not known.
pub(crate) fn publish(sink: &dyn Sink, batch: Batch, subject: &str) -> Result<()> {
    catch_unwind(AssertUnwindSafe(|| sink.publish(batch))).map_err(|_| sink_panicked("publish", subject))
}

/// Ends the sink by this instant.
///
/// # Errors
/// Those of [`Sink::close`], and `Internal/SinkPanicked`.
pub(crate) async fn close(sink: &dyn Sink, deadline: Instant, subject: &str) -> Result<()> {
    let panicked = |_| sink_panicked("close", subject);
    let mut closing = catch_unwind(AssertUnwindSafe(|| sink.close(deadline))).map_err(panicked)?;
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| closing.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic))))
    })
    .await
}

/// Without the text of the panic, which may quote what was published.
fn sink_panicked(operation: &'static str, subject: &str) -> Error {
    Error::new(ErrorKind::Internal, "SinkPanicked")
        .cause("the backend's sink panicked")
        .next("open another publisher, and report this with what the panic printed")
        .at(operation, subject)
}
