//! A build beside itself, and beside one that was slowed on purpose.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use busline_bench::{BenchReport, BenchRequest, Connect, Level, Mode, Quiet, run_on};

use super::slowed::{Slowed, SlowedBuses};

/// Change of a figure that is let pass in CI. Unit: percent. The machine of a pipeline does much else meanwhile; what is to
/// be caught is a lost batching or a wait, which cost several times the whole.
const TOLERANCE: u32 = 100;

/// Measured in bursts that are short enough for a minute in all; slowed ones only in the shortest.
fn measured(slowed: Slowed, tolerance_percent: u32, json: Option<&Path>, baseline: Option<&Path>) -> BenchReport {
    let levels = if slowed == Slowed::Not { vec![Level::Low, Level::Medium] } else { vec![Level::Low] };
    let request = BenchRequest {
        levels,
        modes: vec![Mode::Async],
        runs: 5,
        json: json.map(Into::into),
        baseline: baseline.map(Into::into),
        tolerance_percent,
        ..BenchRequest::default()
    };
    let connect: Arc<dyn Connect> = Arc::new(SlowedBuses(slowed));
    let began = Instant::now();
    let report = run_on(&request, &connect, &mut Quiet).expect("it runs");
    println!("measured {slowed:?} in {:.1} s", began.elapsed().as_secs_f64());
    assert!(report.is_sound(), "{slowed:?}: {:?}", report.warnings);
    report
}

/// Names of the figures that got worse.
fn worse(report: &BenchReport) -> BTreeSet<String> {
    let changes = report.baseline.iter().flat_map(|baseline| baseline.worse());
    changes.map(|change| change.what.clone()).collect()
}

/// Comparisons with a baseline, of which each writes the next one's.
fn alarms(tolerance_percent: u32, comparisons: usize, folder: &Path) -> Vec<BTreeSet<String>> {
    let file = |number: usize| folder.join(format!("{tolerance_percent}-{number}.json"));
    measured(Slowed::Not, tolerance_percent, Some(&file(0)), None);
    let compare =
        |number: usize| worse(&measured(Slowed::Not, tolerance_percent, Some(&file(number + 1)), Some(&file(number))));
    (0..comparisons).map(compare).collect()
}

/// Comparisons of the longer version, at the tolerance that is the default.
const MANY: usize = 20;
const DEFAULT_TOLERANCE: u32 = 15;

/// One test, because two at once would be measured by each other.
#[test]
fn a_build_is_as_good_as_itself_and_a_slowed_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    // At most one comparison in a hundred raises an alarm, so that two in a row raise the same one once in ten thousand.
    let found = alarms(TOLERANCE, 2, folder.path());
    let twice: Vec<&String> = found[0].intersection(&found[1]).collect();
    assert!(twice.is_empty(), "the same build is told to have become worse twice in a row: {twice:?}");
    let baseline = folder.path().join(format!("{TOLERANCE}-0.json"));
    for (slowed, figure) in
        [(Slowed::Waits, "acked/s ÷ the twin's"), (Slowed::OneByOne, "envelopes of one transaction")]
    {
        let found = worse(&measured(slowed, TOLERANCE, None, Some(&baseline)));
        let wanted = format!("sqlite low async: {figure}");
        assert!(found.contains(&wanted), "{slowed:?}: wanted {wanted} in {found:?}");
    }
    if std::env::var_os("BUSLINE_LONG").is_some() {
        let found = alarms(DEFAULT_TOLERANCE, MANY, folder.path());
        let raised: Vec<&BTreeSet<String>> = found.iter().filter(|worse| !worse.is_empty()).collect();
        println!("{} of {MANY} comparisons of a build with itself raised an alarm: {raised:?}", raised.len());
        // Of 20 with a chance of 1 in 100 each, two raise one less often than twice in a hundred.
        assert!(raised.len() <= 1, "{raised:?}");
    }
}
