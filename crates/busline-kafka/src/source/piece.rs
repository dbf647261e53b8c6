//! Some records of one partition, taken from the client without a lock of ours.

use busline_core::{Error, Gathered, Record};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::native::PartitionQueue;
use crate::records::gather;

/// Records and bytes of a piece: enough to share a lock and a wake-up, few enough to overstep a limit by little. Where
/// records have grown since the last piece, one piece may be larger; it is never more than the client has read ahead.
const RECORDS_MAX: usize = 256;
const BYTES_MAX: usize = 256 * 1024;

/// What is taken as long as nothing is known of the partition's records.
const BYTES_EXPECTED: usize = 16 * 1024;

/// A partition, and how large its records were last.
pub(super) struct Reader {
    queue: PartitionQueue,
    /// Mean of the last piece.
    record_bytes: usize,
}

/// Records in order, and what ended them.
pub(super) struct Piece {
    pub(super) records: Vec<Record>,
    /// Bytes of their keys and bodies.
    pub(super) bytes: usize,
    pub(super) end: End,
}

/// What ended a piece.
pub(super) enum End {
    /// There may be more.
    Full,
    /// Nothing else is there at the moment.
    Empty,
    /// The client's errors that stood between the records.
    Failed(Vec<KafkaError>),
    /// A record that cannot be read.
    Unreadable(Error),
}

impl Reader {
    pub(super) fn new(queue: PartitionQueue) -> Self {
        Self { queue, record_bytes: BYTES_EXPECTED }
    }

    /// Takes what is there, as far as it makes a piece.
    pub(super) fn read(&mut self) -> Piece {
        let most = (BYTES_MAX / self.record_bytes.max(1)).clamp(1, RECORDS_MAX);
        let taken = self.queue.take(most);
        let mut end = if taken.len() < most { End::Empty } else { End::Full };
        let (mut gathered, mut failed) = (Gathered::with_capacity(taken.len()), Vec::new());
        for message in taken.iter() {
            if let Some(code) = message.error() {
                failed.push(failure(code));
            } else if let Err(unreadable) = gather(&mut gathered, message) {
                end = End::Unreadable(unreadable);
                break;
            }
        }
        if !failed.is_empty() && !matches!(end, End::Unreadable(_)) {
            end = End::Failed(failed);
        }
        let bytes = gathered.bytes();
        let records = gathered.finish();
        if !records.is_empty() {
            self.record_bytes = bytes / records.len();
        }
        Piece { records, bytes, end }
    }
}

fn failure(code: RDKafkaErrorCode) -> KafkaError {
    if code == RDKafkaErrorCode::Fatal {
        KafkaError::MessageConsumptionFatal(code)
    } else {
        KafkaError::MessageConsumption(code)
    }
}
