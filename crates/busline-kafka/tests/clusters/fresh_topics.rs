//! Publishing at once to topics that were just made, where some brokers may not know yet who leads them.

use std::time::Duration;

use busline_conformance::fault_rounds;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::load::{Load, PARTITIONS, all_acked, connect, judge, tell};
use crate::place::{cluster, create};

#[tokio::test(flavor = "multi_thread")]
async fn publishing_at_once_to_a_fresh_topic_loses_nothing() {
    let cluster = cluster().await;
    let bus = connect(&cluster.bootstrap()).await;
    for round in 0..fault_rounds(5) {
        let topic = format!("fresh-{round}");
        create(&cluster, &topic).await;
        let load = Load::start(bus.publisher(&topic).open().await.expect("opens"));
        load.more(2_000).await;
        let outcomes = load.end().await;
        assert!(all_acked(&outcomes), "nothing disturbs it");
        judge(&cluster.bootstrap(), &topic, &outcomes);
        tell("topic made on one of three", 1, None, &outcomes, None);
    }
    bus.close(Duration::from_secs(10)).await.expect("closes");
}

/// Made by somebody else a moment before: brokers that have not heard of it say that it is not there, and one that has says
/// that it is there already.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_somebody_elses_is_published_to_as_soon_as_it_is_made() {
    let cluster = cluster().await;
    let bus = connect(&cluster.bootstrap()).await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap()).create().expect("an admin client");
    for round in 0..fault_rounds(10) {
        let topic = format!("others-{round}");
        let wanted = NewTopic::new(&topic, PARTITIONS as i32, TopicReplication::Fixed(3));
        for made in admin.create_topics([&wanted], &AdminOptions::new()).await.expect("an answer") {
            made.expect("a new topic");
        }
        let load = Load::start(bus.publisher(&topic).open().await.expect("opens"));
        load.more(1_000).await;
        let outcomes = load.end().await;
        assert!(all_acked(&outcomes), "nothing disturbs it");
        judge(&cluster.bootstrap(), &topic, &outcomes);
        tell("topic made on one of three", 1, None, &outcomes, None);
    }
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
