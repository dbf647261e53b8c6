//! The stored form of an envelope, and where its key puts it.

use bytes::Bytes;
use jiff::Timestamp;

use crate::envelope::Envelope;
use crate::error::Result;
use crate::headers::Headers;
use crate::topic::{Offset, Partition, TopicName};
use crate::wire;

/// Largest record by default: key, headers and body together, in bytes.
///
/// Brokers take 1 MiB; the rest is room for what they add, and for the diagnosis of a parked record.
pub const RECORD_BYTES_MAX: usize = 983_040;

/// One record as a backend stored it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The partition that holds it.
    pub partition: Partition,
    /// Its place there.
    pub offset: Offset,
    /// When the backend stored it.
    pub time: Timestamp,
    /// The key: the aggregate id of its envelope.
    pub key: Bytes,
    /// Headers of the transport.
    pub headers: Headers,
    /// The encoded envelope.
    pub body: Bytes,
}

impl Record {
    /// Bytes of key and body, by which it is bounded what is read.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.body.len()
    }

    /// The envelope in this record of `topic`.
    ///
    /// # Errors
    /// `Corrupt/…`, `Invalid/…` or `TooLarge/JsonDepth`, with topic, partition and offset.
    pub fn envelope(&self, topic: &TopicName) -> Result<Envelope> {
        let stored_id = || format!("{topic}/{}/{}", self.partition, self.offset);
        let mut envelope = wire::decode(&self.body, stored_id).map_err(|error| error.at("decode", stored_id()))?;
        envelope.headers = self.headers.clone();
        Ok(envelope)
    }
}

/// The partition of a key: `(murmur2(key) & 0x7fffffff) mod partitions`, as Kafka's own clients choose it.
pub fn partition_of(key: &[u8], partitions: u32) -> Partition {
    Partition((murmur2(key) & 0x7fff_ffff) % partitions)
}

/// The checksum that stands in each record of a backend with [`Integrity::Record`](crate::Integrity::Record):
/// CRC32C over key, header block and body.
pub fn checksum(key: &[u8], header_block: &[u8], body: &[u8]) -> u32 {
    let sum = crc32c::crc32c(key);
    let sum = if header_block.is_empty() { sum } else { crc32c::crc32c_append(sum, header_block) };
    crc32c::crc32c_append(sum, body)
}

/// MurmurHash2 with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// How many of these records go together: no more than `records_max`, and none behind the one that uses up `bytes_max`; but
/// the first in any case.
pub fn records_within<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    records_max: usize,
    bytes_max: usize,
) -> usize {
    let mut room = bytes_max;
    let fitting = records.into_iter().take(records_max.max(1)).enumerate().take_while(|(place, record)| {
        let fits = room > 0 || *place == 0;
        room = room.saturating_sub(record.bytes());
        fits
    });
    fitting.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fall_where_kafkas_own_clients_put_them() {
        for (key, hash, of_6, of_12) in [
            ("", 275_646_681, 3, 9),
            ("21", -973_932_308, 0, 0),
            ("abc", 479_470_107, 3, 3),
            ("foobar", -790_332_482, 0, 6),
            ("order-1", 1_221_710_326, 4, 10),
            ("a-little-bit-long-string", -985_981_536, 2, 8),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
            assert_eq!(partition_of(key.as_bytes(), 6), Partition(of_6), "{key}");
            assert_eq!(partition_of(key.as_bytes(), 12), Partition(of_12), "{key}");
        }
    }

    #[test]
    fn records_go_together_within_their_bounds_and_the_first_in_any_case() {
        let record = |bytes: usize| Record {
            partition: Partition(0),
            offset: Offset(0),
            time: Timestamp::UNIX_EPOCH,
            key: Bytes::from_static(b"k"),
            headers: Headers::default(),
            body: vec![0; bytes - 1].into(),
        };
        let records = [10, 20, 30].map(record);
        for (records_max, bytes_max, together) in
            [(9, 1_000, 3), (2, 1_000, 2), (9, 31, 3), (9, 30, 2), (9, 1, 1), (9, 0, 1), (0, 1_000, 1)]
        {
            assert_eq!(records_within(&records, records_max, bytes_max), together, "{records_max}, {bytes_max}");
        }
        assert_eq!(records_within(&[], 9, 9), 0);
    }

    #[test]
    fn the_checksum_is_crc32c_of_the_parts_in_order() {
        assert_eq!(checksum(b"12345", b"", b"6789"), 0xe306_9283);
        assert_eq!(checksum(b"123", b"45", b"6789"), 0xe306_9283);
    }
}
