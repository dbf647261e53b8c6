//! What the bus publishes is key and value to Java's console consumer, byte for byte.

use std::collections::HashMap;
use std::time::Duration;

use busline_core::{Envelope, decode};
use bytes::Bytes;

use crate::bus_with;
use crate::java::console_consumer;

const KEYS: [&str; 4] = ["order-1", "order-2", "käse", "with space"];
const VERSIONS: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn javas_console_consumer_reads_key_and_value_in_order() {
    let (bus, topic) = bus_with("java-reads", 3).await;
    let publisher = bus.publisher(topic.as_str()).open().await.expect("opens");
    let mut published: HashMap<&str, Vec<Envelope>> = HashMap::new();
    for version in 1..=VERSIONS {
        for key in KEYS {
            let envelope = Envelope::new(key, "Happened", version).json(&(key, version)).expect("json");
            publisher.publish_sync(envelope.clone()).await.expect("acked");
            published.entry(key).or_default().push(envelope);
        }
    }
    let mut read: HashMap<String, Vec<Envelope>> = HashMap::new();
    for record in console_consumer(topic.as_str(), KEYS.len() * VERSIONS as usize) {
        let envelope = decode(&Bytes::from(record.value), || panic!("it has an id of its own")).expect("an envelope");
        assert_eq!(record.key, envelope.aggregate_id, "the record's key is the aggregate's id");
        read.entry(record.key).or_default().push(envelope);
    }
    for (key, published) in published {
        let read = &read[key];
        assert_eq!(read.len(), published.len(), "{key}");
        for (read, published) in read.iter().zip(published) {
            assert_eq!((&read.id, read.event_version), (&published.id, published.event_version), "{key}");
            assert_eq!(read.event_type, published.event_type, "{key}");
            assert_eq!(read.occurred_at, published.occurred_at, "{key}");
            assert_eq!(read.payload, published.payload, "{key}");
        }
    }
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
