//! From messages of the client to records.

use busline_core::{Error, ErrorKind, Headers, Offset, Partition, Record, Result};
use bytes::Bytes;
use jiff::Timestamp;
use rdkafka::message::BorrowedMessage;

use crate::native::Fetched;

/// Size from which on a buffer takes no further record. A record that is kept for long keeps its whole buffer, so it must
/// not be large.
const BUFFER_BYTES: usize = 32 * 1024;

/// The record in this message. A missing key or value is an empty one here: neither can hold an envelope.
///
/// # Errors
/// `Corrupt/Time` for a time that no clock has.
pub(crate) fn record(message: &BorrowedMessage<'_>) -> Result<Record> {
    let message = Fetched::of(message);
    let mut gathered = Gathered::default();
    gathered.push(message)?;
    let mut records = gathered.finish();
    records.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "Record").cause("none was made").next("report this"))
}

/// Records that share buffers for keys and bodies: an allocation for many is freed once, not by each worker for each.
#[derive(Default)]
pub(crate) struct Gathered {
    records: Vec<Record>,
    buffer: Vec<u8>,
    parts: Vec<Part>,
    bytes: usize,
}

/// Where one record lies in the buffer: the key, and the body behind it.
struct Part {
    partition: Partition,
    offset: Offset,
    time: Timestamp,
    headers: Headers,
    key_end: usize,
    body_end: usize,
}

impl Gathered {
    /// Room for so many records without a further allocation for their places.
    pub(crate) fn with_capacity(records: usize) -> Self {
        Self { records: Vec::with_capacity(records), ..Self::default() }
    }

    /// Adds the record in this message.
    ///
    /// # Errors
    /// `Corrupt/Time` for a time that no clock has; nothing is added then.
    pub(crate) fn push(&mut self, message: Fetched<'_>) -> Result<()> {
        let time = time(message)?;
        let (key, body) = (message.key(), message.body());
        self.make_room(key.len() + body.len());
        self.buffer.extend_from_slice(key);
        let key_end = self.buffer.len();
        self.buffer.extend_from_slice(body);
        self.parts.push(Part {
            partition: message.partition(),
            offset: message.offset(),
            time,
            headers: message.headers(),
            key_end,
            body_end: self.buffer.len(),
        });
        Ok(())
    }

    /// Bytes of keys and bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.buffer.len()
    }

    pub(crate) fn finish(mut self) -> Vec<Record> {
        self.seal();
        self.records
    }

    /// A record larger than a buffer gets one of its own.
    fn make_room(&mut self, bytes: usize) {
        if self.buffer.len() + bytes > BUFFER_BYTES {
            self.seal();
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(bytes.max(BUFFER_BYTES));
        }
    }

    /// Turns the buffer into records that share it.
    fn seal(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.bytes += buffer.len();
        buffer.shrink_to_fit();
        let buffer = Bytes::from(buffer);
        let mut start = 0;
        for part in self.parts.drain(..) {
            self.records.push(Record {
                partition: part.partition,
                offset: part.offset,
                time: part.time,
                key: buffer.slice(start..part.key_end),
                headers: part.headers,
                body: buffer.slice(part.key_end..part.body_end),
            });
            start = part.body_end;
        }
    }
}

fn time(message: Fetched<'_>) -> Result<Timestamp> {
    let millis = message.millis();
    Timestamp::from_millisecond(millis).map_err(|_| {
        Error::new(ErrorKind::Corrupt, "Time")
            .cause(format!("offset {} was stored at {millis} ms", message.offset()))
            .next("let the brokers set the time of the topic's records")
    })
}
