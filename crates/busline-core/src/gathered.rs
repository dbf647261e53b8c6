//! Records that share buffers for keys and bodies: reading many costs few allocations, and each is freed once.

use bytes::Bytes;
use jiff::Timestamp;

use crate::headers::Headers;
use crate::record::Record;
use crate::topic::{Offset, Partition};

/// Size from which on a buffer takes no further record. A record that is kept for long keeps its whole buffer, so it must
/// not be large.
const BUFFER_BYTES: usize = 32 * 1024;

/// Collects what a driver reads into records.
#[derive(Debug, Default)]
pub struct Gathered {
    records: Vec<Record>,
    buffer: Vec<u8>,
    parts: Vec<Part>,
    bytes: usize,
}

/// A record whose key and body lie in the buffer, one behind the other.
#[derive(Debug)]
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
    pub fn with_capacity(records: usize) -> Self {
        Self { records: Vec::with_capacity(records), ..Self::default() }
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.parts.is_empty()
    }

    /// Bytes of keys and bodies.
    pub fn bytes(&self) -> usize {
        self.bytes + self.buffer.len()
    }

    /// Adds a record; copies its key and body.
    pub fn push(
        &mut self,
        (partition, offset): (Partition, Offset),
        time: Timestamp,
        headers: Headers,
        key: &[u8],
        body: &[u8],
    ) {
        self.make_room(key.len() + body.len());
        self.buffer.extend_from_slice(key);
        let key_end = self.buffer.len();
        self.buffer.extend_from_slice(body);
        self.parts.push(Part { partition, offset, time, headers, key_end, body_end: self.buffer.len() });
    }

    /// The records in the order in which they were added.
    pub fn finish(mut self) -> Vec<Record> {
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

    /// Turns the buffer into records that share it; a small one gives the rest of its memory back.
    fn seal(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.bytes += buffer.len();
        buffer.shrink_to_fit();
        let buffer = Bytes::from(buffer);
        let mut start = 0;
        self.records.reserve(self.parts.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_added_whatever_their_sizes() {
        let mut gathered = Gathered::with_capacity(4);
        assert!(gathered.is_empty());
        let sizes = [(0, 0), (3, 100), (1, 40_000), (2, 0), (5, 32_000), (7, 5_000), (65_535, 3)];
        for (number, (key, body)) in sizes.into_iter().enumerate() {
            let place = (Partition(number as u32 % 2), Offset(number as u64));
            let filled = |bytes: usize| vec![number as u8; bytes];
            gathered.push(place, Timestamp::UNIX_EPOCH, Headers::default(), &filled(key), &filled(body));
        }
        assert_eq!(gathered.bytes(), sizes.iter().map(|(key, body)| key + body).sum::<usize>());
        let records = gathered.finish();
        assert_eq!(records.len(), sizes.len());
        for (number, (record, (key, body))) in records.iter().zip(sizes).enumerate() {
            assert_eq!((record.partition.0, record.offset.0), (number as u32 % 2, number as u64));
            assert_eq!((record.key.len(), record.body.len()), (key, body));
            assert!(record.key.iter().chain(&record.body).all(|byte| *byte == number as u8));
        }
    }
}
