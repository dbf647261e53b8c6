//! The commands on a real Kafka broker: that of `BUSLINE_TEST_KAFKA`, or one of their own.

#[path = "../cli/harness.rs"]
#[expect(dead_code, reason = "each test target needs another part of it")]
mod harness;
#[path = "../cli/journey.rs"]
mod journey;
#[path = "../groups/lines.rs"]
#[expect(dead_code, reason = "each test target needs another part of it")]
mod lines;
#[path = "../cli/ways.rs"]
mod ways;

mod bench;
mod travel;

use std::sync::OnceLock;

use busline_brokers::kafka::{Options, Server};
use harness::{Ran, Shop};
use serde_json::Value;

fn bus() -> String {
    if let Ok(given) = std::env::var("BUSLINE_TEST_KAFKA") {
        return patient(&format!("kafka://{}", given.trim_start_matches("kafka://")));
    }
    static SERVER: OnceLock<Server> = OnceLock::new();
    patient(&SERVER.get_or_init(|| Server::start(&Options::default()).expect("a broker starts")).url())
}

/// How long the driver waits for an answer: a broker of a machine that does much else took 25 s to delete topics.
const PATIENCE_MS: u32 = 120_000;

fn patient(url: &str) -> String {
    format!("{url}{}patience.ms={PATIENCE_MS}", if url.contains('?') { '&' } else { '?' })
}

/// A topic that no other run has.
fn topic(name: &str) -> String {
    format!("conformance-cli-{name}-{:x}", std::process::id())
}

fn run(shop: &Shop, line: &str) -> Ran {
    shop.run(&format!("{line} --bus {}", bus()))
}

fn done(ran: Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stderr, ran.stdout);
    ran.json()
}

/// Three events of each of two keys, as lines of the flat form; the payload is the version.
fn events() -> String {
    let event = |key: &str, version: u32| {
        format!(
            "{{\"event_id\":\"{key}-{version}\",\"aggregate_id\":\"{key}\",\"event_type\":\"T\",\
             \"event_version\":{version},\"timestamp\":\"2026-11-25T08:00:00Z\",\"payload\":{version}}}\n"
        )
    };
    (1..=3).flat_map(|version| ["a", "b"].map(|key| event(key, version))).collect()
}

fn versions(printed: &[Value], key: &str) -> Vec<u64> {
    let of_key = printed.iter().filter(|event| event["envelope"]["partitionkey"] == key);
    of_key.filter_map(|event| event["envelope"]["data"].as_u64()).collect()
}

#[test]
fn canary_probes_come_back() {
    let (shop, topic) = (Shop::new(), topic("canary"));
    let probes = done(run(&shop, &format!("canary {topic} --count 20 --every 10ms --within 60s --json")));
    assert!(probes.len() == 20 && probes.iter().all(|probe| probe["handled_ms"].is_number()), "{probes:?}");
    done(run(&shop, &format!("topic delete {topic} --json")));
}

#[test]
fn events_travel_and_groups_are_led() {
    let (shop, topic) = (Shop::new(), topic("travel"));
    let made = &done(run(&shop, &format!("topic create {topic} --partitions 3 --json")))[0];
    assert_eq!(made["partitions"], 3, "{made}");
    shop.file("events", events());
    done(run(&shop, &format!("pub {topic} --file events --json")));
    let printed = done(run(&shop, &format!("sub {topic} --group g --until-end --json")));
    assert_eq!(printed.len(), 6, "{printed:?}");
    for key in ["a", "b"] {
        assert_eq!(versions(&printed, key), [1, 2, 3], "{printed:?}");
    }
    let shown = done(run(&shop, &format!("group show g {topic} --json")));
    assert_eq!(shown[0]["lag"], 0, "{shown:?}");
    done(run(&shop, &format!("group seek g {topic} --to earliest --json")));
    assert_eq!(done(run(&shop, &format!("sub {topic} --group g --until-end --json"))).len(), 6, "read again");
    done(run(&shop, &format!("group delete g {topic} --json")));
    assert_eq!(done(run(&shop, &format!("topic delete {topic} --json")))[0]["deleted"], true);
    let gone = run(&shop, &format!("topic show {topic}"));
    assert!(gone.code == Some(1) && gone.stderr.contains("NotFound/Topic"), "{}", gone.stderr);
}

#[test]
fn a_key_that_fails_is_parked_and_replayed() {
    let (shop, topic) = (Shop::new(), topic("parked"));
    shop.file("events", events());
    done(run(&shop, &format!("pub {topic} --file events --json")));
    let handled = done(run(&shop, &format!("sub {topic} --group g --exec false --attempts 1 --until-end --json")));
    assert!(handled.is_empty(), "each one fails: {handled:?}");
    let listed = done(run(&shop, &format!("parked list --group g --topic {topic} --json")));
    let records: u64 = listed.iter().filter_map(|queue| queue["records"].as_u64()).sum();
    assert_eq!((listed.len(), records), (2, 6), "{listed:?}");
    let replayed = done(run(&shop, &format!("parked replay --group g --topic {topic} --exec true --json")));
    let count: u64 = replayed.iter().filter_map(|queue| queue["replayed"].as_u64()).sum();
    assert_eq!(count, 6, "{replayed:?}");
    assert!(done(run(&shop, &format!("parked list --group g --topic {topic} --json"))).is_empty());
}

#[test]
fn doctor_looks_at_the_broker() {
    let (shop, topic) = (Shop::new(), topic("doctor"));
    done(run(&shop, &format!("topic create {topic} --partitions 3 --json")));
    let report = &done(run(&shop, "doctor --json"))[0];
    done(run(&shop, &format!("topic delete {topic} --json")));
    assert_eq!(report["healthy"], true, "{report}");
    let checks = report["checks"].as_array().expect("a list");
    assert!(checks.iter().any(|check| check["name"] == "answer" && check["ok"] == true), "{report}");
    let said = |name: &str, part: &str| {
        let is_it =
            |check: &&Value| check["name"] == name && check["message"].as_str().is_some_and(|m| m.contains(part));
        assert!(checks.iter().any(|check| is_it(&check)), "{name}: {part}: {report}");
    };
    said("broker version", "Kafka 4.0 or later");
    said("group protocol", "KIP-848, which the brokers have");
    said("durability", &format!("{topic}: written × 1: flush.messages is not 1; min.insync.replicas=1 of 1"));
    said("transactions", "not used");
    assert_eq!(report["capabilities"]["backend"], "kafka", "{report}");
    assert_eq!(report["capabilities"]["atomic_batch_max"], 0, "{report}");
}
