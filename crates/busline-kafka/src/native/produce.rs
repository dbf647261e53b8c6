//! Many messages of one partition handed to a client by one call.

#![expect(unsafe_code, reason = "the wrapper hands messages over one by one and looks the topic up for each")]

use std::ffi::{CString, c_void};
use std::ptr::{NonNull, null_mut};

use busline_core::{Error, ErrorKind, Partition, Result, TopicName};
use rdkafka::bindings as c;
use rdkafka::error::RDKafkaErrorCode;

use super::ask::Native;

/// A topic that a client produces to. To be dropped before its client.
pub(crate) struct Target(NonNull<c::rd_kafka_topic_t>);

// SAFETY: topics of the C library may be used from any thread.
unsafe impl Send for Target {}
// SAFETY: as above; every call on them is guarded by the library's own locks.
unsafe impl Sync for Target {}

/// One message, borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) body: &'a [u8],
    /// Comes back with the report.
    pub(crate) tag: usize,
}

/// Messages of one call: enough to make a call cheap, few enough to stay in the processor's nearest memory.
const CALL_MESSAGES_MAX: usize = 128;

/// Where a client stopped to take messages, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// Messages before it were taken.
    pub(crate) at: usize,
    pub(crate) code: RDKafkaErrorCode,
}

impl Target {
    /// The topic of this name at the client.
    ///
    /// # Errors
    /// `Unavailable/Memory`.
    pub(crate) fn new(client: &impl Native, topic: &TopicName) -> Result<Self> {
        let no_topic =
            || Error::new(ErrorKind::Unavailable, "Memory").cause("no memory for a topic").next("free memory");
        let name = CString::new(topic.as_str()).map_err(|_| no_topic())?;
        // SAFETY: the client is alive during the call, which copies the name.
        NonNull::new(unsafe { c::rd_kafka_topic_new(client.pointer(), name.as_ptr(), null_mut()) })
            .map(Self)
            .ok_or_else(no_topic)
    }

    /// Hands these messages over in order, copied, until one is refused.
    ///
    /// Never waits. A refusal concerns the partition or the room of the client, so it holds for all that follow.
    pub(crate) fn produce<'a>(
        &self,
        partition: Partition,
        messages: impl IntoIterator<Item = Message<'a>>,
    ) -> std::result::Result<(), Stopped> {
        let mut messages = messages.into_iter();
        let mut call = Vec::with_capacity(CALL_MESSAGES_MAX);
        let mut taken = 0;
        loop {
            call.clear();
            call.extend(messages.by_ref().take(CALL_MESSAGES_MAX).map(native));
            if call.is_empty() {
                return Ok(());
            }
            self.call(partition, &mut call).map_err(|stopped| Stopped { at: taken + stopped.at, ..stopped })?;
            taken += call.len();
        }
    }

    fn call(&self, partition: Partition, messages: &mut [c::rd_kafka_message_t]) -> std::result::Result<(), Stopped> {
        let (partition, count) = (partition.0 as i32, messages.len() as i32);
        // SAFETY: key and payload of each message are borrowed for longer than this call, which copies them; the topic is
        // ours until drop.
        let good = unsafe {
            c::rd_kafka_produce_batch(self.0.as_ptr(), partition, c::RD_KAFKA_MSG_F_COPY, messages.as_mut_ptr(), count)
        };
        if good == count {
            return Ok(());
        }
        let refused =
            |message: &c::rd_kafka_message_t| message.err != c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        let at = messages.iter().position(refused).unwrap_or(0);
        Err(Stopped { at, code: messages[at].err.into() })
    }
}

fn native(message: Message<'_>) -> c::rd_kafka_message_t {
    c::rd_kafka_message_t {
        err: c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: null_mut(),
        partition: 0,
        payload: message.body.as_ptr().cast_mut().cast::<c_void>(),
        len: message.body.len(),
        key: message.key.as_ptr().cast_mut().cast::<c_void>(),
        key_len: message.key.len(),
        offset: 0,
        _private: message.tag as *mut c_void,
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: made in `new`, freed only here; messages on their way hold the topic by themselves.
        unsafe { c::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}
