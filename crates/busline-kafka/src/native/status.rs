//! Whether a reported message is stored.

#![expect(unsafe_code, reason = "the wrapper lacks the message status, and codes alone would lie")]

use rdkafka::bindings as c;
use rdkafka::message::BorrowedMessage;

/// What the client knows of a message that it has reported.
///
/// # Source
/// `rd_kafka_message_status`; never wrong in the probes of docs/decisions/0004.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is not stored and never will be.
    No,
    /// It was sent and not answered for.
    Perhaps,
    /// It is stored.
    Yes,
}

/// What the client knows of this message.
pub(crate) fn stored(message: &BorrowedMessage<'_>) -> Stored {
    // SAFETY: the message is borrowed from a report, so it lives for this call.
    unsafe { stored_of(message.ptr()) }
}

/// # Safety
/// The message is one of a report that is alive.
pub(super) unsafe fn stored_of(message: *const c::rd_kafka_message_t) -> Stored {
    // SAFETY: promised by the caller.
    match unsafe { c::rd_kafka_message_status(message) } {
        c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED => Stored::No,
        c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_POSSIBLY_PERSISTED => Stored::Perhaps,
        c::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_PERSISTED => Stored::Yes,
    }
}
