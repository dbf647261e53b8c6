//! A key's partition is the same for Java's client and for the bus.

use std::collections::HashMap;
use std::time::Duration;

use busline_core::{Envelope, Partition, partition_of};

use crate::bus_with;
use crate::java::{console_consumer, console_producer};

/// Keys, with their partitions of 6 and of 12 as Java's client chooses them.
const KEYS: [(&str, u32, u32); 6] =
    [("", 3, 9), ("21", 0, 0), ("abc", 3, 3), ("foobar", 0, 6), ("order-1", 4, 10), ("a-little-bit-long-string", 2, 8)];

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_javas_producer_lies_where_the_bus_would_put_it() {
    for partitions in [6, 12] {
        let (bus, topic) = bus_with(&format!("java-places-{partitions}"), partitions).await;
        let publisher = bus.publisher(topic.as_str()).open().await.expect("opens");
        console_producer(topic.as_str(), KEYS.map(|(key, ..)| (key, "by-java")));
        // An event's aggregate is never empty, so the empty key is Java's alone.
        for (key, ..) in &KEYS[1..] {
            let ack = publisher.publish_sync(Envelope::new(*key, "Happened", 1)).await.expect("acked");
            assert_eq!(ack.partition, partition_of(key.as_bytes(), partitions), "{key} of {partitions}");
        }
        let records = console_consumer(topic.as_str(), KEYS.len() + KEYS.len() - 1);
        let (javas, ours): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.value == "by-java");
        let javas: HashMap<String, u32> = javas.into_iter().map(|record| (record.key, record.partition)).collect();
        for (key, of_six, of_twelve) in KEYS {
            let expected = if partitions == 6 { of_six } else { of_twelve };
            assert_eq!(javas[key], expected, "'{key}' of {partitions}");
            assert_eq!(partition_of(key.as_bytes(), partitions), Partition(expected), "'{key}' of {partitions}");
        }
        assert_eq!(ours.len(), KEYS.len() - 1);
        for record in ours {
            assert_eq!(record.partition, javas[&record.key], "'{}' of {partitions}", record.key);
        }
        bus.close(Duration::from_secs(10)).await.expect("closes");
    }
}
