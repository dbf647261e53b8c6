//! The benchmark in every way that NATS has.

use busline_brokers::nats::{Cluster, Options, Server};

use crate::harness::Shop;
use crate::ways;

#[test]
fn strategies_headers_streams_and_durability_on_a_real_server() {
    let server = Server::start(&Options::default()).expect("a server");
    ways::all_strategies_are_judged("nats", &server.url());
    ways::headers_are_stored_where_they_are_on("nats", &server.url());

    let runs = ways::runs(&server.url(), "--level low --streams 1,2,4 --durability written");
    let streams: Vec<(&str, u64)> = runs
        .iter()
        .map(|run| (run["bus"].as_str().expect("a label"), run["streams"].as_u64().expect("a count")))
        .collect();
    assert_eq!(streams, [("nats", 1), ("nats/2-streams", 2), ("nats/4-streams", 4)]);
    for run in &runs {
        assert!(
            run["success_percent"] == 100.0 && run["durability"] == "written × 1" && run["twin"].is_object(),
            "{run}"
        );
        assert_eq!(run["delivered"], run["envelopes"], "{run}");
    }

    let line = format!("bench --bus {} --level low --mode async --runs 1", server.url());
    let ran = Shop::new().run(&format!("{line} --durability synced"));
    let words = ["Unsupported/Durability", "acks attest written × 1 here, wanted synced × 1", "sync_interval"];
    assert!(words.iter().all(|word| ran.stderr.contains(word)), "{}", ran.stderr);
    ways::copies_that_cannot_be_are_refused("nats", &server.url(), 2);
}

#[test]
fn equal_copies_are_asked_of_a_cluster_and_more_than_it_has_are_refused() {
    let cluster = Cluster::start(&Options::default()).expect("three servers");
    // Nobody has used this cluster before: its first group is one of the benchmark's.
    let runs =
        ways::runs(&cluster.url(), "--level low --durability written --copies 2 --strategy fast,task-per-message");
    assert_eq!(runs.len(), 2);
    for run in &runs {
        assert!(
            run["durability"] == "written × 2" && run["success_percent"] == 100.0 && run["twin"].is_object(),
            "{run}"
        );
    }
    ways::copies_that_cannot_be_are_refused("nats", &cluster.url(), 3);
}
