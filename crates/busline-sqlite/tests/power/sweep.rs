//! Power cuts at many points of a writer's work, under each of SQLite's settings for syncs.
//!
//! With `synchronous=FULL` nothing committed may go. With less, something must go: else the disk would test nothing.

use std::ops::ControlFlow;

use super::dice::Dice;
use super::vfs::{Loss, PowerDisk};
use super::workload::{Found, Writer, connect, inspect};

/// Times that the power goes in one run.
const LIVES: u64 = 3;

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Kept,
    Lost { transactions: i64 },
    Corrupt(String),
}

/// One life: works until the power goes after `cut` more operations, restarts, and inspects.
fn live(disk: &PowerDisk, synchronous: &str, cut: u64, loss: Loss, writer: &mut Writer, dice: &mut Dice) -> Outcome {
    let last_op = disk.ops() + cut;
    disk.power_off_at(last_op);
    let connection = connect(disk, synchronous);
    if let Ok(connection) = &connection {
        // The error is the power cut; an uncut life ends without one.
        let _ = writer.work(connection, dice);
    }
    assert!(disk.ops() <= last_op, "an operation without power");
    disk.restart(loss);
    // Only after the restart: closing with the power on would tidy up.
    drop(connection);
    match inspect_after_loss(disk, synchronous, writer, dice) {
        Err(damage) => Outcome::Corrupt(damage),
        Ok(Found { last }) if last < writer.acked => Outcome::Lost { transactions: writer.acked - last },
        Ok(Found { last }) => {
            writer.resume(last);
            Outcome::Kept
        }
    }
}

/// Recovers and inspects; then closes in good order, or dies and leaves the log as recovered to the next life.
fn inspect_after_loss(disk: &PowerDisk, synchronous: &str, writer: &Writer, dice: &mut Dice) -> Result<Found, String> {
    let connection = connect(disk, synchronous).map_err(|error| error.to_string())?;
    let found = inspect(&connection, writer);
    if dice.below(2) == 0 {
        disk.kill_process();
    }
    found
}

/// Operations of one uncut life.
fn ops_of_a_life(synchronous: &str) -> u64 {
    let disk = PowerDisk::new(0);
    let connection = connect(&disk, synchronous).expect("the power is on");
    Writer::default().work(&connection, &mut Dice::new(0)).expect("the power is on");
    disk.ops()
}

/// Several lives on one disk, until one of them loses something.
fn run(seed: u64, synchronous: &str, ops: u64) -> Outcome {
    let disk = PowerDisk::new(seed);
    let mut dice = Dice::new(!seed);
    let mut writer = Writer::default();
    let lives = (0..LIVES).try_fold(Outcome::Kept, |_, _| {
        let cut = dice.below(ops as usize) as u64;
        match live(&disk, synchronous, cut, Loss::Any, &mut writer, &mut dice) {
            Outcome::Kept => ControlFlow::Continue(Outcome::Kept),
            broken => ControlFlow::Break(broken),
        }
    });
    match lives {
        ControlFlow::Continue(outcome) | ControlFlow::Break(outcome) => outcome,
    }
}

#[test]
fn full_sync_keeps_every_committed_row() {
    let ops = ops_of_a_life("FULL");
    println!("seeds 0..300, {LIVES} power losses each, within {ops} operations");
    for seed in 0..300 {
        assert_eq!(run(seed, "FULL", ops), Outcome::Kept, "seed {seed}");
    }
}

#[test]
fn full_sync_keeps_every_committed_row_of_a_file_just_made() {
    for (cut, kind) in (0..60).flat_map(|cut| Loss::KINDS.map(|kind| (cut, kind))) {
        let disk = PowerDisk::new(cut);
        let (mut writer, mut dice) = (Writer::default(), Dice::new(cut));
        let outcome = live(&disk, "FULL", cut, kind, &mut writer, &mut dice);
        assert_eq!(outcome, Outcome::Kept, "cut after {cut} operations, {kind:?}");
    }
}

#[test]
fn normal_sync_loses_committed_rows_and_stays_sound() {
    let ops = ops_of_a_life("NORMAL");
    let outcomes: Vec<_> = (0..60).map(|seed| (seed, run(seed, "NORMAL", ops))).collect();
    let corrupt = |outcome: &Outcome| matches!(outcome, Outcome::Corrupt(_));
    assert!(!outcomes.iter().any(|(_, outcome)| corrupt(outcome)), "{outcomes:?}");
    let losing = seeds(&outcomes, |outcome| matches!(outcome, Outcome::Lost { .. }));
    println!("NORMAL lost committed rows with seeds {losing:?}");
    assert!(!losing.is_empty(), "a disk that loses nothing tests nothing");
}

#[test]
fn sync_off_loses_committed_rows_and_the_file() {
    let ops = ops_of_a_life("OFF");
    let outcomes: Vec<_> = (0..60).map(|seed| (seed, run(seed, "OFF", ops))).collect();
    let losing = seeds(&outcomes, |outcome| matches!(outcome, Outcome::Lost { .. }));
    let corrupt = seeds(&outcomes, |outcome| matches!(outcome, Outcome::Corrupt(_)));
    println!("OFF lost committed rows with seeds {losing:?}, the file with seeds {corrupt:?}");
    assert!(!losing.is_empty() && !corrupt.is_empty(), "a disk that loses nothing tests nothing");
}

fn seeds(outcomes: &[(u64, Outcome)], wanted: impl Fn(&Outcome) -> bool) -> Vec<u64> {
    let some = outcomes.iter().filter(|(_, outcome)| wanted(outcome));
    some.map(|(seed, _)| *seed).collect()
}
