//! Members of a group are killed while events keep coming; others take over, and at the end everything is judged.

use std::path::Path;
use std::time::{Duration, Instant};

use busline_history::{GroupPlan, Life, Plan, Reached, Recorder, Report, Run, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::consumer::Consumer;
use super::publisher::Publisher;
use super::{Outcome, evidence, note, seed};

/// Files that are worked on at once, since a take-over is mostly waiting, and kills on each.
const FILES: usize = 6;
const KILLS_PER_FILE: usize = 50;

/// Members of the group while it is under fire.
const MEMBERS: usize = 3;

/// Latest moment of a kill after the one before: some come before a member holds anything, some after a take-over.
const KILL_WITHIN: Duration = Duration::from_millis(1_500);

/// Pause between two events.
const EVENT_EVERY: Duration = Duration::from_millis(2);

#[test]
fn killed_members_lose_and_reorder_nothing() -> Outcome {
    let (seed, start) = (seed(), Instant::now());
    let outcomes: Vec<Outcome<String>> = std::thread::scope(|scope| {
        let files: Vec<_> =
            (0..FILES).map(|file| scope.spawn(move || one_file(seed.wrapping_add(file as u64)))).collect();
        files.into_iter().map(|file| file.join().unwrap_or_else(|_| Err("a file's thread panicked".into()))).collect()
    });
    for outcome in outcomes {
        println!("{}", outcome?);
    }
    println!("{} kills of members in {:.0?}", FILES * KILLS_PER_FILE, start.elapsed());
    Ok(())
}

fn one_file(seed: u64) -> Outcome<String> {
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    let recorder = Recorder::create(folder.path().join("faults.ndjson"), 0)?.actor("killer");
    let mut plan = Plan { groups: vec![GroupPlan::from_beginning("g", "kills")], ..Plan::default() };
    let publisher = Publisher::start_slowly(folder.path(), 0, EVENT_EVERY)?;
    publisher.wait_for_topic(&folder.path().join("bus.db"))?;
    let mut started = 0;
    let mut start = || {
        started += 1;
        Consumer::start(folder.path(), started)
    };
    let mut members = (0..MEMBERS).map(|_| start()).collect::<Outcome<Vec<_>>>()?;
    for _ in 0..KILLS_PER_FILE {
        let after = KILL_WITHIN.mul_f64(dice.random_range(0.0..1.0));
        let victim = members.swap_remove(dice.random_range(0..members.len()));
        let killed = victim.kill_after(after)?;
        note(&recorder, seed, "F8", &killed, after)?;
        plan.killed.insert(killed.process);
        members.push(start()?);
    }
    publisher.end()?;
    recorder.life(Life::DrainBegin)?;
    for member in members {
        member.end()?;
    }
    Consumer::finish(folder.path())?;
    recorder.life(Life::DrainEnd { reached: Reached::End })?;
    judge(folder.path(), &plan)
}

fn judge(folder: &Path, plan: &Plan) -> Outcome<String> {
    let (history, dump) = evidence(folder)?;
    let report = Report::of(&Run::new(&history, &dump, plan));
    assert_eq!(report.verdict, Verdict::Green, "{report}");
    Ok(report.to_string())
}
