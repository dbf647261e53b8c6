//! From messages of the client to records.

use busline_core::{Error, ErrorKind, Gathered, Record, Result};
use jiff::Timestamp;
use rdkafka::message::BorrowedMessage;

use crate::native::Fetched;

/// The record in this message. A missing key or value is an empty one here: neither can hold an envelope.
///
/// # Errors
/// `Corrupt/Time` for a time that no clock has.
pub(crate) fn record(message: &BorrowedMessage<'_>) -> Result<Record> {
    let message = Fetched::of(message);
    let mut gathered = Gathered::default();
    gather(&mut gathered, message)?;
    let mut records = gathered.finish();
    records.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "Record").cause("none was made").next("report this"))
}

/// Adds the record in this message.
///
/// # Errors
/// `Corrupt/Time` for a time that no clock has; nothing is added then.
pub(crate) fn gather(gathered: &mut Gathered, message: Fetched<'_>) -> Result<()> {
    let (place, time) = ((message.partition(), message.offset()), time(message)?);
    gathered.push(place, time, message.headers(), message.key(), message.body());
    Ok(())
}

fn time(message: Fetched<'_>) -> Result<Timestamp> {
    let millis = message.millis();
    Timestamp::from_millisecond(millis).map_err(|_| {
        Error::new(ErrorKind::Corrupt, "Time")
            .cause(format!("offset {} was stored at {millis} ms", message.offset()))
            .next("let the brokers set the time of the topic's records")
    })
}
