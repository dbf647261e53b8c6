//! A broker that is killed, or frozen, under load.

use std::time::{Duration, Instant};

use busline_brokers::kafka::{Options, Server};
use busline_conformance::{fault_records, fault_rounds, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::group::Group;
use crate::load::{Load, all_acked, connect, judge, tell};

/// Longer than a broker takes to start, on a machine with much else to do.
const PATIENT: Duration = Duration::from_secs(240);

/// The time from a broker's first answer to the first new event that a group handles.
///
/// Reconnecting takes up to 0.5 s, and the broker has to load the group's offsets first: before a commit is answered no
/// handler starts, since the outage was longer than half of the session. The defaults of the client would take 4 s, the
/// classic protocol 10 s.
const RESUMED_MAX: Duration = Duration::from_secs(2);

/// Gives the middle one, or the shorter of the middle two: a machine may be slow once, a client that waits is so each time.
fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_costs_nothing() {
    const TOPIC: &str = "conformance-killed";
    let server = Server::start(&Options::default()).expect("a broker starts");
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    let bus = connect(&server.bootstrap()).await;
    let publisher = bus.publisher(TOPIC).deadline(PATIENT).open().await.expect("opens");
    let group = Group::join(&bus, TOPIC).await;
    let load = Load::start(publisher);
    let mut resumed = Vec::new();
    let kills = fault_rounds(2);
    for round in 0..kills {
        load.more(fault_records(5_000)).await;
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..200))).await;
        server.kill().expect(TOPIC);
        let server = &server;
        tokio::task::block_in_place(|| server.start_again()).expect("it comes back");
        let (serves, before) = (Instant::now(), group.distinct());
        group.goes_beyond(before).await;
        resumed.push(serves.elapsed());
        load.more(fault_records(5_000)).await;
        println!("{TOPIC}, round {round}: handles again {:?} after the broker serves", resumed[resumed.len() - 1]);
    }
    let outcomes = load.end().await;
    assert!(all_acked(&outcomes), "the deadline was never reached");
    let again = group.judge(&outcomes).await;
    bus.close(Duration::from_secs(10)).await.expect("closes");
    judge(&server.bootstrap(), TOPIC, &outcomes);
    tell("killed", kills, Some(seed), &outcomes, Some(again));
    assert!(middle(resumed.clone()) <= RESUMED_MAX, "handling began again after {resumed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_costs_nothing_or_a_deadline() {
    let server = Server::start(&Options::default()).expect("a broker starts");
    let bus = connect(&server.bootstrap()).await;
    let patient = bus.publisher("conformance-frozen").deadline(PATIENT).open().await.expect("opens");
    let hasty = bus
        .publisher("conformance-hasty")
        .deadline(Duration::from_millis(500))
        .on_failure(drop)
        .open()
        .await
        .expect("opens");
    let (patient, hasty) = (Load::start(patient), Load::start(hasty));
    let pauses = fault_rounds(2);
    for _ in 0..pauses {
        patient.more(fault_records(2_000)).await;
        hasty.more(2_000).await;
        server.pause().expect("conformance-frozen");
        tokio::time::sleep(Duration::from_secs(3)).await;
        server.resume().expect("thawed");
        patient.more(fault_records(2_000)).await;
    }
    let (patient, hasty) = (patient.end().await, hasty.end().await);
    bus.close(Duration::from_secs(10)).await.expect("closes");
    assert!(all_acked(&patient), "its deadline was never reached");
    assert!(!all_acked(&hasty), "a deadline in the pause was reported");
    for (topic, fault, outcomes) in
        [("conformance-frozen", "frozen", &patient), ("conformance-hasty", "frozen beyond the deadline", &hasty)]
    {
        judge(&server.bootstrap(), topic, outcomes);
        tell(fault, pauses, None, outcomes, None);
    }
}
