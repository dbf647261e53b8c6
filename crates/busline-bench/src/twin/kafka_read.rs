//! The reading twin of the Kafka driver: raw rdkafka, one consumer of all partitions, one loop.
//!
//! It decodes each envelope with busline-core's codec. It joins no group, keeps no order beyond a partition's, runs no
//! handler and commits nothing.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use busline::{KafkaConfig, TopicSpec};
use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::came_to::TwinRead;
use super::kafka::{client, warm};
use crate::measure::cpu_time;

/// Longest wait for a record before the rest counts as not there.
const STALL_MAX: Duration = Duration::from_secs(20);

/// Reads so many records of these topics, from the first one at hand to the last. Blocks.
///
/// # Errors
/// What the client or the codec refuses.
pub(crate) fn read(url: &str, topics: &[String], records: u64) -> Result<TwinRead> {
    let consumer: BaseConsumer = client(&KafkaConfig::parse(url)?)
        .set("group.id", "busline-bench-twin")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "20")
        .set("queued.min.messages", "20000")
        .create()
        .context("the twin's consumer")?;
    // A partition whose leader is not known yet is asked for its first offset half a second later.
    warm(consumer.client(), topics)?;
    let mut partitions = TopicPartitionList::new();
    for topic in topics {
        for partition in 0..TopicSpec::default().partitions as i32 {
            partitions.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&partitions).context("the twin's partitions")?;
    let (mut read, mut from, mut last) = (0, None, Instant::now());
    while read < records && last.elapsed() < STALL_MAX {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message.context("the twin's message")?;
        from.get_or_insert_with(|| (Instant::now(), cpu_time()));
        let body = Bytes::copy_from_slice(message.payload().unwrap_or_default());
        black_box(busline::decode(&body, String::new)?);
        read += 1;
        if read % 256 == 0 {
            last = Instant::now();
        }
    }
    let (start, cpu) = from.unwrap_or_else(|| (Instant::now(), cpu_time()));
    Ok(TwinRead { records: read, read_in: start.elapsed(), cpu: cpu_time() - cpu })
}
