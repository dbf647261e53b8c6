//! A broker that is killed, or frozen, under load.

use std::time::Duration;

use busline_brokers::kafka::{Options, Server};

use crate::load::{Load, all_acked, connect, judge};
use crate::rounds;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing() {
    let server = Server::start(&Options::default()).expect("a broker starts");
    let bus = connect(&server.bootstrap()).await;
    let publisher = bus.publisher("conformance-killed").deadline(Duration::from_secs(120)).open().await.expect("opens");
    let load = Load::start(publisher);
    for round in 0..rounds(2) {
        load.more(5_000).await;
        server.kill().expect("conformance-killed");
        let server = &server;
        tokio::task::block_in_place(|| server.start_again()).expect("it comes back");
        load.more(5_000).await;
        println!("round {round}");
    }
    let outcomes = load.end().await;
    bus.close(Duration::from_secs(10)).await.expect("closes");
    assert!(all_acked(&outcomes), "the deadline was never reached");
    println!("{} acked and stored", judge(&server.bootstrap(), "conformance-killed", &outcomes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_costs_nothing_or_a_deadline() {
    let server = Server::start(&Options::default()).expect("a broker starts");
    let bus = connect(&server.bootstrap()).await;
    let patient = bus.publisher("conformance-frozen").deadline(Duration::from_secs(60)).open().await.expect("opens");
    let hasty = bus
        .publisher("conformance-hasty")
        .deadline(Duration::from_millis(500))
        .on_failure(drop)
        .open()
        .await
        .expect("opens");
    let (patient, hasty) = (Load::start(patient), Load::start(hasty));
    for _ in 0..rounds(2) {
        patient.more(2_000).await;
        hasty.more(2_000).await;
        server.pause().expect("conformance-frozen");
        tokio::time::sleep(Duration::from_secs(3)).await;
        server.resume().expect("thawed");
        patient.more(2_000).await;
    }
    let (patient, hasty) = (patient.end().await, hasty.end().await);
    bus.close(Duration::from_secs(10)).await.expect("closes");
    assert!(all_acked(&patient), "its deadline was never reached");
    assert!(!all_acked(&hasty), "a deadline in the pause was reported");
    judge(&server.bootstrap(), "conformance-frozen", &patient);
    judge(&server.bootstrap(), "conformance-hasty", &hasty);
}
