//! Where a group begins, and what it has committed.

use std::time::Duration;

use busline_core::{Offset, Partition, Result, Start};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};

use super::consumer::Consumer;
use super::member::Shared;
use crate::{error, groups};

/// Longest wait for committed offsets; then the member answers its group, and asks again.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The committed offsets of these partitions. Where the group has none, its start is resolved and committed first.
///
/// # Source
/// Promise C12.
pub(super) fn committed(
    shared: &Shared,
    consumer: &Consumer,
    partitions: &[Partition],
) -> Result<Vec<(Partition, Offset)>> {
    if partitions.is_empty() {
        // The client refuses to ask for nothing.
        return Ok(Vec::new());
    }
    let topic = &shared.request.topic;
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic.name.as_str(), partition.0 as i32);
    }
    let found = consumer.committed_offsets(asked, ANSWER_MAX).map_err(|failed| error::of(&failed))?;
    let mark = groups::mark(topic.incarnation);
    let mut committed = Vec::new();
    let mut missing = Vec::new();
    for element in found.elements() {
        element.error().map_err(|failed| error::of(&failed))?;
        let partition = Partition(element.partition() as u32);
        match element.offset() {
            // The offset of a topic that was deleted is none of this one's.
            KafkaOffset::Offset(offset) if element.metadata() == mark => {
                committed.push((partition, Offset(offset as u64)));
            }
            _ => missing.push(partition),
        }
    }
    if !missing.is_empty() {
        let started = starts(shared, &missing)?;
        let list = groups::marked(&topic.name, topic.incarnation, &started)?;
        consumer.commit(&list, CommitMode::Sync).map_err(|failed| error::of(&failed))?;
        committed.extend(started);
    }
    Ok(committed)
}

/// Where these partitions begin for a group without committed offsets.
fn starts(shared: &Shared, partitions: &[Partition]) -> Result<Vec<(Partition, Offset)>> {
    let (clients, topic) = (&shared.clients, &shared.request.topic.name);
    let numbers: Vec<u32> = partitions.iter().map(|partition| partition.0).collect();
    let extremes = |extreme| clients.readers.extremes(clients, topic, numbers.clone(), extreme);
    let offsets = match &shared.request.start {
        Start::Earliest => extremes(KafkaOffset::Beginning)?,
        Start::Latest => extremes(KafkaOffset::End)?,
        Start::Offsets(named) => {
            let first = extremes(KafkaOffset::Beginning)?;
            let of = |(partition, first): (&Partition, Offset)| {
                named.iter().find(|(of, _)| of == partition).map_or(first, |(_, offset)| *offset)
            };
            partitions.iter().zip(first).map(of).collect()
        }
        Start::Time(time) => partitions
            .iter()
            .map(|partition| clients.readers.offset_at(clients, topic, *partition, *time))
            .collect::<Result<Vec<_>>>()?,
    };
    Ok(partitions.iter().copied().zip(offsets).collect())
}
