//! Publishers are killed, and after each life the file is judged.

use std::path::Path;
use std::time::{Duration, Instant};

use busline_history::{Plan, Recorder, Report, Run, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::publisher::Publisher;
use super::{Outcome, evidence, note, seed};

/// Kills in all, and on one file.
const KILLS: usize = 300;
const KILLS_PER_FILE: usize = 10;

/// Latest moment of a kill after the first line of input.
const KILL_WITHIN: Duration = Duration::from_millis(120);

/// What all kills of a run came to.
#[derive(Default)]
struct Totals {
    kills: usize,
    attempted: u64,
    acked: u64,
    stored: usize,
}

#[test]
fn killed_publishers_lose_nothing_that_was_acked() -> Outcome {
    let seed = seed();
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut totals, start) = (Totals::default(), Instant::now());
    for _ in 0..KILLS / KILLS_PER_FILE {
        one_file(&mut dice, seed, &mut totals)?;
    }
    println!(
        "{} kills in {:.0?}: {} attempted, {} acked, {} stored, 0 lost, 0 doubled, 0 reordered",
        totals.kills,
        start.elapsed(),
        totals.attempted,
        totals.acked,
        totals.stored
    );
    assert!(totals.kills >= KILLS);
    Ok(())
}

/// Kills publishers of one file one after another; in every third life two of them publish at once.
fn one_file(dice: &mut StdRng, seed: u64, totals: &mut Totals) -> Outcome {
    let folder = tempfile::tempdir()?;
    let faults = Recorder::create(folder.path().join("faults.ndjson"), 0)?.actor("killer");
    let mut plan = Plan { acked_min: 0, ..Plan::default() };
    let (mut life, mut kills) = (0, 0);
    while kills < KILLS_PER_FILE {
        let together = if life % 3 == 2 { 2 } else { 1 };
        let publishers = (0..together)
            .map(|number| Publisher::start(folder.path(), life * 2 + number))
            .collect::<Outcome<Vec<_>>>()?;
        for publisher in publishers {
            let after = KILL_WITHIN.mul_f64(dice.random_range(0.0..1.0));
            let killed = publisher.kill_after(after)?;
            note(&faults, seed, "F7", &killed, after)?;
            plan.killed.insert(killed.process);
            kills += 1;
        }
        life += 1;
        judge(folder.path(), &plan)?;
    }
    let (history, dump) = evidence(folder.path())?;
    plan.acked_min = 1_000;
    let report = Report::of(&Run::new(&history, &dump, &plan));
    assert_eq!(report.verdict, Verdict::Green, "{report}");
    totals.kills += kills;
    totals.attempted += report.summary.attempted;
    totals.acked += report.summary.acked;
    totals.stored += dump.rows().len();
    Ok(())
}

/// Judges everything that has happened on this file so far.
fn judge(folder: &Path, plan: &Plan) -> Outcome {
    let (history, dump) = evidence(folder)?;
    let report = Report::of(&Run::new(&history, &dump, plan));
    assert!(report.violations.is_empty(), "{report}");
    Ok(())
}
