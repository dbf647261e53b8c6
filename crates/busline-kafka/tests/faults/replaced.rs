//! A topic that is deleted under load, and made again: the client itself never notices.

use std::time::Duration;

use busline_core::{Envelope, Offset, Partition, TopicSpec};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, TopicPartitionList};

use crate::broker;
use crate::load::connect;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_again_ends_its_publishers() {
    let bus = connect(&broker::bootstrap()).await;
    let topic = format!("conformance-replaced-{:x}", std::process::id());
    let publisher = bus.publisher(&topic).on_failure(drop).open().await.expect("opens");
    publisher.publish_sync(Envelope::new("key", "Happened", 1)).await.expect("acked");
    let name = topic.parse().expect("legal");
    bus.driver().delete_topic(&name).await.expect("deleted");
    bus.driver().create_topic(&name, &TopicSpec::default()).await.expect("made again");
    // The topic's id is looked at about once a second.
    let mut version = 1;
    let error = loop {
        version += 1;
        match publisher.publish_sync(Envelope::new("key", "Happened", version)).await {
            Ok(_) => assert!(version < 200, "nobody notices"),
            Err(error) => break error,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(error.code(), "NotFound/TopicReplaced", "{error}");
    let again = bus.publisher(&topic).open().await.expect("opens");
    again.publish_sync(Envelope::new("key", "Happened", 1)).await.expect("the new one works");
    bus.close(Duration::from_secs(10)).await.expect("closes");
}

/// Brokers forget the offsets of a deleted topic in time, and a commit that is late can come after that.
#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_another_incarnation_count_as_none() {
    let bus = connect(&broker::bootstrap()).await;
    let topic = format!("conformance-again-{:x}", std::process::id());
    let (name, group) = (topic.parse().expect("legal"), "readers".parse().expect("legal"));
    let driver = bus.driver();
    let one = TopicSpec { partitions: 1, ..TopicSpec::default() };
    driver.create_topic(&name, &one).await.expect("made");
    let publisher = bus.publisher(&topic).open().await.expect("opens");
    for version in 1..=7 {
        publisher.publish_sync(Envelope::new("key", "Happened", version)).await.expect("acked");
    }
    driver.move_committed(&group, &name, &[(Partition(0), Offset(7))]).await.expect("nobody reads");
    assert_eq!(driver.committed(&group, &name).await.expect("offsets")[0], Some(Offset(7)));
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker::bootstrap())
        .set("group.id", format!("{topic}..readers"))
        .create()
        .expect("a plain consumer");
    let mut list = TopicPartitionList::new();
    let mut late = list.add_partition(&topic, 0);
    late.set_offset(rdkafka::Offset::Offset(9)).expect("an offset");
    late.set_metadata("00000000000000000000000000000000");
    consumer.commit(&list, CommitMode::Sync).expect("committed");
    assert_eq!(driver.committed(&group, &name).await.expect("offsets")[0], None);
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
