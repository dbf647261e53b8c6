//! Some records of one partition, taken from the client without a lock of ours.

use std::time::Duration;

use busline_core::{Error, Record};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;

use super::consumer::Voice;
use crate::records;

/// Records and bytes of a piece: enough to share a lock and a wake-up, few enough to overstep a limit by little.
const RECORDS_MAX: usize = 64;
const BYTES_MAX: usize = 256 * 1024;

/// What ended a piece.
pub(super) enum End {
    /// There may be more.
    Full,
    /// Nothing else is there at the moment.
    Empty,
    /// The client's error.
    Failed(KafkaError),
    /// A record that cannot be read.
    Unreadable(Error),
}

/// Takes what is there, in order.
pub(super) fn read(queue: &PartitionQueue<Voice>) -> (Vec<Record>, End) {
    let (mut records, mut bytes) = (Vec::new(), 0);
    while records.len() < RECORDS_MAX && bytes < BYTES_MAX {
        match queue.poll(Duration::ZERO) {
            None => return (records, End::Empty),
            Some(Err(failed)) => return (records, End::Failed(failed)),
            Some(Ok(message)) => match records::record(&message) {
                Ok(record) => {
                    bytes += record.key.len() + record.body.len();
                    records.push(record);
                }
                Err(failed) => return (records, End::Unreadable(failed)),
            },
        }
    }
    (records, End::Full)
}
