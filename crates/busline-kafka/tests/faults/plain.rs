//! Reads a topic with a plain client, which knows nothing of the bus.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// A topic that gives nothing for so long cannot be read.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The event versions of each key in the order of the log.
pub(crate) fn read(bootstrap: &str, topic: &str, partitions: u32) -> HashMap<String, Vec<usize>> {
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
    let mut found: HashMap<String, Vec<usize>> = HashMap::new();
    let (mut open, mut heard) = (partitions, Instant::now());
    while open > 0 {
        assert!(heard.elapsed() < SILENCE_MAX, "the topic cannot be read");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                found.entry(key).or_default().push(version(message.payload().unwrap_or_default()));
                heard = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => println!("plain reader: {error}"),
            None => {}
        }
    }
    found
}

/// The event version in a stored CloudEvent: its sequence of 20 digits.
fn version(body: &[u8]) -> usize {
    let body = String::from_utf8_lossy(body);
    let (_, rest) = body.split_once(r#""sequence":""#).expect("a CloudEvent with a sequence");
    rest[..20].parse().expect("20 digits")
}
