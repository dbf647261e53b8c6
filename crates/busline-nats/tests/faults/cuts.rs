//! Connections that are cut at a random byte, with and without bytes that arrive late.

use busline_brokers::nats::{Options, Server};
use busline_conformance::{fault_rounds, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::load::{Load, STRATEGIES, driver};
use crate::proxy::Proxy;

async fn cut_at_random_bytes(late: bool) {
    let server = Server::start(&Options::default()).expect("a server");
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    for strategy in STRATEGIES {
        let proxy = Proxy::start(server.port()).await;
        proxy.let_late_bytes_through(late);
        let reader = driver(server.port(), strategy).await;
        let mut load = Load::open_patient(driver(proxy.port(), strategy).await, &format!("cuts-{strategy}"), 50).await;
        let rounds = fault_rounds(25);
        for _ in 0..rounds {
            proxy.cut_after(dice.random_range(0..60_000));
            load.publish(dice.random_range(1..1_500)).await;
        }
        load.publisher().flush().await;
        assert!(proxy.cuts() > u64::from(rounds) / 4, "the cuts happen: {}", proxy.cuts());
        let counts = load.judge(&reader, strategy).await;
        let bytes = if late { "late bytes arrive" } else { "late bytes are lost" };
        counts.tell(format!("cut, {bytes}, {strategy}"), proxy.cuts(), Some(seed));
        assert!(counts.all_acked(), "{strategy}: a cut loses no outcome: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_loses_doubles_and_reorders_nothing() {
    cut_at_random_bytes(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_arrive_after_a_cut_are_not_stored_behind_new_ones() {
    cut_at_random_bytes(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_given_up_and_costs_nothing_but_time() {
    let server = Server::start(&Options::default()).expect("a server");
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    for strategy in STRATEGIES {
        let proxy = Proxy::start(server.port()).await;
        proxy.leave_half_open(true);
        let reader = driver(server.port(), strategy).await;
        let mut load =
            Load::open_patient(driver(proxy.port(), strategy).await, &format!("silent-{strategy}"), 50).await;
        let rounds = fault_rounds(2);
        for _ in 0..rounds {
            proxy.cut_after(dice.random_range(0..60_000));
            load.publish(dice.random_range(1_000..3_000)).await;
            load.publisher().flush().await;
        }
        assert!(proxy.cuts() >= u64::from(rounds), "the cuts happen: {}", proxy.cuts());
        let cuts = proxy.cuts();
        proxy.leave_half_open(false);
        let counts = load.judge(&reader, strategy).await;
        counts.tell(format!("half open, {strategy}"), cuts, Some(seed));
        assert!(counts.all_acked(), "{strategy}: a cut loses no outcome: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_envelope_survives_a_cut_at_any_byte() {
    let server = Server::start(&Options::default()).expect("a server");
    for strategy in STRATEGIES {
        let proxy = Proxy::start(server.port()).await;
        proxy.let_late_bytes_through(true);
        let reader = driver(server.port(), strategy).await;
        let mut load = Load::open_patient(driver(proxy.port(), strategy).await, &format!("lone-{strategy}"), 3).await;
        load.publish(1).await;
        load.publisher().flush().await;
        for bytes in (0..480).step_by(32) {
            proxy.cut_after(bytes);
            load.publish(1).await;
            load.publisher().flush().await;
        }
        let counts = load.judge(&reader, strategy).await;
        assert!(counts.all_acked(), "{strategy}: {counts:?}");
    }
}
