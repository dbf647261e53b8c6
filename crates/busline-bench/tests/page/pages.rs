//! Pages of real benchmarks, small.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use busline_bench::{
    BenchReport, BenchRequest, Level, Mode, OpenRequest, Quiet, Rates, RunResult, open_load, run, write_page,
};

/// Two buses in memory: pages are tested here and no backends, so nothing may fail for a disk that is slow.
fn buses() -> Vec<String> {
    vec!["memory:".into(); 2]
}

/// The page of a benchmark of bursts, with all levels and many ways of one bus.
pub(crate) fn of_bursts(folder: &Path) -> PathBuf {
    let request = BenchRequest {
        buses: buses(),
        levels: vec![Level::Low],
        modes: vec![Mode::Async, Mode::Sync],
        runs: 2,
        ..BenchRequest::default()
    };
    let mut report = run(&request, &mut Quiet).expect("it runs");
    assert!(report.is_sound(), "{:?}", report.warnings);
    add_levels(&mut report);
    add_ways(&mut report);
    let page = folder.join("bursts.html");
    write_page(&report, &mut File::create(&page).expect("a file")).expect("written");
    page
}

/// The same runs once more, as those of each other level: what has to fit is the same as after an hour.
fn add_levels(report: &mut BenchReport) {
    let runs = report.results.clone();
    for level in Level::ALL.into_iter().skip(1) {
        report.results.extend(runs.iter().cloned().map(|mut run| {
            (run.level, run.envelopes, run.delivered) = (level, level.envelopes(), level.envelopes());
            run
        }));
    }
}

/// Ways to publish to one bus, which with the buses are more than there are colours.
const WAYS: [&str; 8] = [
    "pipelined",
    "task-per-message",
    "capped-256",
    "pipelined/headers",
    "task-per-message/no-headers",
    "capped-256/headers",
    "pipelined/2-streams",
    "task-per-message/2-streams",
];

/// The same runs once more, as those of other ways to publish.
fn add_ways(report: &mut BenchReport) {
    let runs: Vec<_> = report.results.iter().filter(|run| run.bus == "memory-2").cloned().collect();
    for way in WAYS {
        let strategy = way.split('/').next().and_then(|name| name.parse().ok()).expect("a strategy");
        let bus = format!("memory-2/{way}");
        report.results.extend(runs.iter().map(|run| RunResult { bus: bus.clone(), strategy, ..run.clone() }));
    }
}

/// The page of an open load, as the benchmark writes it.
pub(crate) fn of_rates(folder: &Path) -> PathBuf {
    let page = folder.join("rates.html");
    let request = OpenRequest {
        buses: buses(),
        rates: Rates::Each(vec![200.0, 400.0]),
        duration: Duration::from_secs(3),
        slo: Duration::from_secs(60),
        soak: true,
        html: Some(page.clone()),
        ..OpenRequest::default()
    };
    let report = open_load(&request, &mut Quiet).expect("it runs");
    assert!(report.is_sound(), "{:?}", report.warnings);
    page
}
