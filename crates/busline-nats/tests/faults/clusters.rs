//! Three nodes and topics of three copies, whose leaders are killed, frozen and asked to step down under load.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::nats::{Cluster, Options};
use busline_conformance::fault_rounds;
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

/// What happens to the leader.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Killed,
    Frozen,
    StepsDown,
}

impl Fault {
    async fn happen(self, cluster: &Arc<Cluster>, reader: &NatsDriver, stream: &str) {
        let number = leader(reader, stream).await;
        println!("node {number}: {self:?}");
        if let Self::StepsDown = self {
            return step_down(reader, stream, number).await;
        }
        let cluster = Arc::clone(cluster);
        let hit = move || {
            // Counted from 1, as in its name.
            let node = &cluster.nodes()[number - 1];
            if let Self::Killed = self {
                node.kill().expect("it ran");
                std::thread::park_timeout(Duration::from_secs(3));
                node.start_again().expect("it starts on its store");
            } else {
                node.pause().expect("it ran");
                std::thread::park_timeout(Duration::from_secs(6));
                node.resume().expect("it is there");
            }
        };
        tokio::task::spawn_blocking(hit).await.expect("the fault happens");
    }
}

/// Asks the leader to step down until another node leads.
async fn step_down(reader: &NatsDriver, stream: &str, from: usize) {
    while leader(reader, stream).await == from {
        drop(ask(reader, &format!("STREAM.LEADER.STEPDOWN.{stream}")).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes while the stream's leader meets this fault again and again; every outcome is an ack.
async fn survives(name: &str, fault: Fault, short: u32, records: u64) {
    let faults = vec![fault; fault_rounds(short) as usize];
    let cluster = Arc::new(Cluster::start(&Options::default()).expect("three servers"));
    for strategy in STRATEGIES {
        let reader = driver_of(&cluster.url(), strategy).await;
        let topic = TopicName::new(&format!("copies-{strategy}")).expect("legal");
        let spec = TopicSpec { replicas: 3, ..TopicSpec::default() };
        reader.create_topic(&topic, &spec).await.expect("made");
        let mut load = Load::open_patient(driver_of(&cluster.url(), strategy).await, topic.as_str(), 200).await;
        load.publish(500).await;
        for fault in &faults {
            let hit = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                fault.happen(&cluster, &reader, topic.as_str()).await;
            };
            tokio::join!(load.publish(records), hit);
        }
        load.publisher().flush().await;
        cluster.wait_until_ready().expect("all three serve");
        let counts = load.judge(&reader, strategy).await;
        counts.tell(format!("{name}, {strategy}"), faults.len() as u64, None);
        assert_eq!(counts.acked, records * faults.len() as u64 + 500, "{strategy}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_doubles_and_reorders_nothing() {
    survives("leader killed", Fault::Killed, 1, 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_loses_doubles_and_reorders_nothing() {
    survives("leader frozen", Fault::Frozen, 1, 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_steps_down_loses_doubles_and_reorders_nothing() {
    survives("leader steps down", Fault::StepsDown, 5, 3_000).await;
}
