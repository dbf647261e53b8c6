//! Runs under faults of a real server: how long they are, and what is told of each that was judged.

use std::fs::OpenOptions;
use std::io::Write;

use serde::Serialize;

/// How often a fault happens: the number of a short run times `BUSLINE_FAULT_FACTOR`.
#[must_use]
pub fn fault_rounds(short: u32) -> u32 {
    short * factor()
}

/// How many records at least are on their way before and after a fault: the number of a short run times
/// `BUSLINE_FAULT_FACTOR`.
#[must_use]
pub fn fault_records(short: u64) -> u64 {
    short * u64::from(factor())
}

fn factor() -> u32 {
    let Ok(text) = std::env::var("BUSLINE_FAULT_FACTOR") else { return 1 };
    text.parse().unwrap_or_else(|_| panic!("BUSLINE_FAULT_FACTOR={text} is no whole number"))
}

/// What became of the records of one run, after a judge found each acked one stored once and in order, and each that
/// failed not stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FaultRun {
    /// What happened to whom, for example `killed, fast`.
    pub fault: String,
    /// How often it happened.
    pub times: u64,
    /// What its chances came from, to run it again with `BUSLINE_SEED`; `None` where nothing is left to chance.
    pub seed: Option<u64>,
    /// Records whose outcome was an ack.
    pub acked: u64,
    /// Records whose outcome was a definite failure.
    pub failed: u64,
    /// Records of which nobody can know whether they are stored.
    pub indeterminate: u64,
    /// Events that a group handled once more than needed; `None` where no group read along.
    pub handled_again: Option<u64>,
}

impl FaultRun {
    /// Prints it, and adds it as a line of JSON to the file that `BUSLINE_FAULT_REPORT` names.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn tell(&self) {
        let Self { fault, times, acked, failed, indeterminate, .. } = self;
        println!("{fault}: {times} times; {acked} acked, {failed} failed, {indeterminate} indeterminate; all judged");
        let Some(path) = std::env::var_os("BUSLINE_FAULT_REPORT") else { return };
        let line = serde_json::to_string(self).expect("numbers and a text");
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the report's file");
        // One write, since tests run side by side.
        file.write_all(format!("{line}\n").as_bytes()).expect("the report is written");
    }
}
