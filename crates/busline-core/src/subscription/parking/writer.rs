//! The writing end of a parking topic.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::entry;
use super::entry::Token;
use crate::ack::Ack;
use crate::batch::{Batch, BatchBody, RecordRef, Settlement};
use crate::capabilities::Integrity;
use crate::driver::{Driver, Positions, Sink, SinkRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::headers::Headers;
use crate::panics;
use crate::record::checksum;
use crate::topic::{Partition, TopicInfo};

/// Time after which the sink has to say how a write ended.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Writes entries, a batch at a time.
#[derive(Debug)]
pub(crate) struct Writer {
    sink: Arc<dyn Sink>,
    /// The parking topic.
    topic: String,
    /// The incarnation of the topic whose records are parked.
    incarnation: Uuid,
    checksums: bool,
}

/// An entry on its way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) partition: Partition,
    pub(crate) key: Bytes,
    pub(crate) header_block: Vec<u8>,
    pub(crate) body: Bytes,
}

struct Answer(Mutex<Option<oneshot::Sender<Vec<Result<Ack>>>>>);

impl Settlement for Answer {
    fn settle(self: Arc<Self>, _id: u64, outcomes: Vec<Result<Ack>>) {
        if let Some(answer) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Whoever waited may be gone.
            drop(answer.send(outcomes));
        }
    }
}

impl Writer {
    pub(crate) async fn open(driver: &dyn Driver, parking: &TopicInfo, incarnation: Uuid) -> Result<Self> {
        let request = SinkRequest { topic: parking.clone(), positions: Positions::Any, deduplicate: None };
        let checksums = driver.capabilities().integrity == Integrity::Record;
        Ok(Self { sink: driver.sink(request).await?, topic: parking.name.to_string(), incarnation, checksums })
    }

    /// Begins an entry of this kind.
    pub(crate) fn entry(&self, raw: Headers, kind: &'static str, token: Token) -> entry::Writer {
        entry::Writer::new(raw, kind, self.incarnation, token)
    }

    /// An entry that is about a partition as a whole.
    pub(crate) fn control(&self, partition: Partition, kind: &'static str, token: Token) -> Outgoing {
        let header_block = self.entry(Headers::default(), kind, token).block();
        Outgoing { partition, key: Bytes::new(), header_block, body: Bytes::new() }
    }

    /// Writes entries and waits for their outcomes; outcome `i` belongs to entry `i`. Behind one that is not acked none of
    /// its key is: the log takes what stands in it for all that was parked up to there.
    ///
    /// # Cancel safety
    /// What was handed over is perhaps stored.
    pub(crate) async fn write(&self, entries: &[Outgoing]) -> Vec<Result<Ack>> {
        let offer = self.sink.offer();
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut rest = entries;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take(offer.batch_records_max).take_while(|entry| {
                bytes += entry.bytes();
                bytes <= offer.batch_bytes_max
            });
            let (batch, after) = rest.split_at(fitting.count().max(1));
            let written = self.write_batch(batch).await;
            let failed = written.iter().find_map(|outcome| outcome.as_ref().err().map(not_tried));
            outcomes.extend(written);
            if let Some(not_tried) = failed {
                outcomes.extend(after.iter().map(|_| Err(not_tried.clone())));
                break;
            }
            rest = after;
        }
        outcomes
    }

    async fn write_batch(&self, entries: &[Outgoing]) -> Vec<Result<Ack>> {
        let now = Instant::now();
        let mut body = BatchBody::default();
        for (slot, entry) in entries.iter().enumerate() {
            let checksum = if self.checksums { checksum(&entry.key, &entry.header_block, &entry.body) } else { 0 };
            let record = RecordRef {
                partition: entry.partition,
                key: &entry.key,
                header_block: &entry.header_block,
                body: &entry.body,
                checksum,
            };
            body.push(&record, slot as u32, now);
        }
        let (answer, answered) = oneshot::channel();
        let owner = Arc::new(Answer(Mutex::new(Some(answer))));
        let batch = Batch::new(0, Arc::new(body), false, now + WRITE_DEADLINE, owner);
        if let Err(panicked) = panics::publish(&*self.sink, batch, &self.topic) {
            // It may have kept the batch, and then nobody knows when it answers.
            return vec![Err(panicked.indeterminate()); entries.len()];
        }
        // A sink answers by the deadline, and a batch that it forgets answers for itself.
        answered.await.unwrap_or_else(|_| vec![Err(unanswered()); entries.len()])
    }

    pub(crate) fn trouble(&self) -> Option<Error> {
        self.sink.trouble()
    }

    pub(crate) async fn close(&self, deadline: Instant) -> Result<()> {
        panics::close(&*self.sink, deadline, &self.topic).await
    }
}

impl Outgoing {
    fn bytes(&self) -> usize {
        self.key.len() + self.header_block.len() + self.body.len()
    }
}

fn not_tried(before: &Error) -> Error {
    Error::new(ErrorKind::Unavailable, "BehindFailed")
        .cause(format!("an entry before it was not acked: {before}"))
        .next("nothing: it is tried again")
}

fn unanswered() -> Error {
    Error::new(ErrorKind::Internal, "OutcomeForgotten").cause("a write has no outcome").indeterminate()
}
