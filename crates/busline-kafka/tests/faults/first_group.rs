//! Brokers that have never seen a group make the topic for its offsets first, and answer for a moment that somebody else
//! is responsible.

use std::time::Duration;

use busline_brokers::kafka::{Options, Server};
use busline_core::{GroupName, TopicName};

use crate::load::connect;

const ASKING: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn many_ask_for_the_first_groups_of_a_broker() {
    let server = Server::start(&Options::default()).expect("a broker starts");
    let topic: TopicName = "conformance-first-group".parse().expect("legal");
    let bus = connect(&server.bootstrap()).await;
    bus.driver().create_topic(&topic, &busline_core::TopicSpec::default()).await.expect("made");
    let asking = (0..ASKING).map(|number| {
        let (bootstrap, topic) = (server.bootstrap(), topic.clone());
        tokio::runtime::Handle::current().spawn(async move {
            let bus = connect(&bootstrap).await;
            let group: GroupName = format!("readers-{number}").parse().expect("legal");
            let offsets = bus.driver().committed(&group, &topic).await.expect("an answer");
            assert!(offsets.iter().all(Option::is_none), "{offsets:?}");
            bus.close(Duration::from_secs(10)).await.expect("closes");
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.expect("no panic");
    }
    bus.close(Duration::from_secs(10)).await.expect("closes");
}
