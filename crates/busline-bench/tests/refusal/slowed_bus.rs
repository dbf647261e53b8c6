//! A build that was slowed on purpose is caught by the baseline of the one before.

use std::path::Path;
use std::sync::Arc;

use busline_bench::{BenchReport, BenchRequest, Connect, Level, Mode, Quiet, run_on, write_table};

use super::slowed::{Slowed, SlowedBuses};

fn measured(slowed: Slowed, json: Option<&Path>, baseline: Option<&Path>) -> BenchReport {
    let request = BenchRequest {
        levels: vec![Level::Low],
        modes: vec![Mode::Async],
        runs: 5,
        json: json.map(Into::into),
        baseline: baseline.map(Into::into),
        ..BenchRequest::default()
    };
    let connect: Arc<dyn Connect> = Arc::new(SlowedBuses(slowed));
    run_on(&request, &connect, &mut Quiet).expect("it runs")
}

#[track_caller]
fn check_caught(slowed: Slowed, baseline: &Path, figure: &str) {
    let report = measured(slowed, None, Some(baseline));
    assert!(report.is_sound() && !report.is_as_good(), "{slowed:?}: {:?}", report.baseline);
    let worse = report.baseline.iter().flat_map(|baseline| baseline.worse());
    let worse: Vec<&str> = worse.map(|change| change.what.as_str()).collect();
    assert!(worse.contains(&figure), "{slowed:?}: {worse:?}");
    let mut table = Vec::new();
    write_table(&report, &mut table).expect("memory takes all");
    let table = String::from_utf8(table).expect("text");
    assert!(
        table.lines().nth(1).is_some_and(|line| line.starts_with("baseline: WORSE: sqlite low async: ")),
        "{table}"
    );
}

#[test]
fn a_wait_and_a_lost_batching_are_caught() {
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = folder.path().join("baseline.json");
    assert!(measured(Slowed::Not, Some(&baseline), None).is_as_good());
    check_caught(Slowed::Waits, &baseline, "sqlite low async: acked/s ÷ the twin's");
    // The twin stores in transactions of the same sizes, so it is their size that tells.
    check_caught(Slowed::OneByOne, &baseline, "sqlite low async: envelopes of one transaction");
}
