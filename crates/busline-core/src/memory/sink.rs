//! The writing end: a batch is stored and settled before `publish` returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::driver::Shared;
use crate::ack::{Durability, Medium};
use crate::batch::Batch;
use crate::capabilities::AckPositions;
use crate::driver::{BoxFuture, Sink, SinkOffer, sink_closed};
use crate::error::{Error, Result};
use crate::topic::TopicInfo;

#[derive(Debug)]
pub(super) struct MemorySink {
    pub(super) shared: Arc<Shared>,
    pub(super) topic: TopicInfo,
    pub(super) closed: AtomicBool,
}

impl Sink for MemorySink {
    fn offer(&self) -> SinkOffer {
        SinkOffer {
            durability: Durability::one(Medium::Memory),
            positions: AckPositions::Always,
            batches_in_flight_max: 1,
            batch_records_max: super::driver::BATCH_RECORDS_MAX,
            batch_bytes_max: super::driver::BATCH_BYTES_MAX,
        }
    }

    fn publish(&self, batch: Batch) {
        if self.closed.load(Ordering::Acquire) {
            return batch.settle_all(&sink_closed(&self.topic.name));
        }
        let time = self.shared.clock.now();
        // One lock for the whole batch: a reader sees all of it or nothing, so every batch is an atomic one.
        let outcomes = self
            .shared
            .store()
            .map(|mut store| batch.records().map(|record| store.append(&self.topic, &record, time)).collect());
        match outcomes {
            Ok(outcomes) => {
                self.shared.changed.notify_waiters();
                batch.settle(outcomes);
            }
            Err(error) => batch.settle_all(&error),
        }
    }

    fn trouble(&self) -> Option<Error> {
        None
    }

    fn close(&self, _deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.closed.store(true, Ordering::Release);
        Box::pin(async { Ok(()) })
    }
}
