//! `busline parked`: what a group could not handle is listed, shown, replayed and discarded.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{Ran, Shop, interrupt_until_the_end, signal};
use crate::members::{pause, wait_until};

/// While `broken` is there, version 2 of a and b fails; what is handled is written down.
const HANDLER: &str = "#!/bin/sh
read -r line
id=${line#*'\"id\":\"'}
id=${id%%'\"'*}
case \"$id\" in a-2|b-2) [ -e broken ] && exit 7;; esac
echo \"$id\" >> handled
exit 0
";

/// Four events of each of three keys, those of a and b parked from their second on.
fn shop_with_parked_keys() -> Shop {
    let shop = Shop::new();
    let event = |key: &str, version: u32| {
        format!(
            "{{\"event_id\":\"{key}-{version}\",\"aggregate_id\":\"{key}\",\"event_type\":\"T{key}\",\
             \"event_version\":{version},\"timestamp\":\"2026-11-25T08:00:00Z\",\"payload\":{version}}}\n"
        )
    };
    let events: String = (1..=4).flat_map(|version| ["a", "b", "c"].map(|key| event(key, version))).collect();
    shop.file("events", events);
    shop.file("handler", HANDLER);
    std::fs::set_permissions(shop.path("handler"), PermissionsExt::from_mode(0o755)).expect("a mode");
    shop.file("broken", "");
    assert_eq!(shop.run("pub orders --file events").code, Some(0));
    let ran = shop.run("sub orders --group g --exec ./handler --attempts 2 --until-end --json");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.json().len(), 6, "{}", ran.stdout);
    assert_eq!(ran.stderr.matches("'busline parked list --group g'").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.ends_with("orders: 6 events were parked\n"), "{}", ran.stderr);
    shop
}

fn done(ran: Ran) -> Vec<Value> {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    ran.json()
}

fn handled(shop: &Shop, key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(shop.path("handled")).expect("handled");
    text.lines().filter(|id| id.starts_with(key)).map(str::to_owned).collect()
}

#[test]
fn parked_keys_are_listed_shown_replayed_and_discarded() {
    let shop = shop_with_parked_keys();
    let listed = done(shop.run("parked list --group g --json"));
    assert_eq!(listed.len(), 2, "{listed:?}");
    let a = listed.iter().find(|queue| queue["key"] == "a").expect("a is parked");
    assert_eq!((&a["records"], &a["scope"], &a["first"]["attempts"]), (&3.into(), &"key".into(), &2.into()));
    assert!(a["first"]["error"].as_str().expect("a text").contains('7'), "{a}");

    let shown = done(shop.run("parked show --group g --key a --json"));
    let ids: Vec<&Value> = shown.iter().map(|record| &record["id"]).collect();
    assert_eq!(ids, ["a-2", "a-3", "a-4"]);
    assert_eq!((&shown[0]["envelope"]["data"], &shown[0]["topic"]), (&2.into(), &"orders".into()));

    let planned = done(shop.run("parked replay --group g --type Ta --dry-run --json"));
    assert_eq!((planned.len(), &planned[0]["done"]), (1, &false.into()));
    let planned = done(shop.run("parked discard --group g --key b --first --reason r --dry-run --json"));
    assert_eq!(&planned[0]["records"], 1);
    assert_eq!(done(shop.run("parked list --group g --json")), listed, "dry runs change nothing");

    let failed = shop.run("parked replay --group g --exec ./handler");
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains("key a: exit status: 7"), "{}", failed.stderr);

    let discarded =
        shop.command("parked discard --group g --key b --first --json").args(["--reason", "sent twice"]).output();
    assert_eq!(&done(Ran::of(discarded.expect("runs")))[0]["discarded"], 1);
    std::fs::remove_file(shop.path("broken")).expect("mended");
    assert_eq!(&done(shop.run("parked replay --group g --exec ./handler --json"))[0]["replayed"], 5);
    assert_eq!(handled(&shop, "a"), ["a-1", "a-2", "a-3", "a-4"]);
    assert_eq!(handled(&shop, "b"), ["b-1", "b-3", "b-4"]);
    assert_eq!(handled(&shop, "c"), ["c-1", "c-2", "c-3", "c-4"]);
    assert!(done(shop.run("parked list --group g --json")).is_empty());
}

/// The most events are those of all topics together.
#[test]
fn a_count_bounds_a_replay_over_several_topics() {
    let shop = shop_with_parked_keys();
    assert_eq!(shop.run("pub copies --file events").code, Some(0));
    done(shop.run("sub copies --group g --exec ./handler --attempts 2 --until-end --json"));
    std::fs::remove_file(shop.path("broken")).expect("mended");
    let replayed = |count: u32| {
        let reports = done(shop.run(&format!("parked replay --group g --exec ./handler --count {count} --json")));
        reports.iter().map(|report| report["replayed"].as_u64().expect("a number")).sum::<u64>()
    };
    assert_eq!([2, 5, 100].map(replayed), [2, 5, 5], "twelve in all, six of each topic");
}

#[test]
fn a_group_that_is_moved_back_runs_what_was_replayed() {
    let shop = shop_with_parked_keys();
    std::fs::remove_file(shop.path("broken")).expect("mended");
    done(shop.run("parked replay --group g --key a --exec ./handler --json"));
    done(shop.run("group seek g orders --to earliest --json"));
    done(shop.run("sub orders --group g --exec ./handler --until-end --json"));
    let twice = ["a-1", "a-2", "a-3", "a-4", "a-1", "a-2", "a-3", "a-4"];
    assert_eq!(handled(&shop, "a"), twice);
    assert_eq!(handled(&shop, "b"), ["b-1"], "still parked, with what is before it in its queue");
}

#[test]
fn a_program_that_cannot_be_started_parks_nothing() {
    let shop = shop_with_parked_keys();
    let ran = shop.run("sub orders --group other --exec ./missing --attempts 1 --until-end");
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("NotFound/Program"), "{}", ran.stderr);
    let ran = shop.run("parked list --group other --json");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", "group other has nothing parked\n"));
}

#[test]
fn what_is_not_there_is_named() {
    let shop = shop_with_parked_keys();
    for line in ["parked list --group nobody", "parked replay --group nobody --dry-run"] {
        let ran = shop.run(line);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stderr.contains("NotFound/Parking"), "{}", ran.stderr);
    }
    for line in ["parked show --group g --key nobody", "parked list --group g --key nobody"] {
        let ran = shop.run(line);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
        assert!(ran.stderr.contains("nothing that is parked matches"), "{}", ran.stderr);
    }
    assert_eq!(shop.run("parked replay --group g").code, Some(2), "a replay needs a program");
    assert_eq!(shop.run("parked discard --group g --key a").code, Some(2), "a discard needs a reason");
    let listed = shop.run("topic list");
    assert!(!listed.stdout.contains("__parked"), "{}", listed.stdout);
    let listed = shop.run("group list");
    assert!(!listed.stdout.contains("replay"), "{}", listed.stdout);
}

/// Tells that it has begun, and ends once it may.
const PATIENT: &str = "#!/bin/sh
echo begun >> begun
while [ ! -e go ]; do sleep 0.02; done
echo done >> done
";

fn shop_with_a_patient_program() -> Shop {
    let shop = shop_with_parked_keys();
    shop.file("patient", PATIENT);
    std::fs::set_permissions(shop.path("patient"), PermissionsExt::from_mode(0o755)).expect("a mode");
    shop
}

fn lines(shop: &Shop, file: &str) -> usize {
    std::fs::read_to_string(shop.path(file)).unwrap_or_default().lines().count()
}

#[test]
fn ctrl_c_lets_a_replay_end_what_runs_and_report_it() {
    let shop = shop_with_a_patient_program();
    let child = shop.spawn("parked replay --group g --exec ./patient --json");
    wait_until("a program runs", || lines(&shop, "begun") > 0);
    signal(&child, "INT");
    pause(500);
    shop.file("go", "");
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    let report = ran.json().remove(0);
    let done = lines(&shop, "done");
    assert_eq!((&report["replayed"], &report["failed"]), (&done.into(), &0.into()));
    assert_eq!(lines(&shop, "begun"), done, "no program was killed");
    assert_eq!(done + done_left(&shop), 6, "what was not run is still parked");
}

fn done_left(shop: &Shop) -> usize {
    done(shop.run("parked show --group g --json")).len()
}

#[test]
fn ctrl_c_twice_says_what_was_in_hand() {
    let shop = shop_with_a_patient_program();
    for (line, named) in [
        ("parked replay --group g --exec ./patient", "parked replay g"),
        ("sub orders --group other --exec ./patient --concurrency 1", "sub orders"),
    ] {
        let before = lines(&shop, "begun");
        let mut child = shop.spawn(line);
        wait_until("a program runs", || lines(&shop, "begun") > before);
        let code = interrupt_until_the_end(&mut child);
        let ran = Ran::of(child.wait_with_output().expect("ends"));
        assert_eq!((code, ran.stdout.as_str()), (Some(1), ""), "{line}: {}", ran.stderr);
        assert_eq!(
            ran.stderr,
            format!(
                "busline: {named}: Closed/Interrupted: stopped at once, with 1 events whose handlers had not ended; run \
                 it again: they come again\n"
            ),
            "{line}"
        );
    }
}

#[test]
fn a_replay_whose_program_cannot_be_started_touches_nothing() {
    let shop = shop_with_parked_keys();
    let stored = || {
        let connection = rusqlite::Connection::open(shop.path("busline.db")).expect("the bus");
        let count: u64 = connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).expect("a count");
        count
    };
    let (shown, records) = (done(shop.run("parked show --group g --json")), stored());
    shop.file("plain", "not to be run");
    for (program, code) in
        [("./missing", "NotFound/Program"), ("no-such-program", "NotFound/Program"), ("./plain", "Denied/Program")]
    {
        let ran = shop.run(&format!("parked replay --group g --exec {program}"));
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(code) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
    assert_eq!((done(shop.run("parked show --group g --json")), stored()), (shown, records));
}
