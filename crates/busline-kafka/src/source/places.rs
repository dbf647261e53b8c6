//! Partitions that are not read where they should be: their place in the log is gone, or a seek did not work at once.

use std::collections::BTreeSet;
use std::time::Duration;

use busline_core::{Offset, Partition, Result};
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::Offset as KafkaOffset;
use tokio::time::Instant;

use super::consumer::{Consumer, give_up, take};
use super::member::Shared;
use crate::error;

/// Pause before a lost place is looked for again, and longest wait for a seek.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The displaced partitions of a member.
pub(super) struct Places {
    displaced: BTreeSet<Partition>,
    looked: Instant,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { displaced: BTreeSet::new(), looked: Instant::now() }
    }

    /// The log does not hold this partition's place any more; it is looked for at once.
    pub(super) fn lost(&mut self, partition: Partition) {
        self.displaced.insert(partition);
        self.looked = Instant::now() - LOOK_AGAIN;
    }

    /// Whether what the client has read of this partition may lie behind records that are still to be read.
    pub(super) fn is_displaced(&self, partition: Partition) -> bool {
        self.displaced.contains(&partition)
    }

    /// The member does not read this partition any more.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.displaced.remove(&partition);
    }

    /// The member reads nothing any more.
    pub(super) fn clear(&mut self) {
        self.displaced.clear();
    }

    /// Reads a partition on from this offset; where that does not work at once it is done again later.
    pub(super) fn seek(&mut self, shared: &Shared, consumer: &Consumer, partition: Partition, offset: Offset) {
        let topic = &shared.request.topic.name;
        let at = KafkaOffset::Offset(offset.0 as i64);
        self.displaced.remove(&partition);
        if let Err(failed) = consumer.seek(topic.as_str(), partition.0 as i32, at, LOOK_AGAIN) {
            tracing::debug!("seek {topic}/{partition}: {failed}");
            self.displaced.insert(partition);
            self.looked = Instant::now();
        }
    }

    /// Reads on at the start of the log if records were deleted, else where a partition is as soon as the log has come
    /// there.
    pub(super) fn find_again(&mut self, shared: &Shared, consumer: &Consumer) {
        if self.displaced.is_empty() || self.looked.elapsed() < LOOK_AGAIN {
            return;
        }
        self.looked = Instant::now();
        self.displaced.retain(|partition| match find(shared, consumer, *partition) {
            Ok(is_found) => !is_found,
            Err(failed) => {
                tracing::warn!("{}", failed.at("read", format!("{}/{partition}", shared.request.topic.name)));
                true
            }
        });
    }
}

/// Whether a partition is read again, or need not be.
fn find(shared: &Shared, consumer: &Consumer, partition: Partition) -> Result<bool> {
    let (clients, name) = (&shared.clients, &shared.request.topic.name);
    let Some(next) = shared.state().ahead.next(partition) else { return Ok(true) };
    let (low, high) = clients.readers.watermarks(clients, name, partition)?;
    if next > high {
        return Ok(false);
    }
    shared.change(|state| state.ahead.skip_to(partition, low));
    // A partition whose fetching has stopped cannot be sought; it is given up and taken again.
    let taken =
        give_up(consumer, name, &[partition]).and_then(|()| take(consumer, name, &[(partition, next.max(low))]));
    taken.map(|()| true).map_err(|failed| error::of(&failed))
}
