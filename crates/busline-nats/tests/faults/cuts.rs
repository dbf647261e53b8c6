//! Connections that are cut at a random byte, with and without bytes that arrive late.

use busline_brokers::nats::{Options, Server};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::load::{Load, STRATEGIES, driver, seed};
use crate::proxy::Proxy;

/// Cuts of each strategy in one run of this test; the whole number is for the long run.
fn rounds() -> u64 {
    std::env::var("BUSLINE_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

/// Cuts of each strategy that nobody notices: each takes seconds.
fn unnoticed() -> u64 {
    std::env::var("BUSLINE_HALF_OPEN").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

async fn cut_at_random_bytes(late: bool) {
    let server = Server::start(&Options::default()).expect("a server");
    let mut dice = StdRng::seed_from_u64(seed());
    for strategy in STRATEGIES {
        let proxy = Proxy::start(server.port()).await;
        proxy.let_late_bytes_through(late);
        let reader = driver(server.port(), strategy).await;
        let mut load = Load::open_patient(driver(proxy.port(), strategy).await, &format!("cuts-{strategy}"), 50).await;
        for _ in 0..rounds() {
            proxy.cut_after(dice.random_range(0..60_000));
            load.publish(dice.random_range(1..1_500)).await;
        }
        load.publisher().flush().await;
        assert!(proxy.cuts() > rounds() / 4, "the cuts happen: {}", proxy.cuts());
        let counts = load.judge(&reader, strategy).await;
        println!("{strategy}, late bytes {late}: {} cuts, {counts:?}", proxy.cuts());
        assert_eq!((counts.failed, counts.indeterminate), (0, 0), "{strategy}: a cut loses no outcome");
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
    let mut dice = StdRng::seed_from_u64(seed());
    for strategy in STRATEGIES {
        let proxy = Proxy::start(server.port()).await;
        proxy.leave_half_open(true);
        let reader = driver(server.port(), strategy).await;
        let mut load =
            Load::open_patient(driver(proxy.port(), strategy).await, &format!("silent-{strategy}"), 50).await;
        for _ in 0..unnoticed() {
            proxy.cut_after(dice.random_range(0..60_000));
            load.publish(dice.random_range(1_000..3_000)).await;
            load.publisher().flush().await;
        }
        assert!(proxy.cuts() >= unnoticed(), "the cuts happen: {}", proxy.cuts());
        let cuts = proxy.cuts();
        proxy.leave_half_open(false);
        let counts = load.judge(&reader, strategy).await;
        println!("{strategy}, half-open: {cuts} cuts, {counts:?}");
        assert_eq!((counts.failed, counts.indeterminate), (0, 0), "{strategy}: a cut loses no outcome");
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
        assert_eq!((counts.failed, counts.indeterminate), (0, 0), "{strategy}: {counts:?}");
    }
}
