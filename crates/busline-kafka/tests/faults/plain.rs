//! Reads a topic with a plain client, which knows nothing of the bus.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// The bodies of each key in the order of the log.
pub(crate) fn read(bootstrap: &str, topic: &str, partitions: u32) -> HashMap<String, Vec<String>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "plain-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a plain consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("assigned");
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    let (mut open, start) = (partitions, Instant::now());
    while open > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "the topic cannot be read");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
                found.entry(text(message.key())).or_default().push(text(message.payload()));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => println!("plain reader: {error}"),
            None => {}
        }
    }
    found
}
