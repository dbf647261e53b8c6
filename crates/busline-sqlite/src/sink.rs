//! The writing end of a topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use busline_core::{
    AckPositions, Batch, BoxFuture, Durability, Error, Medium, Result, Sink, SinkOffer, TopicName, sink_closed,
};

use tokio::time::Instant;

use crate::committer::Committer;
use crate::topics::PartitionIds;

/// The topic that a sink writes to, as ids of this file. A topic that is deleted and made anew has others.
#[derive(Debug)]
pub(crate) struct SinkTopic {
    pub(crate) name: TopicName,
    pub(crate) partition_ids: PartitionIds,
}

#[derive(Debug)]
pub(crate) struct SqliteSink {
    pub(crate) committer: Arc<Committer>,
    pub(crate) topic: Arc<SinkTopic>,
    pub(crate) batch_records_max: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) closed: AtomicBool,
}

impl Sink for SqliteSink {
    fn offer(&self) -> SinkOffer {
        SinkOffer {
            durability: Durability::one(Medium::Synced),
            positions: AckPositions::Always,
            // While one is in its transaction the next one grows in the publisher, to about half a window.
            batches_in_flight_max: 1,
            batch_records_max: self.batch_records_max,
            batch_bytes_max: self.batch_bytes_max,
        }
    }

    fn publish(&self, batch: Batch) {
        if self.closed.load(Ordering::Acquire) {
            return batch.settle_all(&sink_closed(&self.topic.name));
        }
        self.committer.publish(batch, &self.topic);
    }

    fn trouble(&self) -> Option<Error> {
        self.committer.trouble()
    }

    /// A batch that was handed over is settled by the committer, which outlives the sink.
    fn close(&self, _deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.closed.store(true, Ordering::Release);
        Box::pin(async { Ok(()) })
    }
}
