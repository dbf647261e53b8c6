//! What a user's handler gets and gives.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::envelope::Envelope;
use crate::error::Result;
use crate::topic::{GroupName, Offset, Partition, TopicName};

/// One event handed to a handler.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The event.
    pub envelope: Envelope,
    /// Where it stands.
    pub partition: Partition,
    /// Its place there.
    pub offset: Offset,
    /// The how-many-th run of the handler for it this is, from 1; begins anew after a crash.
    pub attempt: u32,
    pub(crate) place: Arc<Place>,
}

/// What all deliveries of a subscription share.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) topic: TopicName,
    pub(crate) group: GroupName,
}

impl Delivery {
    /// The topic it was read from.
    pub fn topic(&self) -> &TopicName {
        &self.place.topic
    }

    /// The group it was handed to.
    pub fn group(&self) -> &GroupName {
        &self.place.group
    }

    /// The JSON payload as a value of this type.
    ///
    /// # Errors
    /// `Invalid/PayloadType` if it does not fit.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        self.envelope.payload.parse()
    }
}

/// What is to happen after a handler has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Run it again after a pause, as often as the subscription's [`Retry`](super::Retry) allows.
    Retry,
    /// Park it at once.
    Park,
    /// Pass over it: progress goes on, and the error is logged.
    Skip,
    /// Run it again after the longest pause, as if it had not been attempted.
    Defer,
}

/// Why a handler did not succeed, and what is to happen then.
///
/// Every error converts into one that says retry, so `?` does the usual thing.
pub struct HandlerError {
    verdict: Verdict,
    error: Box<dyn std::error::Error + Send + Sync>,
}

impl HandlerError {
    /// Give up on the event at once, since another attempt would fail too: it is parked.
    pub fn park(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { verdict: Verdict::Park, error: error.into() }
    }

    /// Pass over the event.
    pub fn skip(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { verdict: Verdict::Skip, error: error.into() }
    }

    /// The event could not be attempted at all, for a reason that has nothing to do with it. It runs again after the
    /// longest pause of the subscription's [`Retry`](super::Retry), as often as it takes, and is never parked for that.
    pub fn defer(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { verdict: Verdict::Defer, error: error.into() }
    }

    pub(super) fn cause(&self) -> &(dyn std::error::Error + 'static) {
        &*self.error
    }

    /// What is to happen.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self { verdict: Verdict::Retry, error: error.into() }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError").field("verdict", &self.verdict).field("error", &self.error).finish()
    }
}

/// What runs for each event. Implemented by every `Fn(Delivery) -> impl Future<Output = Result<(), HandlerError>>`.
pub trait Handler: Send + Sync + 'static {
    /// Handles one event.
    ///
    /// Called by one of `concurrency` workers, for one event of a key at a time. A panic is a failed attempt.
    ///
    /// # Cancel safety
    /// The future is dropped at the handler timeout, when the partition goes to another member, and at the deadline of
    /// `close`; the event then comes again.
    fn handle(&self, delivery: Delivery) -> impl Future<Output = std::result::Result<(), HandlerError>> + Send;
}

impl<F, T> Handler for F
where
    F: Fn(Delivery) -> T + Send + Sync + 'static,
    T: Future<Output = std::result::Result<(), HandlerError>> + Send,
{
    fn handle(&self, delivery: Delivery) -> impl Future<Output = std::result::Result<(), HandlerError>> + Send {
        self(delivery)
    }
}

/// What runs for several events at once. Implemented by every
/// `Fn(Vec<Delivery>) -> impl Future<Output = Vec<Result<(), HandlerError>>>`.
pub trait BatchHandler: Send + Sync + 'static {
    /// Handles events of different keys.
    ///
    /// - Shape: 1 to `size_max` deliveries, no two of one key, in no order among each other; verdict `i` belongs to
    ///   delivery `i`. Another number of verdicts is a failed attempt of all of them.
    /// - Waiting: a batch is what is ready at the moment; none waits to be filled.
    /// - Each of `concurrency` workers runs a batch of its own. Panic and timeout are failed attempts of all of a batch.
    ///
    /// # Cancel safety
    /// As [`Handler::handle`]; a batch is broken off whole, and its events of other partitions begin again at once.
    fn handle(
        &self,
        deliveries: Vec<Delivery>,
    ) -> impl Future<Output = Vec<std::result::Result<(), HandlerError>>> + Send;
}

impl<F, T> BatchHandler for F
where
    F: Fn(Vec<Delivery>) -> T + Send + Sync + 'static,
    T: Future<Output = Vec<std::result::Result<(), HandlerError>>> + Send,
{
    fn handle(
        &self,
        deliveries: Vec<Delivery>,
    ) -> impl Future<Output = Vec<std::result::Result<(), HandlerError>>> + Send {
        self(deliveries)
    }
}
