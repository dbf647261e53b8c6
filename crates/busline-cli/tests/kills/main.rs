//! SIGKILL at random points: real `busline pub` and `busline sub --group` processes are killed again and again, and the
//! file is read by plain SQLite and judged against what they had recorded.
//!
//! SIGKILL proves nothing about `Synced`, since the page cache survives it: the power-loss tests of the driver do that.

mod consumer;
mod consumers;
mod dump;
mod parking;
mod publisher;
mod publishers;

use std::path::Path;
use std::time::Duration;

use busline_conformance::seed;
use busline_history::{Crash, Dump, Fault, FaultEnd, FaultStart, History, Process, Recorder, Target, Tolerance};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A process that was killed.
struct Killed {
    process: Process,
    by_signal: bool,
    /// What it had done until then, in words.
    until_then: String,
}

/// All histories in the folder, merged, and what stands in its file.
fn evidence(folder: &Path) -> Outcome<(History, Dump)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            files.push(path);
        }
    }
    Ok((History::read(files)?, dump::read(&folder.join("bus.db"))?))
}

/// Puts a kill into the history.
fn note(faults: &Recorder, seed: u64, kind: &str, killed: &Killed, after: Duration) -> Outcome {
    let target = Target::Process(killed.process);
    faults.fault(Fault::Start(FaultStart {
        kind: kind.into(),
        target: target.clone(),
        seed,
        parameter: format!("SIGKILL after {after:?}"),
        crash: Crash::Process,
        copies: 1,
        tolerance: Tolerance::Within,
    }))?;
    let proof = killed.by_signal.then(|| format!("ended by signal 9 after {}", killed.until_then));
    faults.fault(Fault::Stop(FaultEnd { kind: kind.into(), target, proof }))?;
    Ok(())
}
