//! The benchmark in every way that Kafka has.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde_json::Value;

use crate::harness::Shop;
use crate::{bus, done, run, ways};

/// Held by whoever benchmarks: topics of others on this broker look like leftovers.
static BROKER: RwLock<()> = RwLock::new(());

fn beside_others() -> RwLockReadGuard<'static, ()> {
    BROKER.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    BROKER.write().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn every_strategy_on_a_real_broker() {
    let _turn = beside_others();
    ways::all_strategies_are_judged("kafka", &bus());
}

#[test]
fn headers_on_a_real_broker() {
    let _turn = beside_others();
    ways::headers_are_stored_where_they_are_on("kafka", &bus());
}

#[test]
fn durability_on_a_real_broker() {
    let _turn = beside_others();
    for medium in ["written", "synced"] {
        let runs = ways::runs(&bus(), &format!("--level low --durability {medium} --strategy fast,pipelined"));
        assert_eq!(runs.len(), 2);
        for run in &runs {
            assert_eq!(run["durability"], format!("{medium} × 1"), "{run}");
            assert!(run["success_percent"] == 100.0 && run["twin"].is_object(), "{run}");
        }
    }
}

#[test]
fn copies_that_one_broker_cannot_keep_are_refused() {
    let _turn = alone();
    ways::copies_that_cannot_be_are_refused("kafka", &bus(), 2);
}

#[test]
fn bench_measures_both_twins_and_leaves_no_topic() {
    let _turn = alone();
    let shop = Shop::new();
    let ran = run(&shop, "bench --level low --mode async,sync --runs 1 --json results.json");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let results: Value =
        serde_json::from_slice(&std::fs::read(shop.path("results.json")).expect("written")).expect("JSON");
    let runs = results["results"].as_array().expect("results");
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert!(run["bus"] == "kafka" && run["success_percent"] == 100.0, "{run}");
        for ratio in ["ratio_acked", "ratio_cpu", "ratio_consumed", "ratio_consume_cpu"] {
            assert!(run["twin"][ratio].as_f64().is_some_and(|ratio| ratio > 0.0), "{ratio}: {run}");
        }
    }
    assert!(runs[1]["twin"]["ratio_p50"].is_number() && runs[0]["twin"]["ratio_p50"].is_null(), "mode sync alone");
    let left = done(run(&shop, "topic list --json"));
    assert!(!left.iter().any(|topic| topic.to_string().contains("bench-")), "its topics are gone: {left:?}");
}
