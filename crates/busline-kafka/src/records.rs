//! From a message of the client to a record.

use busline_core::{Error, ErrorKind, Header, Offset, Partition, Record, Result};
use bytes::Bytes;
use jiff::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};

/// The record in this message. A missing key or value is an empty one here: neither can hold an envelope.
///
/// # Errors
/// `Corrupt/Time` for a time that no clock has.
pub(crate) fn record(message: &BorrowedMessage<'_>) -> Result<Record> {
    let millis = message.timestamp().to_millis().unwrap_or_default();
    let time = Timestamp::from_millisecond(millis).map_err(|_| {
        Error::new(ErrorKind::Corrupt, "Time")
            .cause(format!("offset {} was stored at {millis} ms", message.offset()))
            .next("let the brokers set the time of the topic's records")
    })?;
    // One allocation for both: they live and die together.
    let (key, body) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    let mut bytes = Vec::with_capacity(key.len() + body.len());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(body);
    let mut key = Bytes::from(bytes);
    let body = key.split_off(message.key_len());
    let headers = message.headers().map(|headers| {
        let of = |header: rdkafka::message::Header<'_, &[u8]>| Header {
            name: header.key.to_owned(),
            value: header.value.map(Bytes::copy_from_slice).unwrap_or_default(),
        };
        headers.iter().map(of).collect()
    });
    Ok(Record {
        partition: Partition(message.partition() as u32),
        offset: Offset(message.offset() as u64),
        time,
        key,
        headers: headers.unwrap_or_default(),
        body,
    })
}
