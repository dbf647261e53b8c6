//! A message that came from a broker, as the C library holds it.

#![expect(unsafe_code, reason = "the wrapper reads messages with an event of their own each")]

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};
use std::slice;

use busline_core::{Header, Headers, Offset, Partition};
use bytes::Bytes;
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::BorrowedMessage;

/// A message, or an error in place of one.
#[derive(Clone, Copy)]
pub(crate) struct Fetched<'a>(&'a c::rd_kafka_message_t);

impl<'a> Fetched<'a> {
    /// # Safety
    /// The message came from a consumer, and it and its key and payload live as long as the borrow.
    pub(super) unsafe fn new(message: &'a c::rd_kafka_message_t) -> Self {
        Self(message)
    }

    /// The message that the wrapper lends.
    pub(crate) fn of(message: &'a BorrowedMessage<'_>) -> Self {
        // SAFETY: the wrapper keeps the message alive while it lends it, and has taken it from a consumer.
        Self(unsafe { &*message.ptr() })
    }

    /// The error that stands here in place of a message.
    pub(crate) fn error(self) -> Option<RDKafkaErrorCode> {
        (self.0.err != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| self.0.err.into())
    }

    pub(crate) fn partition(self) -> Partition {
        Partition(self.0.partition as u32)
    }

    pub(crate) fn offset(self) -> Offset {
        Offset(self.0.offset as u64)
    }

    /// When it was stored. Unit: milliseconds since 1970; 0 where the broker keeps no times.
    pub(crate) fn millis(self) -> i64 {
        let mut kind = c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message lives for this call.
        let millis = unsafe { c::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        if kind == c::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || millis == -1 { 0 } else { millis }
    }

    /// Empty where it is missing.
    pub(crate) fn key(self) -> &'a [u8] {
        // SAFETY: the key lives as long as the message.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    /// Empty where it is missing.
    pub(crate) fn body(self) -> &'a [u8] {
        // SAFETY: the payload lives as long as the message.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    /// Its headers, copied.
    pub(crate) fn headers(self) -> Headers {
        let mut headers = null_mut();
        // SAFETY: the message lives for this call; headers are read from it once and belong to it from then on.
        let code = unsafe { c::rd_kafka_message_headers(self.0, &raw mut headers) };
        if code != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Headers::default();
        }
        // SAFETY: as above.
        (0..).map_while(|at| unsafe { header(headers, at) }).collect()
    }
}

/// The header of this number, if there are so many.
///
/// # Safety
/// The headers belong to a message that lives for this call.
unsafe fn header(headers: *const c::rd_kafka_headers_t, at: usize) -> Option<Header> {
    let (mut name, mut value, mut length) = (null(), null(), 0);
    // SAFETY: promised by the caller; the name ends with a zero, and both live as long as the headers.
    unsafe {
        let code = c::rd_kafka_header_get_all(headers, at, &raw mut name, &raw mut value, &raw mut length);
        (code == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| Header {
            name: CStr::from_ptr(name).to_string_lossy().into_owned(),
            value: Bytes::copy_from_slice(bytes(value, length)),
        })
    }
}

/// # Safety
/// The pointer is null, or so many bytes lie there for as long as the borrow.
unsafe fn bytes<'a>(pointer: *const c_void, length: usize) -> &'a [u8] {
    if pointer.is_null() {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts(pointer.cast(), length) }
}
