//! Groups that are moved to the end of a log whose last offset holds no record.

use std::time::Duration;

use busline_core::{Offset, Partition, TopicSpec};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::broker;
use crate::load::connect;

const WAIT: Duration = Duration::from_secs(30);

/// Stores one record in a transaction, whose marker takes an offset, too.
fn produce(topic: &str) {
    let client: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker::bootstrap())
        .set("transactional.id", topic)
        .create()
        .expect("a plain producer");
    client.init_transactions(WAIT).expect("a transactional id");
    client.begin_transaction().expect("begun");
    client.send(BaseRecord::to(topic).partition(0).key("a").payload("{}")).expect("there is room");
    client.commit_transaction(WAIT).expect("committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_may_be_moved_behind_a_marker_and_not_beyond_the_end() {
    let bus = connect(&broker::bootstrap()).await;
    let topic = format!("conformance-moved-{:x}", std::process::id());
    let (name, group) = (topic.parse().expect("legal"), "readers".parse().expect("legal"));
    let driver = bus.driver();
    let one = TopicSpec { partitions: 1, ..TopicSpec::default() };
    driver.create_topic(&name, &one).await.expect("made");
    tokio::task::spawn_blocking(move || produce(&topic)).await.expect("no panic");
    let moved = async |to| driver.move_committed(&group, &name, &[(Partition(0), Offset(to))]).await;
    let error = moved(3).await.expect_err("what is stored there later would be passed over");
    assert_eq!(error.code(), "Invalid/Offset", "{error}");
    assert_eq!(driver.committed(&group, &name).await.expect("offsets"), [None], "nothing was moved");
    moved(2).await.expect("behind the marker");
    assert_eq!(driver.committed(&group, &name).await.expect("offsets"), [Some(Offset(2))]);
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
