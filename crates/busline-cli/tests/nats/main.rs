//! The real binary on a real NATS server.

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

use std::collections::BTreeSet;

use busline_brokers::nats::{Options, Server};
use serde_json::Value;

use crate::harness::{EVENTS, Ran, Shop};
use crate::lines::{assert_key_order, lines_of};

/// A server of its own, and a folder to run commands in.
struct Market {
    server: Server,
    shop: Shop,
}

impl Market {
    fn open() -> Self {
        Self { server: Server::start(&Options::default()).expect("a server"), shop: Shop::new() }
    }

    fn line(&self, line: &str) -> String {
        format!("{line} --bus {}", self.server.url())
    }

    fn run(&self, line: &str) -> Ran {
        self.shop.run(&self.line(line))
    }

    /// Runs a command that must do all it was asked for; gives its lines.
    #[track_caller]
    fn json(&self, line: &str) -> Vec<Value> {
        let ran = self.run(&format!("{line} --json"));
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.stderr);
        ran.json()
    }

    /// Publishes the 2,000 events of the fixture to `files`.
    fn publish_events(&self) -> Vec<Value> {
        self.shop.file("events", EVENTS);
        self.json("pub files --file events")
    }
}

#[test]
fn canary_probes_come_back() {
    let market = Market::open();
    let probes = market.json("canary --count 20 --every 10ms --within 60s");
    assert!(probes.len() == 20 && probes.iter().all(|probe| probe["handled_ms"].is_number()), "{probes:?}");
    assert_eq!(market.json("group list"), Vec::<Value>::new(), "its group is gone");
}

#[test]
fn a_file_of_events_goes_through_two_members_of_a_group() {
    let market = Market::open();
    let outcomes = market.publish_events();
    assert_eq!(outcomes.len(), 2_000);
    assert!(outcomes.iter().all(|it| it["outcome"] == "acked" && it["durability"] == "written"), "{}", outcomes[0]);

    let shown = market.json("topic show files").remove(0);
    let partitions = shown["contents"].as_array().expect("contents");
    assert!(partitions.len() == 4 && partitions.iter().all(|of| of["end"].as_u64() > of["start"].as_u64()), "{shown}");

    let member = || market.shop.run(&market.line("sub files --group g --until-end --json"));
    // Both are read at once: a member whose pipe is full holds the whole group up.
    let members: Vec<Ran> = std::thread::scope(|scope| {
        let members = [scope.spawn(member), scope.spawn(member)];
        members.into_iter().map(|ran| ran.join().expect("it ran")).collect()
    });
    let mut ids = BTreeSet::new();
    for ran in &members {
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_key_order("g", &lines_of(&ran.stdout));
        ids.extend(ran.json().iter().map(|line| line["envelope"]["id"].as_str().expect("id").to_owned()));
    }
    assert_eq!(ids.len(), 2_000, "members of one group share every event");

    let group = market.json("group show g files").remove(0);
    let partitions = group["partitions"].as_array().expect("partitions");
    assert!(partitions.iter().all(|of| of["lag"] == 0), "{group}");
    assert_eq!(market.json("group list").len(), 1);
    assert!(market.json("parked list --group g").is_empty());
    assert_eq!(market.run("sub files --group g --until-end --json").stdout, "", "what is finished does not come again");

    assert_eq!(market.run("topic delete files").code, Some(0));
    assert!(market.json("topic list").is_empty() && market.json("group list").is_empty());
}

#[test]
fn a_reader_alone_sees_every_record_in_order() {
    let market = Market::open();
    market.publish_events();
    let ran = market.run("sub files --until-end --json");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let lines = lines_of(&ran.stdout);
    assert_eq!(lines.len(), 2_000);
    assert_key_order("alone", &lines);
}

/// What doctor's check of this name says.
fn check(report: &Value, name: &str) -> Option<String> {
    let mut checks = report["checks"].as_array().expect("checks").iter();
    checks.find(|check| check["name"] == name).map(|check| check["message"].as_str().expect("a text").to_owned())
}

#[test]
fn doctor_says_what_the_server_is_and_what_acks_attest() {
    let market = Market::open();
    market.publish_events();
    let report = market.json("doctor").remove(0);
    assert_eq!((&report["healthy"], &report["capabilities"]["backend"]), (&true.into(), &"nats".into()), "{report}");
    let says = |name: &str| check(&report, name);
    let version = busline_brokers::nats::CURRENT;
    assert_eq!(says("server"), Some(format!("nats-server {version}, alone")));
    assert!(says("JetStream API").is_some_and(|level| level.starts_with("level ")), "{report}");
    assert!(says("publishing").is_some_and(|how| how.starts_with("fast ingest")), "{report}");
    assert!(says("durability").is_some_and(|worth| worth.starts_with("written: ")), "{report}");
    let pipelined = market.shop.run(&format!("doctor --bus {}?strategy=pipelined", market.server.url()));
    assert!(pipelined.stdout.contains("pipelined, as strategy=pipelined asks"), "{}", pipelined.stdout);
}

#[test]
fn doctor_says_synced_only_of_a_server_that_does_it() {
    let options = Options { jetstream: "sync_interval: always".into(), ..Options::default() };
    let market = Market { server: Server::start(&options).expect("a server"), shop: Shop::new() };
    let monitor = market.server.monitor_url().replace("http://", "");
    let url = format!("{}?monitor={monitor}", market.server.url());
    let said = market.shop.run(&format!("doctor --bus {url}")).stdout;
    assert!(said.contains("synced: each server says"), "{said}");
    let acked = market.shop.run(&format!("pub files --key a --type T --json --bus {url}")).json().remove(0);
    assert_eq!(acked["durability"], "synced", "what doctor promises is what an ack says");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let market = Market::open();
    market.server.kill().expect("it ran");
    let ran = market.run("topic list");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains("Unavailable/Server"), "{}", ran.stderr);
    assert_eq!(market.run("doctor").code, Some(1));
}

#[test]
fn bench_compares_buses_run_by_run_and_leaves_nothing_on_the_server() {
    let market = Market::open();
    market.publish_events();
    let flags = "--level low --mode batch --runs 2 --json results.json --markdown report.md --html report.html";
    let ran = market.run(&format!("bench --bus sqlite:shop.db {flags}"));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let results: Value =
        serde_json::from_slice(&std::fs::read(market.shop.path("results.json")).expect("written")).expect("JSON");
    let order: Vec<(&str, u64)> = results["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|run| (run["bus"].as_str().expect("bus"), run["run"].as_u64().expect("run")))
        .collect();
    assert_eq!(order, [("sqlite", 1), ("nats", 1), ("nats", 2), ("sqlite", 2)]);
    for run in results["results"].as_array().expect("results") {
        let twin = &run["twin"];
        let ratio = twin["ratio_acked"].as_f64().expect("a ratio");
        assert!(twin["envelopes"] == 500 && ratio > 0.0 && twin["premade"]["acked_per_s"].is_number(), "{run}");
        assert!(twin["ratio_consumed"].as_f64().is_some_and(|ratio| ratio > 0.0), "the reading twin too: {run}");
    }
    let warned = results["warnings"].to_string();
    assert!(warned.contains("sqlite synced × 1, nats written × 1"), "{warned}");
    for (name, parts) in [
        ("report.md", ["| nats | written × 1 |", "the driver's bounded reads"]),
        ("report.html", [">nats</td>", "batch: acked"]),
    ] {
        let text = std::fs::read_to_string(market.shop.path(name)).expect("written");
        for part in parts {
            assert!(text.contains(part), "{part} in {name}");
        }
    }
    assert!(ran.stdout.contains("apart at low (2 of 5)"), "{}", ran.stdout);
    let topics = market.json("topic list");
    assert!(topics.len() == 1 && topics[0]["topic"] == "files", "{topics:?}");
    assert!(market.json("group list").is_empty());
    // The doctor counts the bus's own topics too, such as those of what groups have parked.
    assert_eq!(check(&market.json("doctor")[0], "topics").as_deref(), Some("1"));
    let file = market.shop.run("doctor --json --bus sqlite:shop.db").json().remove(0);
    assert_eq!(check(&file, "topics").as_deref(), Some("0"));
    let again = market.run(&format!("bench {flags}"));
    assert!(again.stderr.contains("AlreadyExists/File"), "{}", again.stderr);
}
