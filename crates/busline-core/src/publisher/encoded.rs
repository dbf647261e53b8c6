//! An envelope turned into the parts of its record.

use std::cell::RefCell;

use crate::batch::RecordRef;
use crate::envelope::Envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::record::{checksum, partition_of};
use crate::topic::Partition;
use crate::wire::Wire;

/// How a publisher encodes: fixed when it is opened.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(crate) wire: Wire,
    pub(crate) source: String,
    pub(crate) partitions: u32,
    pub(crate) record_bytes_max: usize,
    pub(crate) checksums: bool,
}

/// Key, header block and body behind one another, with what is known of them.
#[derive(Debug, Clone)]
pub(crate) struct Encoded {
    bytes: Vec<u8>,
    key_bytes: usize,
    header_bytes: usize,
    partition: Partition,
    checksum: u32,
}

impl Encoded {
    /// All bytes that count for the window.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn record(&self) -> RecordRef<'_> {
        let (key, rest) = self.bytes.split_at(self.key_bytes);
        let (header_block, body) = rest.split_at(self.header_bytes);
        RecordRef { partition: self.partition, key, header_block, body, checksum: self.checksum }
    }
}

thread_local! {
    /// Encoding happens outside every lock, into memory that the thread keeps.
    static SCRATCH: RefCell<Encoded> = const {
        RefCell::new(Encoded { bytes: Vec::new(), key_bytes: 0, header_bytes: 0, partition: Partition(0), checksum: 0 })
    };
}

impl Encoder {
    /// Encodes an envelope into the thread's scratch memory and gives it to `use_it`.
    ///
    /// # Errors
    /// What [`Envelope::validate`] refuses, and `TooLarge/Record`.
    pub(crate) fn encode<T>(&self, envelope: &Envelope, use_it: impl FnOnce(&Encoded) -> T) -> Result<T> {
        envelope.validate()?;
        SCRATCH.with_borrow_mut(|scratch| {
            self.write(envelope, scratch);
            if scratch.len() > self.record_bytes_max {
                return Err(self.too_large(scratch.len()).at("envelope", &envelope.id));
            }
            let used = use_it(scratch);
            // One huge envelope must not keep its memory on every thread that ever published one.
            scratch.bytes.shrink_to(SCRATCH_BYTES_KEPT);
            Ok(used)
        })
    }

    fn write(&self, envelope: &Envelope, out: &mut Encoded) {
        out.bytes.clear();
        out.bytes.extend_from_slice(envelope.aggregate_id.as_bytes());
        out.key_bytes = out.bytes.len();
        envelope.headers.write_to(&mut out.bytes);
        out.header_bytes = out.bytes.len() - out.key_bytes;
        self.wire.encode(envelope, &self.source, &mut out.bytes);
        out.partition = partition_of(envelope.aggregate_id.as_bytes(), self.partitions);
        out.checksum = 0;
        if self.checksums {
            let record = out.record();
            out.checksum = checksum(record.key, record.header_block, record.body);
        }
    }

    fn too_large(&self, bytes: usize) -> Error {
        Error::new(ErrorKind::TooLarge, "Record")
            .cause(format!("{bytes} bytes of key, headers and body where {} are allowed", self.record_bytes_max))
            .next("store the data elsewhere and publish a reference to it")
    }
}

const SCRATCH_BYTES_KEPT: usize = 64 * 1024;
