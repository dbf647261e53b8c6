//! A record that a sink has taken: where it stands in its batch, and its bytes once the batch has gone.

use busline_core::{Partition, RecordRef};

use super::pending::Pending;

/// A record on its way.
#[derive(Debug)]
pub(crate) struct Rec {
    pub(crate) batch: u64,
    pub(crate) index: u32,
    pub(crate) partition: Partition,
    /// The hash of its key.
    pub(crate) key: u64,
    /// Its bytes, once its batch was reported and is gone.
    pub(crate) copy: Option<Box<Copied>>,
}

/// The bytes of a record that is still to be settled at the server.
#[derive(Debug)]
pub(crate) struct Copied {
    partition: Partition,
    key: Vec<u8>,
    headers: Vec<u8>,
    body: Vec<u8>,
}

impl Rec {
    /// The record itself; `None` only of one whose batch has gone without a copy, which nobody sends.
    pub(crate) fn bytes<'a>(&'a self, pending: &'a Pending) -> Option<RecordRef<'a>> {
        match &self.copy {
            Some(copy) => Some(copy.as_record()),
            None => pending.batch(self.batch).map(|batch| batch.record(self.index as usize)),
        }
    }

    /// Takes a copy of the record's bytes, because its batch is about to go.
    pub(crate) fn adopt(&mut self, pending: &Pending) {
        if self.copy.is_none() {
            self.copy = self.bytes(pending).map(|record| Box::new(Copied::of(&record)));
        }
    }
}

impl Copied {
    pub(crate) fn of(record: &RecordRef<'_>) -> Self {
        Self {
            partition: record.partition,
            key: record.key.to_vec(),
            headers: record.header_block.to_vec(),
            body: record.body.to_vec(),
        }
    }

    pub(crate) fn as_record(&self) -> RecordRef<'_> {
        let (header_block, body) = (&self.headers[..], &self.body[..]);
        RecordRef { partition: self.partition, key: &self.key, header_block, body, checksum: 0 }
    }
}
