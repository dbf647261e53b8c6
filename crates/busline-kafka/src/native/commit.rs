//! Commits whose answer is waited for without blocking.

#![expect(unsafe_code, reason = "the wrapper's asynchronous commit never tells how it ended")]

use std::sync::Arc;

use busline_core::{Offset, Partition, Result};
use rdkafka::TopicPartitionList;
use rdkafka::bindings as c;

use super::ask::{Answer, Ask, Native, check};
use super::groups::elements;

/// Commits these offsets as a member of the client's group.
pub(crate) fn commit(client: &Arc<dyn Native>, offsets: &TopicPartitionList) -> Result<Ask> {
    let ask = Ask::new(client)?;
    // SAFETY: the request copies the list; without a callback the answer goes to the queue alone.
    let code =
        unsafe { c::rd_kafka_commit_queue(client.pointer(), offsets.ptr(), ask.queue(), None, std::ptr::null_mut()) };
    check(code).map(|()| ask)
}

/// What was committed.
///
/// # Errors
/// The first that any of the partitions met.
pub(crate) fn committed(answer: &Answer) -> Result<Vec<(Partition, Offset)>> {
    answer.check()?;
    // SAFETY: the list belongs to the answer and is copied.
    let list = unsafe { elements(c::rd_kafka_event_topic_partition_list(answer.event())) };
    let of = |partition: &c::rd_kafka_topic_partition_t| {
        check(partition.err)?;
        Ok((Partition(partition.partition as u32), Offset(partition.offset.max(0) as u64)))
    };
    list.iter().map(of).collect()
}
