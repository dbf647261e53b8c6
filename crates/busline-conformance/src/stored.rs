//! What a topic holds, read through the driver alone.

use busline_core::{Driver, Envelope, Offset, Partition, ReadRequest, Record, TopicName};

/// All records of a topic, by partition and offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    topic: TopicName,
    records: Vec<Record>,
}

impl Stored {
    /// Reads every partition from its start to its end.
    pub(crate) async fn read(driver: &dyn Driver, topic: &TopicName) -> Self {
        let info = driver.topic(topic).await.expect("the topic exists");
        let mut records = Vec::new();
        for partition in (0..info.spec.partitions).map(Partition) {
            let bounds = driver.bounds(topic, partition).await.expect("bounds of a partition that exists");
            let mut from = bounds.start;
            while from < bounds.end {
                let request = ReadRequest { partition, from, to: bounds.end, records_max: 10_000, bytes_max: 1 << 24 };
                let read = driver.read(topic, request).await.expect("a read within the bounds");
                let Some(last) = read.last() else { break };
                from = last.offset.next();
                records.extend(read);
            }
        }
        Self { topic: topic.clone(), records }
    }

    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// The envelopes, by partition and offset.
    pub(crate) fn envelopes(&self) -> Vec<Envelope> {
        self.records.iter().map(|record| self.envelope(record)).collect()
    }

    pub(crate) fn envelope(&self, record: &Record) -> Envelope {
        record.envelope(&self.topic).expect("a stored envelope can be decoded")
    }

    /// The ids of a key, in the order in which they are stored.
    pub(crate) fn ids_of(&self, key: &str) -> Vec<String> {
        let of_key = self.records.iter().filter(|record| record.key == key.as_bytes());
        of_key.map(|record| self.envelope(record).id).collect()
    }

    /// How many records have this id.
    pub(crate) fn count(&self, id: &str) -> usize {
        self.envelopes().iter().filter(|envelope| envelope.id == id).count()
    }

    pub(crate) fn at(&self, partition: Partition, offset: Offset) -> Option<Envelope> {
        let found = self.records.iter().find(|record| record.partition == partition && record.offset == offset);
        found.map(|record| self.envelope(record))
    }
}
