//! A topic that is deleted under load, and made again: the client itself never notices.

use std::time::Duration;

use busline_core::{Envelope, TopicSpec};

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

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_deleted_topic_are_none_of_the_new_one() {
    let bus = connect(&broker::bootstrap()).await;
    let topic = format!("conformance-again-{:x}", std::process::id());
    let (name, group) = (topic.parse().expect("legal"), "readers".parse().expect("legal"));
    let driver = bus.driver();
    let first = driver.create_topic(&name, &TopicSpec::default()).await.expect("made");
    let to = [(busline_core::Partition(0), busline_core::Offset(7))];
    driver.move_committed(&group, &name, &to).await.expect("nobody reads");
    assert_eq!(driver.committed(&group, &name).await.expect("offsets")[0], Some(busline_core::Offset(7)));
    driver.delete_topic(&name).await.expect("deleted");
    let second = driver.create_topic(&name, &TopicSpec::default()).await.expect("made again");
    assert_ne!(first.incarnation, second.incarnation);
    assert_eq!(driver.committed(&group, &name).await.expect("offsets")[0], None);
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
