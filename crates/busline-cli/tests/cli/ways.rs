//! A small benchmark of a server in every way to publish, judged run by run. Part of the tests of NATS and of Kafka.

use serde_json::Value;

use crate::harness::Shop;

/// Runs a small benchmark; gives its runs.
#[track_caller]
pub(crate) fn runs(url: &str, flags: &str) -> Vec<Value> {
    let shop = Shop::new();
    let line = format!("bench --bus {url} --mode async --runs 1 --json results.json --markdown report.md");
    let ran = shop.run(&format!("{line} {flags}"));
    assert_eq!(ran.code, Some(0), "{flags}: {}{}", ran.stdout, ran.stderr);
    let text = std::fs::read(shop.path("results.json")).expect("written");
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    let markdown = std::fs::read_to_string(shop.path("report.md")).expect("written");
    assert!(markdown.contains("## The predecessor's rows"), "{markdown}");
    report["results"].as_array().expect("runs").clone()
}

/// Sees that acks of more copies than the servers can keep are refused before anything is measured, and no topic is left.
#[track_caller]
pub(crate) fn copies_that_cannot_be_are_refused(backend: &str, url: &str, copies: u32) {
    let shop = Shop::new();
    let ran = shop.run(&format!("bench --bus {url} --level low --runs 1 --durability written --copies {copies}"));
    let replicas = 2 * copies - 1;
    let said = format!(
        "bench {backend}: Unsupported/Durability: wanted written × {copies}, which needs topics of {replicas} replicas, \
         and they are refused; ask for fewer --copies"
    );
    assert!(ran.code == Some(1) && ran.stdout.is_empty(), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    let left = shop.run(&format!("topic list --json --bus {url}"));
    assert!(left.code == Some(0) && !left.stdout.contains("bench-"), "{}{}", left.stdout, left.stderr);
}

fn count(run: &Value, field: &str) -> u64 {
    run[field].as_u64().unwrap_or_else(|| panic!("no count '{field}' in {run}"))
}

/// Sees that every way stores what it should, and that the ways of before show what they are there to show.
#[track_caller]
pub(crate) fn all_strategies_are_judged(backend: &str, url: &str) {
    let runs = runs(url, "--level medium --strategy all");
    let labels: Vec<&str> = runs.iter().map(|run| run["bus"].as_str().expect("a label")).collect();
    let of = |way: &str| format!("{backend}/{way}");
    assert_eq!(labels, [backend.into(), of("pipelined"), of("task-per-message"), of("capped-256")]);
    let [fast, pipelined, tasks, capped] = &runs[..] else { panic!("{labels:?}") };
    for run in &runs {
        let wrong = ["lost", "duplicates", "order_violations", "damaged", "not_acked", "redelivered", "undelivered"];
        assert!(wrong.iter().all(|field| count(run, field) == 0), "{run}");
        assert!(run["acked_per_s"].is_f64() && run["client_cpu_us"].is_f64(), "{run}");
        assert_eq!(run["leaked"], serde_json::json!({"tasks": 0, "threads": 0, "descriptors": 0}), "{run}");
    }
    for whole in [fast, pipelined, tasks] {
        assert!(whole["success_percent"] == 100.0 && count(whole, "rejected") == 0, "{whole}");
        assert!(count(whole, "delivered") == count(whole, "envelopes") && whole["twin"].is_object(), "{whole}");
    }
    // A burst at once does not fit into 256 places, and each place is used once at least.
    let stored = count(capped, "envelopes") - count(capped, "rejected");
    assert!((256..2_000).contains(&stored), "{capped}");
    let percent = capped["success_percent"].as_f64().expect("a number");
    assert!((percent - stored as f64 / 20.0).abs() < 1e-9, "{capped}");
    assert!(count(capped, "followed_rejected") > 0 && capped["twin"].is_null(), "{capped}");
    assert!(tasks["headers"] == true && fast["headers"] == false && capped["headers"] == false);
    // All have as many senders; what is more are tasks of the messages' own.
    let peak = |run| count(run, "peak_tasks");
    assert!(peak(tasks) > peak(fast) + 50, "{} {}", peak(tasks), peak(fast));
    assert!((1..count(fast, "senders") + 50).contains(&peak(fast)), "{fast}");
}

/// Sees that headers are stored where they are on and nowhere else: the dump of each run has looked.
#[track_caller]
pub(crate) fn headers_are_stored_where_they_are_on(backend: &str, url: &str) {
    let runs = runs(url, "--level medium --strategy fast,task-per-message --headers on,off");
    let labels: Vec<&str> = runs.iter().map(|run| run["bus"].as_str().expect("a label")).collect();
    let of = |way: &str| format!("{backend}/{way}");
    let expected = [of("headers"), backend.into(), of("task-per-message"), of("task-per-message/no-headers")];
    assert_eq!(labels, expected);
    let headers: Vec<bool> = runs.iter().map(|run| run["headers"] == true).collect();
    assert_eq!(headers, [true, false, true, false]);
    assert!(runs.iter().all(|run| run["success_percent"] == 100.0 && run["twin"].is_object()), "{runs:?}");
}
