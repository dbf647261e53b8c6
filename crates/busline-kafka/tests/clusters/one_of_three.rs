//! One broker goes away under load; two copies of everything that was acked are left.

use std::sync::Arc;
use std::time::Duration;

use busline_brokers::kafka::Cluster;
use busline_conformance::{fault_records, fault_rounds, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::group::Group;
use crate::load::{Load, all_acked, connect, judge, tell};
use crate::place::{cluster, create, in_sync, leader, off_the_runtime};

/// Longer than brokers take to be missed by the controller, which is 9 s, so that leaders move.
const FROZEN: Duration = Duration::from_secs(12);

/// Publishes and handles while this happens to a broker, round after round; every outcome is an ack.
async fn survives(topic: &str, short: u32, fault: fn(&Cluster, usize), only_leaders: bool) {
    let cluster = cluster().await;
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    create(&cluster, topic).await;
    let bus = connect(&cluster.bootstrap()).await;
    let publisher = bus.publisher(topic).deadline(Duration::from_secs(240)).open().await.expect("opens");
    let group = Group::join(&bus, topic).await;
    let load = Load::start(publisher);
    let rounds = fault_rounds(short);
    for round in 0..rounds {
        in_sync(&cluster, topic).await;
        load.more(fault_records(2_000)).await;
        let node = if only_leaders { leader(&cluster, topic).await } else { dice.random_range(0..3) };
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..200))).await;
        let brokers = Arc::clone(&cluster);
        off_the_runtime(move || fault(&brokers, node)).await;
        load.more(fault_records(2_000)).await;
        let (brokers, began) = (Arc::clone(&cluster), tokio::time::Instant::now());
        off_the_runtime(move || brokers.wait_until_ready()).await.expect("all three serve");
        println!("{topic}, round {round}: broker {}, all ready after {:?}", node + 1, began.elapsed());
    }
    let outcomes = load.end().await;
    assert!(all_acked(&outcomes), "the deadline was never reached");
    judge(&cluster.bootstrap(), topic, &outcomes);
    let again = group.judge(&outcomes).await;
    bus.close(Duration::from_secs(10)).await.expect("closes");
    tell(&format!("one of three {topic}"), rounds, Some(seed), &outcomes, Some(again));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_costs_nothing() {
    let fault = |cluster: &Cluster, node: usize| {
        cluster.nodes()[node].kill().expect("it ran");
        cluster.nodes()[node].begin_again().expect("it starts on its log");
    };
    survives("killed", 2, fault, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_leader_costs_nothing() {
    let fault = |cluster: &Cluster, node: usize| {
        cluster.nodes()[node].pause().expect("it ran");
        std::thread::park_timeout(FROZEN);
        cluster.nodes()[node].resume().expect("it is there");
    };
    survives("frozen", 1, fault, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_costs_nothing() {
    let fault = |cluster: &Cluster, first: usize| {
        for node in (0..3).map(|step| &cluster.nodes()[(first + step) % 3]) {
            node.stop().expect("it hands over and ends");
            node.start_again().expect("it starts on its log");
            cluster.wait_until_ready().expect("all three serve");
        }
    };
    survives("rolling", 1, fault, false).await;
}
