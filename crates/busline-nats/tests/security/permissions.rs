//! Users that may publish to some partitions of a topic and not to others.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Bus, Driver, Envelope, Offset, Partition, ReadRequest, TopicName, TopicSpec, partition_of};

use crate::door::{SOON, open};

/// A server that lets one user into everything but the second partition of each topic.
fn server() -> Server {
    let config = r#"authorization { users: [
        { user: all, password: all }
        { user: some, password: some, permissions: { publish: { deny: ["*.1", "*.*.1"] } } }
    ] }"#;
    Server::start(&Options { config: config.into(), ..Options::default() }).unwrap_or_else(|error| panic!("{error}"))
}

fn key_in(partition: u32) -> String {
    let mut keys = (0..).map(|number| format!("key-{number}"));
    keys.find(|key| partition_of(key.as_bytes(), 2) == Partition(partition)).expect("one of them")
}

async fn stored(driver: &Arc<dyn Driver>, topic: &TopicName, partition: u32) -> usize {
    let (from, to) = (Offset(0), Offset(u64::MAX));
    let request = ReadRequest { partition: Partition(partition), from, to, records_max: 1_000, bytes_max: 1 << 24 };
    driver.read(topic, request).await.expect("read").len()
}

/// Publishes to both partitions at once, again and again; what is denied has failed, and nothing else has.
async fn publish_to_both(strategy: &str, streams: u32) {
    const ROUNDS: usize = 10;
    let server = server();
    let url = |user: &str| format!("nats://{user}:{user}@127.0.0.1:{}?strategy={strategy}", server.port());
    let all = open(&url("all"), &[]).await;
    let topic: TopicName = "orders".parse().expect("legal");
    let spec = TopicSpec { partitions: 2, streams, ..TopicSpec::default() };
    all.driver().create_topic(&topic, &spec).await.expect("made");
    let some: Bus = open(&url("some"), &[]).await;
    let deadline = Duration::from_secs(30);
    let publisher = some.publisher(topic.as_str()).deadline(deadline).on_failure(drop).open().await.expect("opens");
    let (granted, denied) = (key_in(0), key_in(1));
    let event = |key: &str, version: u64| Envelope::new(key, "Happened", version).json(&version).expect("json");
    for round in 0..ROUNDS as u64 {
        let batch = vec![event(&granted, 2 * round + 1), event(&denied, round + 1), event(&granted, 2 * round + 2)];
        let outcomes = publisher.publish_batch(batch).await.expect("outcomes");
        for at in [0, 2] {
            outcomes[at].as_ref().unwrap_or_else(|error| panic!("{strategy}, round {round}: {error}"));
        }
        let error = outcomes[1].as_ref().expect_err("denied");
        assert_eq!(error.code(), "Denied/Publish", "{strategy}, round {round}: {error}");
        assert!(error.is_definite(), "{error}");
    }
    assert_eq!(stored(all.driver(), &topic, 0).await, 2 * ROUNDS, "{strategy}");
    assert_eq!(stored(all.driver(), &topic, 1).await, 0, "{strategy}");
    some.close(SOON).await.expect("closes");
    all.close(SOON).await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_partition_is_denied_another_has_not_failed() {
    publish_to_both("fast", 2).await;
    publish_to_both("pipelined", 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_denied_in_the_middle_of_a_batch_of_one_stream_has_failed_alone() {
    publish_to_both("fast", 1).await;
    publish_to_both("pipelined", 1).await;
}
