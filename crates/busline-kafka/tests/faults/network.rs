//! Connections that break off, in the middle of requests and with answers lost.

use std::time::Duration;

use busline_conformance::{fault_records, fault_rounds, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::broker;
use crate::broker::proxy::Proxy;
use crate::load::{Load, all_acked, connect, judge, tell};

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_off_cost_nothing() {
    let proxy = Proxy::start(broker::port()).expect("a proxy");
    let bus = connect(&proxy.bootstrap()).await;
    let topic = format!("conformance-cut-{:x}", std::process::id());
    let publisher = bus.publisher(&topic).deadline(Duration::from_secs(60)).open().await.expect("opens");
    let seed = seed();
    let (load, mut dice) = (Load::start(publisher), StdRng::seed_from_u64(seed));
    let cuts = fault_rounds(10);
    for round in 0..cuts {
        load.more(fault_records(1_000)).await;
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..50))).await;
        match round % 3 {
            0 => proxy.cut(),
            // Stored, and the answer never comes.
            1 => {
                proxy.swallow(true);
                tokio::time::sleep(Duration::from_millis(100)).await;
                proxy.cut();
                proxy.swallow(false);
            }
            _ => {
                proxy.shut();
                tokio::time::sleep(Duration::from_millis(300)).await;
                proxy.open();
            }
        }
    }
    load.more(fault_records(1_000)).await;
    let outcomes = load.end().await;
    bus.close(Duration::from_secs(10)).await.expect("closes");
    assert!(all_acked(&outcomes), "the deadline was never reached");
    judge(&broker::bootstrap(), &topic, &outcomes);
    tell("cut", cuts, Some(seed), &outcomes, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_while_nobody_answers_says_what_is_not_known() {
    let proxy = Proxy::start(broker::port()).expect("a proxy");
    let bus = connect(&proxy.bootstrap()).await;
    let topic = format!("conformance-closed-{:x}", std::process::id());
    let publisher = bus.publisher(&topic).on_failure(drop).open().await.expect("opens");
    let load = Load::start(publisher.clone());
    load.more(1_000).await;
    proxy.swallow(true);
    let stop = load.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let closed = publisher.close(Duration::from_secs(2)).await;
    let outcomes = stop.end().await;
    assert_eq!(closed.left, Vec::<String>::new(), "the sink says itself what is not known");
    assert!(closed.stats.indeterminate > 0, "answers were lost: {closed:?}");
    proxy.swallow(false);
    proxy.cut();
    bus.close(Duration::from_secs(10)).await.expect("closes");
    judge(&broker::bootstrap(), &topic, &outcomes);
}
