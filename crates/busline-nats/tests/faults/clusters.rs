//! Three nodes and topics of three copies, whose leaders are killed, frozen and asked to step down under load.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Cluster, Options};
use busline_core::{Driver, TopicName, TopicSpec};
use busline_nats::NatsDriver;
use serde_json::Value;

use crate::load::{Load, STRATEGIES, driver_of};

async fn ask(driver: &NatsDriver, what: &str) -> Option<Value> {
    let answer = driver.as_nats().request(format!("$JS.API.{what}"), "".into());
    let answer = tokio::time::timeout(Duration::from_secs(2), answer).await.ok()?.ok()?;
    serde_json::from_slice(&answer.payload).ok()
}

/// The number of the node that leads the stream.
async fn leader(driver: &NatsDriver, stream: &str) -> usize {
    loop {
        let info = ask(driver, &format!("STREAM.INFO.{stream}")).await.unwrap_or_default();
        let name = info["cluster"]["leader"].as_str().unwrap_or_default().to_owned();
        if let Some(digit) = name.chars().rev().find(char::is_ascii_digit) {
            return digit.to_digit(10).expect("a digit") as usize;
        }
        tokio::task::yield_now().await;
    }
}

/// Publishes while the stream's leader meets this fault; every outcome is an ack.
async fn survives(fault: fn(&Cluster, usize), records: u64) {
    let cluster = Arc::new(Cluster::start(&Options::default()).expect("three servers"));
    for strategy in STRATEGIES {
        let reader = driver_of(&cluster.url(), strategy).await;
        let topic = TopicName::new(&format!("copies-{strategy}")).expect("legal");
        let spec = TopicSpec { replicas: 3, ..TopicSpec::default() };
        reader.create_topic(&topic, &spec).await.expect("made");
        let mut load = Load::open(driver_of(&cluster.url(), strategy).await, topic.as_str(), 200).await;
        load.publish(500).await;
        let node = leader(&reader, topic.as_str()).await;
        let server = Arc::clone(&cluster);
        let hit = async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            tokio::task::spawn_blocking(move || fault(&server, node)).await.expect("the fault happens");
        };
        tokio::join!(load.publish(records), hit);
        load.publisher().flush().await;
        cluster.wait_until_ready().expect("all three serve");
        let counts = load.judge(&reader, strategy).await;
        println!("{strategy}: leader {node}, {counts:?}");
        assert_eq!(counts.acked as u64, records + 500, "{strategy}: {counts:?}");
    }
}

/// The node with this number, counted from 1 as in its name.
fn node(cluster: &Cluster, number: usize) -> &busline_brokers::nats::Server {
    &cluster.nodes()[number - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_doubles_and_reorders_nothing() {
    survives(
        |cluster, number| {
            node(cluster, number).kill().expect("it ran");
            std::thread::park_timeout(Duration::from_secs(3));
            node(cluster, number).start_again().expect("it starts on its store");
        },
        10_000,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_loses_doubles_and_reorders_nothing() {
    survives(
        |cluster, number| {
            node(cluster, number).pause().expect("it ran");
            std::thread::park_timeout(Duration::from_secs(6));
            node(cluster, number).resume().expect("it is there");
        },
        10_000,
    )
    .await;
}
