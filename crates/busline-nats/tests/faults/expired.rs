//! Records that a topic deletes before the publisher has heard that they were stored.

use std::time::Duration;

use busline_brokers::nats::{Options, Server};
use busline_core::{Bus, Driver, Envelope, PublisherSettings, Result, Retention, TopicName, TopicSpec};
use busline_nats::NatsDriver;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::load::{STRATEGIES, driver};
use crate::proxy::Proxy;

const SOON: Duration = Duration::from_secs(60);

/// How long the topic keeps its records, and the server their ids.
const KEPT: Duration = Duration::from_secs(3);

fn event(version: u64) -> Envelope {
    Envelope::new("k", "Happened", version).json(&version).expect("json")
}

/// How many records the topic has ever stored, and how many it holds.
async fn stored(direct: &NatsDriver, topic: &str) -> (u64, u64) {
    let asked = direct.as_nats().request(format!("$JS.API.STREAM.INFO.{topic}"), "".into());
    let answer = timeout(SOON, asked).await.expect("in time").expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    let number = |name: &str| answer["state"][name].as_u64().expect("a number");
    (number("last_seq"), number("messages"))
}

async fn until_stored(direct: &NatsDriver, topic: &str, holds: impl Fn((u64, u64)) -> bool) {
    let end = Instant::now() + SOON;
    while !holds(stored(direct, topic).await) {
        assert!(Instant::now() < end, "it did not come");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Publishes `records` at once whose acks are lost, for longer than the topic keeps them, and one more behind them. No
/// record is stored a second time, and nobody says of them that they are not stored.
async fn lose_the_acks(strategy: &str, records: u64) {
    let server = Server::start(&Options::default()).expect("a server");
    let proxy = Proxy::start(server.port()).await;
    let direct = driver(server.port(), strategy).await;
    let topic: TopicName = "brief".parse().expect("legal");
    let retention = Retention { age_max: Some(KEPT), ..Retention::default() };
    let spec = TopicSpec { partitions: 1, retention, ..TopicSpec::default() };
    direct.create_topic(&topic, &spec).await.expect("made");
    let bus = Bus::new(driver(proxy.port(), strategy).await);
    let settings = PublisherSettings { deadline: SOON, ..PublisherSettings::default() };
    let publisher = bus.publisher("brief").settings(settings).on_failure(drop).open().await.expect("opens");
    publisher.publish_sync(event(1)).await.expect("acked");

    proxy.mute(true);
    let lost = async {
        match records {
            1 => publisher.publish_sync(event(2)).await.map(drop),
            _ => publisher.publish_atomic((2..2 + records).map(event).collect()).await.map(drop),
        }
    };
    let meanwhile = async {
        until_stored(&direct, "brief", |(last, _)| last == 1 + records).await;
        until_stored(&direct, "brief", |(_, held)| held == 0).await;
        // The server looks through its ids less often than through its records.
        sleep(KEPT).await;
        proxy.mute(false);
        proxy.cut_all();
    };
    let (outcome, ()): (Result<()>, ()) = tokio::join!(lost, meanwhile);
    assert_eq!(stored(&direct, "brief").await.0, 1 + records, "{strategy}: each is stored once");
    let error = outcome.expect_err("nobody knows what became of them");
    assert!(!error.is_definite(), "{strategy}: {error}");
    publisher.publish_sync(event(2 + records)).await.unwrap_or_else(|error| panic!("{strategy}: {error}"));
    assert_eq!(stored(&direct, "brief").await.0, 2 + records, "{strategy}: each is stored once");
    bus.close(SOON).await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_expired_before_its_ack_came_is_not_stored_again() {
    for strategy in STRATEGIES {
        lose_the_acks(strategy, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_atomic_batch_that_expired_before_its_ack_came_is_not_stored_again() {
    for strategy in STRATEGIES {
        lose_the_acks(strategy, 2).await;
    }
}
