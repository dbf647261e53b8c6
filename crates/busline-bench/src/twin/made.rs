//! Records as the bus stores them on a server, made by a twin.

use busline::{TopicSpec, Wire};
use bytes::Bytes;

use super::murmur2::partition_of;
use crate::workload::{Event, Workload};

/// One record, made.
pub(super) struct Made {
    pub(super) topic: usize,
    pub(super) partition: usize,
    /// Kafka stores it beside the body.
    #[cfg(feature = "kafka")]
    pub(super) key: String,
    pub(super) body: Bytes,
}

/// Makes the records of a workload.
pub(super) struct Maker<'w> {
    workload: &'w Workload,
    sources: Vec<String>,
    partitions: usize,
}

impl<'w> Maker<'w> {
    pub(super) fn new(workload: &'w Workload, topics: &[String]) -> Self {
        let sources = topics.iter().map(|topic| format!("/busline/{topic}")).collect();
        Self { workload, sources, partitions: TopicSpec::default().partitions as usize }
    }

    pub(super) fn make(&self, event: Event) -> Made {
        let envelope = self.workload.envelope(event);
        let topic = self.workload.topic_of(event.aggregate);
        let mut body = Vec::new();
        Wire::CloudEvents.encode(&envelope, &self.sources[topic], &mut body);
        let partition = partition_of(envelope.aggregate_id.as_bytes(), self.partitions);
        Made {
            topic,
            partition,
            #[cfg(feature = "kafka")]
            key: envelope.aggregate_id,
            body: body.into(),
        }
    }
}
