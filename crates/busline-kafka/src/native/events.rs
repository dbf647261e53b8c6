//! What a producing client has to say, a whole answer of a broker at a time.

#![expect(unsafe_code, reason = "the wrapper gives reports one by one, each with a share of its event")]

use std::ffi::{CStr, c_char};
use std::ptr::{NonNull, null};
use std::time::Duration;

use busline_core::{Error, ErrorKind, Offset, Partition, Result};
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;

use super::ask::{Answer, Native, millis};
use super::status::{Stored, stored_of};

/// Where a client's events come. To be dropped before its client.
pub(crate) struct Events(NonNull<c::rd_kafka_queue_t>);

// SAFETY: queues of the C library may be used from any thread.
unsafe impl Send for Events {}
// SAFETY: as above; every call on them is guarded by the library's own locks.
unsafe impl Sync for Events {}

/// One event.
pub(crate) enum Event {
    /// Reports of messages.
    Reports(Reports),
    /// A line of the client's log, with syslog's level.
    Log { level: i32, facility: String, text: String },
    /// Something that concerns no message.
    Error { code: RDKafkaErrorCode, reason: String },
    /// Nothing of interest.
    Other,
}

impl Events {
    /// The queue of this client.
    ///
    /// # Errors
    /// `Unavailable/Memory`.
    pub(crate) fn of(client: &impl Native) -> Result<Self> {
        // SAFETY: the client is alive during the call; the queue is ours until drop.
        NonNull::new(unsafe { c::rd_kafka_queue_get_main(client.pointer()) }).map(Self).ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "Memory").cause("no memory for a queue").next("free memory")
        })
    }

    /// The next event if one comes within this time.
    pub(crate) fn next(&self, wait: Duration) -> Option<Event> {
        // SAFETY: the queue is ours until drop; the event belongs to the answer.
        let answer = NonNull::new(unsafe { c::rd_kafka_queue_poll(self.0.as_ptr(), millis(wait)) }).map(Answer::new)?;
        // SAFETY: the event lives as long as the answer.
        Some(match unsafe { c::rd_kafka_event_type(answer.event()) } {
            c::RD_KAFKA_EVENT_DR => Event::Reports(Reports(answer)),
            c::RD_KAFKA_EVENT_LOG => log(&answer),
            c::RD_KAFKA_EVENT_ERROR => error(&answer),
            _ => Event::Other,
        })
    }

    /// Ends the wait of whoever waits for the next event.
    pub(crate) fn wake(&self) {
        // SAFETY: the queue is ours until drop.
        unsafe { c::rd_kafka_queue_yield(self.0.as_ptr()) }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: given by `of`, freed only here.
        unsafe { c::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

fn log(answer: &Answer) -> Event {
    let (mut facility, mut text, mut level) = (null::<c_char>(), null::<c_char>(), 0);
    // SAFETY: the event is one of the log, whose texts live as long as it.
    unsafe {
        c::rd_kafka_event_log(answer.event(), &raw mut facility, &raw mut text, &raw mut level);
        Event::Log { level, facility: owned(facility), text: owned(text) }
    }
}

fn error(answer: &Answer) -> Event {
    // SAFETY: the event is an error, whose text lives as long as it.
    unsafe {
        let code = c::rd_kafka_event_error(answer.event()).into();
        Event::Error { code, reason: owned(c::rd_kafka_event_error_string(answer.event())) }
    }
}

/// # Safety
/// The text is null, or ends with a zero.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned()
}

/// The reports of one event, each given once. Dropping it frees the messages.
pub(crate) struct Reports(Answer);

/// What became of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reported {
    /// The number that was handed over with it.
    pub(crate) tag: usize,
    pub(crate) partition: Partition,
    /// `None` where the broker knew the message already.
    pub(crate) offset: Option<Offset>,
    /// Why it failed, and what is known of it then.
    pub(crate) failure: Option<(RDKafkaErrorCode, Stored)>,
}

impl Iterator for Reports {
    type Item = Reported;

    fn next(&mut self) -> Option<Reported> {
        // SAFETY: the event is ours; a message that it gives lives as long as the event.
        unsafe {
            let pointer = NonNull::new(c::rd_kafka_event_message_next(self.0.event()).cast_mut())?;
            let message = pointer.as_ref();
            let is_acked = message.err == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
            Some(Reported {
                tag: message._private as usize,
                partition: Partition(message.partition as u32),
                offset: u64::try_from(message.offset).ok().map(Offset),
                failure: (!is_acked).then(|| (message.err.into(), stored_of(pointer.as_ptr()))),
            })
        }
    }
}
