//! Records as the bus stores them on a server, made for a native client.

use std::sync::Arc;

use busline::{Headers, TopicSpec, Wire};
use bytes::Bytes;

use super::murmur2::partition_of;
use crate::workload::{Event, Workload};

/// One record, made.
pub(crate) struct Made {
    pub(crate) topic: usize,
    pub(crate) partition: usize,
    /// Kafka stores it beside the body.
    #[cfg(feature = "kafka")]
    pub(crate) key: String,
    /// Empty unless the workload has headers.
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// Makes the records of a workload.
pub(crate) struct Maker {
    workload: Arc<Workload>,
    sources: Vec<String>,
    partitions: usize,
}

impl Maker {
    pub(crate) fn new(workload: Arc<Workload>, topics: &[String]) -> Self {
        let sources = topics.iter().map(|topic| format!("/busline/{topic}")).collect();
        Self { workload, sources, partitions: TopicSpec::default().partitions as usize }
    }

    /// Partitions of each topic.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    pub(crate) fn make(&self, event: Event) -> Made {
        let envelope = self.workload.envelope(event);
        let topic = self.workload.topic_of(event.aggregate);
        let mut body = Vec::new();
        Wire::CloudEvents.encode(&envelope, &self.sources[topic], &mut body);
        let partition = partition_of(envelope.aggregate_id.as_bytes(), self.partitions);
        Made {
            topic,
            partition,
            headers: envelope.headers,
            #[cfg(feature = "kafka")]
            key: envelope.aggregate_id,
            body: body.into(),
        }
    }
}
