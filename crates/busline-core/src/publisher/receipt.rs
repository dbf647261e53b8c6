//! The handle of one publish in flight.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::cell::{Cell, Registered};
use crate::ack::Ack;
use crate::bus::forked_process;
use crate::error::{Error, Result};

/// A future of the outcome of one accepted envelope.
///
/// Resolves to an [`Ack`], to a definite error (certainly not stored) or to an indeterminate one
/// ([`Error::is_definite`](crate::Error::is_definite) is false: perhaps stored), no later than the publisher's deadline
/// plus one second. In a child that was forked meanwhile it is `Closed/ForkedProcess`, indeterminate. May be awaited on any
/// runtime. Making one allocates nothing: it is a share of its batch's cell.
///
/// # Cancel safety
/// Dropping a receipt changes nothing about the envelope: a failure still reaches the failure handler.
///
/// # Source
/// Promises P2, P8.
#[must_use = "the outcome of the envelope comes by the receipt; drop it to rely on the failure handler"]
pub struct Receipt {
    cell: Arc<Cell>,
    slot: u32,
    /// The process that opened the publisher.
    process: u32,
    registered: Option<Registered>,
}

impl Receipt {
    pub(crate) fn new(cell: Arc<Cell>, slot: u32, process: u32) -> Self {
        Self { cell, slot, process, registered: None }
    }

    /// The error, if the outcome is there and is one.
    pub(crate) fn error(&self) -> Option<Error> {
        self.cell.outcome(self.slot).and_then(Result::err)
    }

    /// Whether the outcome is there already.
    pub fn is_settled(&self) -> bool {
        self.cell.is_settled(self.slot)
    }
}

impl Future for Receipt {
    type Output = Result<Ack>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = this.cell.poll(this.slot, &mut this.registered, context);
        // In a forked child nobody is left to give it. Asked only by who has to wait, since the answer costs a system call.
        if outcome.is_pending() && this.process != std::process::id() {
            return Poll::Ready(Err(forked_process().at("publish", "before the fork").indeterminate()));
        }
        outcome
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("slot", &self.slot).field("settled", &self.is_settled()).finish()
    }
}
