//! Topics with their ids, which no other request of the client gives.

#![expect(unsafe_code, reason = "the wrapper lacks topic ids; every pointer is read while its answer lives")]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char};
use std::sync::Arc;
use std::time::Duration;

use busline_core::Result;
use rdkafka::bindings as c;
use uuid::Uuid;

use super::ask::{Answer, Ask, Native, check};

/// A topic as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) partitions: u32,
    /// The fewest replicas of any partition.
    pub(crate) replicas: usize,
    /// Whether each partition has a leader.
    pub(crate) is_led: bool,
    /// Brokers that lead a partition.
    pub(crate) leaders: usize,
}

/// Asks for topics by name.
pub(crate) fn ask_topics(client: &Arc<dyn Native>, names: &[&str], limit: Duration) -> Result<Ask> {
    let names: Vec<CString> = names.iter().filter_map(|name| CString::new(*name).ok()).collect();
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    Ask::send(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, limit, |client, options, queue| {
        // SAFETY: the collection copies the names, the request copies the collection.
        unsafe {
            let topics = c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            c::rd_kafka_DescribeTopics(client, topics, options, queue);
            c::rd_kafka_TopicCollection_destroy(topics);
        }
    })
}

/// Waits for topics by name, in the order asked.
pub(crate) fn describe_topics(
    client: &Arc<dyn Native>,
    names: &[&str],
    limit: Duration,
) -> Result<Vec<Result<Described>>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(described(&ask_topics(client, names, limit)?.wait(limit)?))
}

/// What the answer says of each topic.
pub(crate) fn described(answer: &Answer) -> Vec<Result<Described>> {
    // SAFETY: everything read here belongs to the answer and is copied before it ends.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(answer.event());
        let mut count = 0;
        let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        (0..count).map(|place| describe(*topics.add(place))).collect()
    }
}

/// # Safety
/// The topic belongs to an answer that lives.
unsafe fn describe(topic: *const c::rd_kafka_TopicDescription_t) -> Result<Described> {
    // SAFETY: by the condition of this function.
    unsafe {
        check(c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(topic)))?;
        let id = c::rd_kafka_TopicDescription_topic_id(topic);
        let (high, low) = (c::rd_kafka_Uuid_most_significant_bits(id), c::rd_kafka_Uuid_least_significant_bits(id));
        let mut count = 0;
        let partitions = c::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let (mut replicas, mut is_led, mut leaders) = (usize::MAX, true, BTreeSet::new());
        for place in 0..count {
            let partition = *partitions.add(place);
            let leader = c::rd_kafka_TopicPartitionInfo_leader(partition);
            let leader = (!leader.is_null()).then(|| c::rd_kafka_Node_id(leader)).filter(|broker| *broker >= 0);
            is_led &= leader.is_some();
            leaders.extend(leader);
            let mut copies = 0;
            c::rd_kafka_TopicPartitionInfo_replicas(partition, &raw mut copies);
            replicas = replicas.min(copies);
        }
        Ok(Described {
            name: CStr::from_ptr(c::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned(),
            id: Uuid::from_u64_pair(high as u64, low as u64),
            partitions: count as u32,
            replicas,
            is_led,
            leaders: leaders.len(),
        })
    }
}
