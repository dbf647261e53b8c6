//! Java's own clients and the bus on one topic: each reads what the other wrote, and both choose the same partitions.

#[path = "../broker/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the fault tests use the rest")]
mod broker;
mod java;
mod partitions;
mod read_by_java;
mod written_by_java;

use std::sync::Arc;

use busline_core::{Bus, Driver, TopicName, TopicSpec};
use busline_kafka::{KafkaConfig, KafkaDriver};

/// A bus, and a new topic of so many partitions that no other run has.
async fn bus_with(topic: &str, partitions: u32) -> (Bus, TopicName) {
    let driver = KafkaDriver::open(KafkaConfig::new([broker::bootstrap()])).await.expect("the broker answers");
    let name = TopicName::new(&format!("conformance-{topic}-{:x}", std::process::id())).expect("legal");
    let spec = TopicSpec { partitions, ..TopicSpec::default() };
    driver.create_topic(&name, &spec).await.expect("a new topic");
    (Bus::new(Arc::new(driver)), name)
}
