//! `canary`: probes that come back, and ones that do not.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use rusqlite::Connection;

use crate::harness::{Ran, Shop, signal};

#[test]
fn probes_come_back_and_nothing_but_the_topic_stays() {
    let shop = Shop::new();
    let ran = shop.run("canary --count 20 --every 10ms --within 60s --json");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let probes = ran.json();
    assert_eq!(probes.len(), 20);
    for (number, probe) in (1..).zip(&probes) {
        let millis = |field: &str| probe[field].as_f64().expect("a time");
        assert!(probe["probe"] == number && probe["error"].is_null(), "{probe}");
        assert!(millis("acked_ms") > 0.0 && millis("handled_ms") > 0.0, "{probe}");
        assert_eq!(probe["durability"], "synced × 1", "{probe}");
    }
    assert!(ran.stderr.starts_with("busline-canary: 20 probes, 0 failed; the slowest took "), "{}", ran.stderr);

    let again = shop.run("canary --count 1 --within 60s");
    assert!(again.stdout.starts_with("probe 1  canary-0  acked in ") && again.stdout.contains(" at the handler in "));
    assert_eq!(shop.run("group list").stdout, "", "its groups are gone");
    assert!(shop.run("topic list").stdout.starts_with("busline-canary"), "its topic stays, and is the only one");
    assert_eq!(shop.records("busline-canary").len(), 21);
}

#[test]
fn a_probe_that_is_not_acked_in_time_fails_the_command_and_the_next_one_may_be_well() {
    let shop = Shop::new();
    assert_eq!(shop.run("canary --count 1 --within 60s").code, Some(0));
    // Nobody else can write meanwhile.
    let other = Connection::open(shop.path("busline.db")).expect("opened");
    other.busy_timeout(Duration::from_secs(30)).expect("set");
    let mut child = shop.spawn("canary --every 10ms --within 300ms");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map(|line| line.expect("a line"));
    let mut await_line = |part: &str| lines.any(|line| line.contains(part));
    assert!(await_line(" at the handler in "));
    other.execute_batch("BEGIN IMMEDIATE").expect("its turn comes");
    assert!(await_line("FAILED: publish busline-canary"));
    other.execute_batch("ROLLBACK").expect("rolled back");
    assert!(await_line(" at the handler in "), "it is well again");
    signal(&child, "INT");
    drop(lines);
    let ran = Ran::of(child.wait_with_output().expect("ended"));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains(" failed; the slowest took ") && !ran.stderr.contains(" 0 failed"), "{}", ran.stderr);
}

#[test]
fn what_cannot_be_probed_is_refused_by_name() {
    let shop = Shop::new();
    for (line, told) in [
        ("canary --every 1ms", "canary busline-canary: Invalid/Range: --every 1ms is below 10ms"),
        ("canary no/slash", "Invalid/NameCharacter"),
        ("canary --count 0", "Invalid/Value"),
        ("canary --within 1ms", "Invalid/Range"),
        ("canary --bus nats://127.0.0.1:1", "Unavailable/"),
    ] {
        let ran = shop.run(line);
        assert!(ran.code != Some(0) && ran.stderr.contains(told), "{line}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
    assert!(!shop.path("busline.db").exists(), "nothing is made for what is refused");
}
