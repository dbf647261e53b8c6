//! What becomes of a record that is not attempted again.

use std::error::Error as StdError;

use super::engine::Engine;
use super::handler::HandlerError;
use super::lanes::End;
use super::parking::{Cause, Kind, ParkedScope};
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::record::Record;

/// It cannot be decoded, so its key counts as unknown.
///
/// # Source
/// Promise C10.
pub(crate) fn undecodable(engine: &Engine, record: Box<Record>, error: &Error) -> End {
    tracing::error!("{error}");
    if engine.parking.is_none() {
        return End::Undecodable(record);
    }
    let first = SystemClock.now();
    let kind = Kind::Park(ParkedScope::Record);
    End::Park(record, Box::new(Cause { kind, attempts: 0, error: error.to_string(), first }))
}

/// Its key is parked.
pub(crate) fn behind(record: Box<Record>) -> End {
    let error = String::from("its key is parked");
    End::Park(record, Box::new(Cause { kind: Kind::Behind, attempts: 0, error, first: SystemClock.now() }))
}

/// Its attempts are used up, or its handler has given up on it.
///
/// # Source
/// Promise C7.
pub(crate) fn used_up(engine: &Engine, record: Box<Record>, attempts: u32, why: &HandlerError) -> End {
    let (topic, partition, offset) = (&engine.place.topic, record.partition, record.offset);
    let Some(parking) = &engine.parking else {
        tracing::error!("attempt {attempts} of {topic}/{partition}/{offset} was the last, its key waits: {why}");
        return End::Stuck(record);
    };
    tracing::error!("attempt {attempts} of {topic}/{partition}/{offset} was the last, it is parked: {why}");
    let first = parking.end_failing(&record).unwrap_or_else(|| SystemClock.now());
    let kind = Kind::Park(parking.scope);
    End::Park(record, Box::new(Cause { kind, attempts, error: chain(why.cause()), first }))
}

/// An error and those underneath, on one line.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut under = error.source();
    while let Some(source) = under {
        let said = source.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        under = source.source();
    }
    text
}
