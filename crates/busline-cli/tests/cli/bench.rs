//! `bench` beside an earlier one, and at a rate.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Ran, Shop, interrupt_until_the_end, signal};

const LOAD: &str = "bench --level low --mode async --runs 3";

/// More runs than a test waits for.
const ENDLESS: &str = "bench --level low --mode async --runs 100";

/// Waits until a file is there, for a minute at most.
fn await_file(path: &Path) {
    let (_never, pause) = mpsc::channel::<()>();
    let is_there = (0..1_200).any(|_| {
        let _ = pause.recv_timeout(Duration::from_millis(50));
        path.exists()
    });
    assert!(is_there, "{} never came", path.display());
}

/// The results in `of` once more, changed, as another file.
fn changed(shop: &Shop, of: &str, name: &str, change: impl Fn(&mut Value)) {
    let text = std::fs::read(shop.path(of)).expect("written");
    let mut results: Value = serde_json::from_slice(&text).expect("JSON");
    change(&mut results);
    shop.file(name, results.to_string());
}

fn against(shop: &Shop, name: &str, tolerance: u32) -> Ran {
    shop.run(&format!("{LOAD} --baseline {name} --tolerance {tolerance}"))
}

#[test]
fn what_got_worse_is_named_first_and_fails_and_other_forms_are_refused() {
    let shop = Shop::new();
    let ran = shop.run(&format!("{LOAD} --json results.json"));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);

    changed(&shop, "results.json", "same.json", |_| {});
    let ran = against(&shop, "same.json", 1_000);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("baseline: no change shown: sqlite low async: acked/s"), "{}", ran.stdout);

    changed(&shop, "results.json", "faster.json", |results| {
        for run in results["results"].as_array_mut().expect("runs") {
            let ratio = run["twin"]["ratio_acked"].as_f64().expect("a ratio");
            // Beyond whatever a machine with much else to do makes of a few short runs.
            run["twin"]["ratio_acked"] = (ratio * 1e12).into();
        }
    });
    let ran = against(&shop, "faster.json", 15);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let told = ran.stdout.lines().nth(1).expect("a second line");
    assert!(told.starts_with("baseline: WORSE: sqlite low async: acked/s ÷ the twin's"), "{}", ran.stdout);

    changed(&shop, "results.json", "newer.json", |results| results["schema"] = 99.into());
    let ran = against(&shop, "newer.json", 15);
    assert!(ran.stderr.contains("Invalid/Baseline") && ran.stderr.contains("has schema 99"), "{}", ran.stderr);
    let ran = against(&shop, "none.json", 15);
    assert!(ran.stderr.contains("NotFound/File") && ran.stderr.contains("none.json"), "{}", ran.stderr);
}

#[test]
fn what_was_recorded_is_reported_again_as_one() {
    let shop = Shop::new();
    for (mode, file) in [("async", "async.json"), ("sync", "sync.json")] {
        let ran = shop.run(&format!("bench --bus memory: --level low --mode {mode} --runs 1 --json {file}"));
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    }
    let ran = shop.run("bench --results async.json,sync.json --markdown all.md --html all.html --json all.json");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("low     async") && ran.stdout.contains("low     sync"), "{}", ran.stdout);
    let text = std::fs::read_to_string(shop.path("all.md")).expect("written");
    for part in ["--mode async --runs 1\nbusline bench", "--mode sync --runs 1\n```", "| low sync | memory | "] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(shop.path("all.html").exists());
    let again = shop.run("bench --results all.json");
    assert_eq!((again.code, again.stdout), (Some(0), ran.stdout), "a report of reports is one too");

    changed(&shop, "all.json", "other.json", |results| results["machine"]["processors"] = 4_096.into());
    for (told, wanted) in [
        ("async.json,none.json", "NotFound/File: read the results none.json: no such file"),
        ("async.json,other.json", "on different machines"),
        ("all.md", "Invalid/Results"),
    ] {
        let ran = shop.run(&format!("bench --results {told}"));
        assert!(ran.code != Some(0) && ran.stderr.contains(wanted), "{:?} {}", ran.code, ran.stderr);
    }
    for flag in ["--level low", "--rate 5", "--payload 50", "--baseline all.json", "--workload wake", "--runs 2"] {
        let ran = shop.run(&format!("bench --results all.json {flag}"));
        assert!(ran.code == Some(2) && ran.stderr.contains("does not go with"), "{flag}: {}", ran.stderr);
    }
}

#[test]
fn a_rate_is_held_for_a_time() {
    let shop = Shop::new();
    let ran = shop
        .run("bench --rate 200,400 --duration 1s --slo 60s --json rates.json --html rates.html --markdown rates.md");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let text = std::fs::read(shop.path("rates.json")).expect("written");
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    let results = report["results"].as_array().expect("rates");
    let planned: Vec<u64> = results.iter().map(|rate| rate["envelopes"].as_u64().expect("a count")).collect();
    assert_eq!(planned, [200, 400]);
    for rate in results {
        assert!(rate["due_to_handler_ms"]["samples"] == rate["envelopes"], "every latency counts: {rate}");
        assert!(!rate["series"].as_array().expect("looks").is_empty(), "{rate}");
    }
    assert_eq!(report["best"][0]["per_s"], 400.0, "{report}");
    assert!(report["overhead"]["publish_ns"]["median"].as_f64().expect("a figure") > 0.0, "{}", report["overhead"]);
    let page = std::fs::read_to_string(shop.path("rates.html")).expect("written");
    assert!(page.contains("delivered at each rate") && page.contains("--rate 200,400 --duration 1s"), "{page}");
    let text = std::fs::read_to_string(shop.path("rates.md")).expect("written");
    for part in [
        "--rate 200,400 --duration 1s",
        "- sqlite: 400/s is the highest rate that held",
        "\n| 200/s | sqlite | ",
        "| yes |",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!text.contains("Whether it stays flat"), "that is for a soak: {text}");
    let ran = shop.run("bench --rate fast");
    assert!(ran.stderr.contains("Invalid/Range") && ran.stderr.contains("nor 'auto'"), "{}", ran.stderr);
    let ran = shop.run("bench --rate 5 --soak 1y");
    assert!(ran.code != Some(0), "{}", ran.stdout);
    let ran = shop.run(&format!("{LOAD} --baseline rates.json"));
    assert!(ran.stderr.contains("Invalid/Baseline") && ran.stderr.contains("is of an open load"), "{}", ran.stderr);
}

#[test]
fn a_soak_of_a_second_is_too_short_to_be_judged() {
    let shop = Shop::new();
    let ran = shop.run("bench --rate 50 --soak 1s --slo 60s --bus memory:");
    let told = ran.stdout.replace('\n', " ");
    assert_eq!(ran.code, Some(0), "{told}{}", ran.stderr);
    assert!(told.contains("1 s are too short to tell") && !told.contains("FLAT"), "{told}");
    assert!(told.contains("memory held: too short to tell"), "{told}");
}

#[test]
fn json_may_stand_in_front_of_the_command() {
    let shop = Shop::new();
    let ran = shop.run("--json bench results.json --level low --mode async --runs 1 --bus memory:");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(shop.path("results.json").exists() && ran.stdout.starts_with("All 500 envelopes"), "{}", ran.stdout);
}

/// What an end at once leaves on the bus is named, so that it can be deleted; what lies beside it is deleted.
#[test]
fn ctrl_c_twice_names_the_topics_that_are_left() {
    let shop = Shop::new();
    let mut child = shop.spawn("bench --level surge --mode sync --topics 2 --bus sqlite:kept.db");
    await_file(&shop.path("kept.db"));
    let topics = || {
        let listed = shop.run("topic list --bus sqlite:kept.db").stdout;
        let names = listed.lines().filter_map(|line| line.split_whitespace().next());
        names.filter(|name| name.starts_with("bench-")).map(str::to_string).collect::<Vec<_>>()
    };
    while topics().len() < 2 {
        assert_eq!(child.try_wait().expect("a state"), None, "ended without topics");
    }
    assert_eq!(interrupt_until_the_end(&mut child), Some(1));
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    let left = topics();
    let line = ran.stderr.lines().find(|line| line.contains("Closed/LeftBehind: topics on sqlite:kept.db"));
    let line = line.unwrap_or_else(|| panic!("{}", ran.stderr));
    assert!(left.len() >= 2 && line.contains("busline topic delete NAME"), "{left:?} {line}");
    for topic in &left {
        assert!(line.contains(topic.as_str()), "{topic} in {line}");
        let deleted = shop.run(&format!("topic delete {topic} --bus sqlite:kept.db"));
        assert_eq!(deleted.code, Some(0), "{}", deleted.stderr);
    }
    let names = std::fs::read_dir(shop.path(".")).expect("a folder").map(|file| file.expect("a file").file_name());
    let folders: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("busline-bench-")).collect();
    assert!(folders.iter().all(|name| ran.stderr.contains(&*name.to_string_lossy())), "{folders:?} {}", ran.stderr);
}

/// A benchmark that is broken off must not look like one that is whole: to nobody who reads it, and to no script.
#[test]
fn an_interrupted_benchmark_says_so_in_every_form_and_fails() {
    let shop = Shop::new();
    let child = shop.spawn(&format!("{ENDLESS} --json results.json --markdown results.md --html results.html"));
    await_file(&shop.path("results.json"));
    signal(&child, "TERM");
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let text = std::fs::read(shop.path("results.json")).expect("written");
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    let made = report["results"].as_array().map(Vec::len).expect("runs");
    assert!(report["interrupted"] == true && report["runs_asked"] == 100 && (1..100).contains(&made), "{report}");
    let told = format!("interrupted after {made} of 100 runs");
    assert!(ran.stdout.starts_with(&told), "{}", ran.stdout);
    assert!(ran.stderr.contains("Closed/Interrupted") && ran.stderr.contains(&told), "{}", ran.stderr);
    for name in ["results.md", "results.html"] {
        let text = std::fs::read_to_string(shop.path(name)).expect("written");
        let at = text.find(&told).unwrap_or_else(|| panic!("{told} in {text}"));
        assert!(at < text.find("were stored").expect("what is well"), "{text}");
    }
}
