//! The names of a reader's consumers, and what the server says with each record that one of them delivers.

use busline_core::{Offset, Partition};
use jiff::Timestamp;

/// A consumer's name: of which reader, which partition, which try.
pub(crate) fn consumer(reader: &str, partition: Partition, serial: u64) -> String {
    format!("{reader}-{partition}-{serial}")
}

/// What the reply subject of a delivered message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) partition: Partition,
    pub(crate) serial: u64,
    pub(crate) offset: Offset,
    /// Which delivery of the consumer it is, from 1.
    pub(crate) delivered: u64,
    pub(crate) time: Timestamp,
    /// Records of the partition that are there behind it.
    pub(crate) pending: u64,
}

impl Reply {
    /// Reads `$JS.ACK.<stream>.<consumer>.…`, or the longer form with domain and account; `None` for messages of others.
    pub(crate) fn parse(reply: &[u8], reader: &str) -> Option<Self> {
        let text = std::str::from_utf8(reply.strip_prefix(b"$JS.ACK.")?).ok()?;
        let count = text.bytes().filter(|byte| *byte == b'.').count() + 1;
        // stream, consumer, times delivered, stream sequence, consumer sequence, time, pending
        let mut tokens = text.split('.').skip(if count > 7 { 2 } else { 0 });
        let consumer = tokens.nth(1)?;
        let (offset, delivered, time, pending) = (tokens.nth(1)?, tokens.next()?, tokens.next()?, tokens.next()?);
        let (partition, serial) = consumer.strip_prefix(reader)?.strip_prefix('-')?.split_once('-')?;
        Some(Self {
            partition: Partition(partition.parse().ok()?),
            serial: serial.parse().ok()?,
            offset: Offset(offset.parse().ok()?),
            delivered: delivered.parse().ok()?,
            time: Timestamp::from_nanosecond(time.parse().ok()?).ok()?,
            pending: pending.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_the_reply_are_read() {
        let long = b"$JS.ACK._.hash.s.busline-r-3-7.1.12.2.1700000000000000000.5";
        let expected = Reply {
            partition: Partition(3),
            serial: 7,
            offset: Offset(12),
            delivered: 2,
            time: Timestamp::from_second(1_700_000_000).expect("a time"),
            pending: 5,
        };
        let short = b"$JS.ACK.s.busline-r-3-7.1.12.2.1700000000000000000.5";
        assert_eq!(Reply::parse(short, "busline-r"), Some(expected));
        assert_eq!(Reply::parse(long, "busline-r"), Some(expected));
        let longer = b"$JS.ACK._.hash.s.busline-r-3-7.1.12.2.1700000000000000000.5.random";
        assert_eq!(Reply::parse(longer, "busline-r"), Some(expected));
        for other in ["", "$JS.ACK.s.other-3-7.1.12.2.17.0", "$JS.ACK.s.busline-r-3.1.12.2.17.0"] {
            assert_eq!(Reply::parse(other.as_bytes(), "busline-r"), None, "{other}");
        }
    }
}
