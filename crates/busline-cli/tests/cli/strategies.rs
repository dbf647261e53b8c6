//! What a benchmark refuses of the ways it is asked for; NATS and Kafka have tests of those they run.

use crate::harness::Shop;

/// Refused before anything is measured, with this code and these words.
#[track_caller]
fn refused(flags: &str, code: &str, words: &str) {
    let shop = Shop::new();
    let ran = shop.run(&format!("bench --level low --mode async --runs 1 {flags}"));
    assert!(ran.code != Some(0) && ran.stdout.is_empty(), "{flags}: {}", ran.stdout);
    assert!(ran.stderr.contains(code) && ran.stderr.contains(words), "{flags}: {}", ran.stderr);
}

#[test]
fn a_bus_that_has_none_of_the_ways_is_refused_by_name() {
    refused("--strategy task-per-message,capped-256", "Unsupported/Strategy", "the strategy fast alone");
    refused("--headers on", "Unsupported/Headers", "headers off alone");
    refused("--streams 2,4 --bus memory:", "Unsupported/Streams", "only NATS has streams");
    refused("--streams 5", "Invalid/Range", "streams = 5 (1 to 4");
    refused("--copies 2", "Invalid/MissingArgument", "--durability <MEDIUM> is missing");
}

#[test]
fn a_bus_that_attests_something_else_is_refused_with_what_it_attests() {
    refused("--durability written", "Unsupported/Durability", "acks attest synced × 1 here, wanted written × 1");
    refused("--durability synced --bus memory:", "Unsupported/Durability", "acks attest memory × 1 here");
    let copies =
        "wanted synced × 2, which needs topics of 3 replicas, and they are refused; an embedded bus keeps one copy";
    refused("--durability synced --copies 2", "Unsupported/Durability", copies);
    let shop = Shop::new();
    let ran = shop.run("bench --level low --mode async --runs 1 --durability synced --headers off --streams 1");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("sqlite, synced × 1"), "{}", ran.stdout);
}
