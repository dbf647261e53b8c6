//! Pages of real benchmarks are whole.

use super::browser::Browser;
use super::{pages, probe};

/// The plots of one mode over the levels.
const OVER_LEVELS: [&str; 7] = [
    "acked",
    "consumed",
    "both at once",
    "peak memory",
    "memory held after close",
    "publishing an envelope",
    "consuming an envelope",
];

#[test]
fn a_page_of_bursts_is_whole_on_a_phone_and_on_a_desk() {
    let Some(browser) = Browser::find("a_page_of_bursts_is_whole_on_a_phone_and_on_a_desk") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let page = pages::of_bursts(folder.path());
    let of = |mode: &str, kinds: &[&str]| kinds.iter().map(|kind| format!("{mode}: {kind}")).collect::<Vec<_>>();
    let modes = ["async", "sync"];
    let each = |kinds: &[&str]| modes.iter().flat_map(|mode| of(mode, kinds)).collect::<Vec<_>>();
    let levels = [
        ("low", "500"),
        ("medium", "2,000"),
        ("high", "5,000"),
        ("extreme", "10,000"),
        ("surge", "100,000"),
        ("flood", "1,000,000"),
    ];
    let latency =
        |mode: &&str| levels.map(|(level, envelopes)| format!("{level} {mode}: latency of {envelopes} envelopes"));
    let memory = |mode: &&str| {
        [of(mode, &OVER_LEVELS[3..5]), vec![format!("flood {mode}: memory over the time of a run")]].concat()
    };
    let compared = ["success", "acked", "p99 from call to ack", "most tasks", "peak memory", "publishing an envelope"];
    let plots: Vec<String> = [
        each(&OVER_LEVELS[..3]),
        modes.iter().flat_map(latency).collect(),
        modes.iter().flat_map(memory).collect(),
        each(&OVER_LEVELS[5..]),
        modes.iter().flat_map(|mode| of(&format!("memory-2 {mode}"), &compared)).collect(),
        modes.iter().flat_map(latency).map(|title| format!("memory-2 {title}")).collect(),
    ]
    .concat();
    let plots: Vec<&str> = plots.iter().map(String::as_str).collect();
    assert_eq!(probe::faults(browser, &page, &plots), Vec::<String>::new());
}

#[test]
fn a_page_of_an_open_load_is_whole_on_a_phone_and_on_a_desk() {
    let Some(browser) = Browser::find("a_page_of_an_open_load_is_whole_on_a_phone_and_on_a_desk") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let page = pages::of_rates(folder.path());
    let plots = [
        "delivered at each rate",
        "p99 at each rate",
        "cost at each rate",
        "memory-1: latency at each rate",
        "memory-2: latency at each rate",
        "memory-1: memory over time",
        "memory-1: held memory over time",
        "memory-1: lag over time",
        "memory-1: throughput over time",
        "memory-2: memory over time",
        "memory-2: held memory over time",
        "memory-2: lag over time",
        "memory-2: throughput over time",
    ];
    assert_eq!(probe::faults(browser, &page, &plots), Vec::<String>::new());
}
