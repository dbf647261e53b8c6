//! One request to the brokers through the C library, and its answer.

#![expect(unsafe_code, reason = "the wrapper lacks these requests; every pointer is owned here and freed once")]

use std::ffi::c_char;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use busline_core::{Error, ErrorKind, Result};
use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use crate::error;

/// A client of the C library.
pub(crate) trait Native: Send + Sync {
    /// Valid as long as the client lives.
    fn pointer(&self) -> *mut c::rd_kafka_t;
}

impl<C: ClientContext> Native for AdminClient<C> {
    fn pointer(&self) -> *mut c::rd_kafka_t {
        self.inner().native_ptr()
    }
}

impl<C: ConsumerContext> Native for BaseConsumer<C> {
    fn pointer(&self) -> *mut c::rd_kafka_t {
        self.client().native_ptr()
    }
}

impl<C: ProducerContext> Native for BaseProducer<C> {
    fn pointer(&self) -> *mut c::rd_kafka_t {
        self.client().native_ptr()
    }
}

/// A request that is under way. Dropping it forgets the answer.
pub(crate) struct Ask {
    queue: NonNull<c::rd_kafka_queue_t>,
    /// Behind the queue, which must be gone before its client is.
    _client: Arc<dyn Native>,
}

// SAFETY: queues of the C library may be used from any thread.
unsafe impl Send for Ask {}

/// Time beyond a request's own limit after which its answer is not waited for.
const GRACE: Duration = Duration::from_secs(1);

/// How long the library waits for a group's coordinator: the longest that it can be told.
const LIBRARY_PATIENCE: Duration = Duration::from_secs(3_600);

/// Longest wait of ours for a coordinator, well before the library's own.
const COORDINATOR_MAX: Duration = Duration::from_secs(3_000);

impl Ask {
    /// A queue of the client for one answer.
    pub(super) fn new(client: &Arc<dyn Native>) -> Result<Self> {
        // SAFETY: the client lives as long as its `Arc`, which is kept with the queue.
        let queue = NonNull::new(unsafe { c::rd_kafka_queue_new(client.pointer()) }).ok_or_else(no_memory)?;
        Ok(Self { queue, _client: Arc::clone(client) })
    }

    /// The queue for the answer, for as long as this lives.
    pub(super) fn queue(&self) -> *mut c::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// Sends a request: `send` gets the client, the options and the queue for the answer.
    pub(crate) fn send(
        client: &Arc<dyn Native>,
        operation: c::rd_kafka_admin_op_t,
        limit: Duration,
        send: impl FnOnce(*mut c::rd_kafka_t, *const c::rd_kafka_AdminOptions_t, *mut c::rd_kafka_queue_t),
    ) -> Result<Self> {
        let pointer = client.pointer();
        let ask = Self::new(client)?;
        // SAFETY: the client lives as long as its `Arc`, which the answer keeps; the options are freed once, below.
        unsafe {
            let options = NonNull::new(c::rd_kafka_AdminOptions_new(pointer, operation)).ok_or_else(no_memory)?;
            let mut text: [c_char; 1] = [0];
            c::rd_kafka_AdminOptions_set_request_timeout(options.as_ptr(), millis(limit), text.as_mut_ptr(), 1);
            send(pointer, options.as_ptr(), ask.queue());
            c::rd_kafka_AdminOptions_destroy(options.as_ptr());
            Ok(ask)
        }
    }

    /// Sends a request to a group's coordinator, which the library does not give up before the caller has
    /// (see [`Coordinators`](crate::coordinators::Coordinators)).
    pub(super) fn send_to_coordinator(
        client: &Arc<dyn Native>,
        operation: c::rd_kafka_admin_op_t,
        send: impl FnOnce(*mut c::rd_kafka_t, *const c::rd_kafka_AdminOptions_t, *mut c::rd_kafka_queue_t),
    ) -> Result<Self> {
        Self::send(client, operation, LIBRARY_PATIENCE, send)
    }

    /// The answer if it comes within this time.
    pub(crate) fn poll(&self, wait: Duration) -> Option<Answer> {
        // SAFETY: the queue is ours until drop; the event belongs to the answer.
        NonNull::new(unsafe { c::rd_kafka_queue_poll(self.queue.as_ptr(), millis(wait)) }).map(Answer)
    }

    /// Waits for the answer of a request with this limit.
    ///
    /// # Errors
    /// `Unavailable/NoAnswer`, and what the brokers refuse as a whole.
    pub(crate) fn wait(&self, limit: Duration) -> Result<Answer> {
        self.answer_within(limit + GRACE)
    }

    /// Waits for the answer of a coordinator. After `Unavailable/NoAnswer` the client must end soon.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub(super) fn wait_of_coordinator(&self, limit: Duration) -> Result<Answer> {
        self.answer_within(limit.min(COORDINATOR_MAX))
    }

    fn answer_within(&self, limit: Duration) -> Result<Answer> {
        let answer = self.poll(limit).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "NoAnswer").cause("no answer in time").next("check that the brokers run")
        })?;
        answer.check().map(|()| answer)
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        // SAFETY: made in `send`, freed only here.
        unsafe { c::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// An answer of the brokers.
pub(crate) struct Answer(NonNull<c::rd_kafka_event_t>);

impl Answer {
    pub(super) fn new(event: NonNull<c::rd_kafka_event_t>) -> Self {
        Self(event)
    }

    /// The event that holds the answer, for as long as it lives.
    pub(super) fn event(&self) -> *mut c::rd_kafka_event_t {
        self.0.as_ptr()
    }

    /// The error of the request as a whole.
    pub(crate) fn check(&self) -> Result<()> {
        // SAFETY: the event is ours until drop.
        let code = unsafe { c::rd_kafka_event_error(self.event()) };
        check(code)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: given by a poll, freed only here.
        unsafe { c::rd_kafka_event_destroy(self.event()) }
    }
}

/// The error that a code stands for, if it is one.
pub(super) fn check(code: c::rd_kafka_resp_err_t) -> Result<()> {
    if code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(error::of_code(code.into())) }
}

/// Rounded up: a wait for the rest of a millisecond must not become a loop of waits for nothing.
pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX)
}

fn no_memory() -> Error {
    Error::new(ErrorKind::Unavailable, "Memory").cause("no memory for a request").next("free memory")
}
