//! Records on their way to a sink: one arena of bytes for the whole batch.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::time::Instant;

use crate::ack::Ack;
use crate::error::{Error, ErrorKind, Result, escaped};
use crate::topic::Partition;
use crate::wire;

/// A batch of accepted records that a sink owes one outcome each.
///
/// The sink answers with [`Batch::settle`], from any thread. Dropping a batch unanswered reports every record in it
/// as indeterminate, so that no driver can forget an outcome (promise P2).
pub struct Batch {
    id: u64,
    body: Arc<BatchBody>,
    atomic: bool,
    may_block: bool,
    deadline: Instant,
    owner: Option<Arc<dyn Settlement>>,
}

/// Who hears the outcomes of a batch.
pub(crate) trait Settlement: Send + Sync {
    /// Takes the outcomes of the batch with this id, in the order of its records.
    fn settle(self: Arc<Self>, id: u64, outcomes: Vec<Result<Ack>>);
}

type Map = Box<dyn FnOnce(Vec<Result<Ack>>) -> Vec<Result<Ack>> + Send + Sync>;

struct Mapped {
    inner: Arc<dyn Settlement>,
    map: Mutex<Option<Map>>,
}

impl Settlement for Mapped {
    fn settle(self: Arc<Self>, id: u64, outcomes: Vec<Result<Ack>>) {
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut answer = Answer { owner: Arc::clone(&self.inner), id, outcomes: Vec::new() };
        answer.outcomes = map.map_or_else(Vec::new, |map| map(outcomes));
    }
}

/// Outcomes that reach their owner at the end of this, also if that is a panic on the way to them: then there are none, and
/// all records are indeterminate.
struct Answer {
    owner: Arc<dyn Settlement>,
    id: u64,
    outcomes: Vec<Result<Ack>>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        Arc::clone(&self.owner).settle(self.id, std::mem::take(&mut self.outcomes));
    }
}

/// One record of a batch, borrowed from its arena.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// The partition it must go to.
    pub partition: Partition,
    /// The key that order is kept for.
    pub key: &'a [u8],
    /// The headers' stored form (see [`Headers::decode`](crate::Headers::decode)); empty without headers.
    pub header_block: &'a [u8],
    /// The encoded envelope.
    pub body: &'a [u8],
    /// [`checksum`](crate::checksum) of the three, or 0 unless the backend stores it.
    pub checksum: u32,
}

impl Batch {
    pub(crate) fn new(
        id: u64,
        body: Arc<BatchBody>,
        atomic: bool,
        deadline: Instant,
        owner: Arc<dyn Settlement>,
    ) -> Self {
        Self { id, body, atomic, may_block: false, deadline, owner: Some(owner) }
    }

    /// The same batch on the thread of a caller that blocks until it is settled.
    #[must_use]
    pub(crate) fn blocking(mut self, may_block: bool) -> Self {
        self.may_block = may_block;
        self
    }

    /// Number of records, at least 1.
    pub fn len(&self) -> usize {
        self.body.items.len()
    }

    /// Whether there is no record, which no sink ever sees.
    pub fn is_empty(&self) -> bool {
        self.body.items.is_empty()
    }

    /// Bytes of keys, headers and bodies.
    pub fn bytes(&self) -> usize {
        self.body.arena.len()
    }

    /// The records in the order of acceptance.
    pub fn records(&self) -> impl ExactSizeIterator<Item = RecordRef<'_>> {
        self.body.items.iter().map(|item| self.body.record(item))
    }

    /// The record with this number in the order of acceptance.
    ///
    /// # Panics
    /// If there is none: a defect of the driver.
    pub fn record(&self, index: usize) -> RecordRef<'_> {
        self.body.record(&self.body.items[index])
    }

    /// The error of records behind this one, of the same key, if it ends with `error`: it names this record's envelope.
    ///
    /// # Panics
    /// If there is no such record: a defect of the driver.
    pub fn behind(&self, index: usize, error: &Error) -> Error {
        behind_failed(&id_of(&self.body, &self.body.items[index]), error)
    }

    /// Whether all records must become visible together, or none.
    pub fn is_atomic(&self) -> bool {
        self.atomic
    }

    /// Whether the thread that hands it over waits for its outcomes and does nothing else, so that the sink may do the work
    /// on it.
    pub fn may_block(&self) -> bool {
        self.may_block
    }

    /// When the first of these records must have its outcome.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Gives each record its outcome; `outcomes[i]` belongs to record `i`.
    ///
    /// A definite error says that the record is not and will not be stored, any other that it perhaps is. This runs
    /// short code of the publisher on the caller's thread and may call [`Sink::publish`](crate::Sink::publish) again,
    /// so the caller holds no lock.
    ///
    /// # Panics
    /// If the number of outcomes differs from that of records: a defect of the driver.
    pub fn settle(mut self, outcomes: Vec<Result<Ack>>) {
        assert_eq!(outcomes.len(), self.len(), "one outcome for each record");
        self.hand_over(outcomes);
    }

    /// Gives all records the same error.
    pub fn settle_all(self, error: &Error) {
        let outcomes = vec![Err(error.clone()); self.len()];
        self.settle(outcomes);
    }

    /// The same batch, whose outcomes pass through `map` on their way back: for drivers that wrap another.
    #[must_use]
    pub fn map_outcomes(
        mut self,
        map: impl FnOnce(Vec<Result<Ack>>) -> Vec<Result<Ack>> + Send + Sync + 'static,
    ) -> Self {
        self.owner = self.owner.take().map(|inner| {
            let mapped: Arc<dyn Settlement> = Arc::new(Mapped { inner, map: Mutex::new(Some(Box::new(map))) });
            mapped
        });
        self
    }

    fn hand_over(&mut self, outcomes: Vec<Result<Ack>>) {
        if let Some(owner) = self.owner.take() {
            // The owner wants the arena back, so this share of it goes first.
            self.body = Arc::default();
            owner.settle(self.id, outcomes);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.owner.is_some() {
            let error = Error::new(ErrorKind::Internal, "OutcomeForgotten")
                .cause("the driver dropped a batch without answering it")
                .next("look the envelope up before publishing it again, and report this")
                .indeterminate();
            self.hand_over(vec![Err(error); self.len()]);
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("id", &self.id)
            .field("records", &self.len())
            .field("bytes", &self.bytes())
            .finish()
    }
}

/// The bytes of a batch and where each record lies in them. Never changed once a sink has seen it.
#[derive(Default)]
pub(crate) struct BatchBody {
    arena: Vec<u8>,
    pub(crate) items: Vec<Item>,
}

/// Where one record lies in the arena: key, header block and body, one behind the other.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    start: u32,
    key_bytes: u16,
    header_bytes: u32,
    body_bytes: u32,
    partition: Partition,
    checksum: u32,
    /// Its number in the completion cell, which counts records that were taken out again too.
    pub(crate) slot: u32,
    pub(crate) accepted: Instant,
}

impl Item {
    pub(crate) fn bytes(&self) -> usize {
        usize::from(self.key_bytes) + self.header_bytes as usize + self.body_bytes as usize
    }
}

impl BatchBody {
    /// Adds a record behind the others.
    pub(crate) fn push(&mut self, record: &RecordRef<'_>, slot: u32, accepted: Instant) {
        self.items.push(Item {
            start: self.arena.len() as u32,
            key_bytes: record.key.len() as u16,
            header_bytes: record.header_block.len() as u32,
            body_bytes: record.body.len() as u32,
            partition: record.partition,
            checksum: record.checksum,
            slot,
            accepted,
        });
        self.arena.extend_from_slice(record.key);
        self.arena.extend_from_slice(record.header_block);
        self.arena.extend_from_slice(record.body);
    }

    pub(crate) fn record(&self, item: &Item) -> RecordRef<'_> {
        let key_end = item.start as usize + usize::from(item.key_bytes);
        let header_end = key_end + item.header_bytes as usize;
        RecordRef {
            partition: item.partition,
            key: &self.arena[item.start as usize..key_end],
            header_block: &self.arena[key_end..header_end],
            body: &self.arena[header_end..header_end + item.body_bytes as usize],
            checksum: item.checksum,
        }
    }

    pub(crate) fn key(&self, item: &Item) -> &[u8] {
        self.record(item).key
    }

    pub(crate) fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    /// The same buffers, empty.
    pub(crate) fn cleared(mut self) -> Self {
        self.arena.clear();
        self.items.clear();
        self
    }
}

/// The error of an envelope behind one of its key that was not acked.
pub(crate) fn behind_failed(first_id: &str, first: &Error) -> Error {
    if first.reason() == "BehindFailed" {
        return first.clone();
    }
    Error::new(ErrorKind::Unavailable, "BehindFailed")
        .cause(format!("envelope {} before it was not acked: {first}", escaped(first_id)))
        .next("settle the earlier one first, then publish again in order")
        .at("publish behind", first_id)
}

/// The id of a record's envelope.
pub(crate) fn id_of(body: &BatchBody, item: &Item) -> String {
    let body = Bytes::copy_from_slice(body.record(item).body);
    wire::decode(&body, String::new).map(|envelope| envelope.id).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The batches that were answered, each with how many outcomes.
    #[derive(Default)]
    struct Owner(Mutex<Vec<(u64, usize)>>);

    impl Settlement for Owner {
        fn settle(self: Arc<Self>, id: u64, outcomes: Vec<Result<Ack>>) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push((id, outcomes.len()));
        }
    }

    #[test]
    fn a_panic_on_the_way_of_an_answer_leaves_no_batch_unanswered() {
        let owner = Arc::new(Owner::default());
        let batch = Batch::new(7, Arc::default(), false, Instant::now(), Arc::clone(&owner) as Arc<dyn Settlement>);
        let batch = batch.map_outcomes(|_| panic!("the test lets this wrapper panic"));
        assert!(std::thread::spawn(|| batch.settle(Vec::new())).join().is_err());
        assert_eq!(*owner.0.lock().unwrap_or_else(PoisonError::into_inner), [(7, 0)], "answered once, with nothing");
    }
}
