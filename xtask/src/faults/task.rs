//! The rounds.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Request;
use super::report::Report;
use crate::duration::Shown;
use crate::process::{self, Ended};
use crate::workspace::Workspace;

/// How much longer a run is than in the pipeline, in faults and in records around each.
const FACTOR: &str = "4";

/// Longest time of a round. Unit: seconds.
const ROUND_MAX: Duration = Duration::from_secs(3_600);

/// Lines behind a panic that are shown: its message, not the whole way to it.
const SHOWN: usize = 4;

/// Runs rounds until enough was acked. `false`: the tests of a round failed.
///
/// # Errors
/// The tests cannot be built or tell nothing, or the report cannot be written.
pub(crate) fn run(workspace: &Workspace, request: &Request) -> Result<bool> {
    let (begin, told) = (Instant::now(), workspace.target().join(format!("faults-{}.ndjson", request.backend.name())));
    process::pass(&mut tests(workspace, request, "--no-run ", &told))?;
    let (mut report, mut round, mut broken) = (Report::default(), 0, None);
    while broken.is_none() && report.sum("acked") < request.acked {
        round += 1;
        let ended = one_round(workspace, request, &told)?;
        let before = report.sum("acked");
        report.add(round, &std::fs::read_to_string(&told).unwrap_or_default())?;
        let acked = report.sum("acked");
        println!("round {round}: {acked} of {} acked after {}", request.acked, Shown(begin.elapsed()));
        if !ended.succeeded() {
            broken = Some(told_of_failures(&ended.output));
        } else if acked == before {
            bail!("the tests of round {round} told of no run");
        }
        if let Some(path) = &request.json {
            let json = report.json(request.backend.name(), round, broken.as_deref());
            std::fs::write(path, format!("{json:#}\n")).with_context(|| path.display().to_string())?;
        }
    }
    println!("{}", report.lines());
    if let Some(output) = &broken {
        eprintln!("round {round} failed:\n{output}");
    }
    Ok(broken.is_none())
}

fn one_round(workspace: &Workspace, request: &Request, told: &Path) -> Result<Ended> {
    match std::fs::remove_file(told) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| told.display().to_string());
        }
        _ => {}
    }
    process::within(ROUND_MAX, &mut tests(workspace, request, "", told))
}

/// One after the other: each fault is to meet the whole load.
fn tests(workspace: &Workspace, request: &Request, flag: &str, told: &Path) -> std::process::Command {
    let words = format!("test --release {flag}{} --nocapture --test-threads=1", request.backend.tests());
    let mut command = process::cargo();
    command.args(words.split_whitespace()).current_dir(workspace.root());
    command.env("BUSLINE_FAULT_FACTOR", FACTOR).env("BUSLINE_FAULT_REPORT", told);
    command
}

/// Each panic with the last seed before it, and how the tests ended. All of it when nothing panicked.
fn told_of_failures(output: &str) -> String {
    let (mut told, mut seed, mut shown) = (Vec::new(), None, 0);
    for line in output.lines() {
        if line.contains("BUSLINE_SEED") {
            seed = Some(line);
        } else if line.contains("panicked at") {
            told.extend(seed.take());
            shown = SHOWN;
        }
        if shown > 0 || line.starts_with("test result: FAILED") {
            told.push(line);
            shown = shown.saturating_sub(1);
        }
    }
    if told.is_empty() { output.to_owned() } else { told.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_seed_and_without_its_way() {
        let way = "   3: core::ops::function\n".repeat(80);
        let output = format!(
            "test a ... seed 1 (set BUSLINE_SEED to run it again)\nok\ntest b ... seed 2 (set BUSLINE_SEED to run it again)\n\
             thread 'b' panicked at b.rs:1:1:\nlost\nstack backtrace:\n{way}ok\ntest result: FAILED. 1 passed; 1 failed\n"
        );
        let told = told_of_failures(&output);
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(
            lines[..3],
            ["test b ... seed 2 (set BUSLINE_SEED to run it again)", "thread 'b' panicked at b.rs:1:1:", "lost"]
        );
        assert_eq!((lines.len(), lines[5]), (6, "test result: FAILED. 1 passed; 1 failed"));
        assert_eq!(told_of_failures("error: no test target\n"), "error: no test target\n");
    }
}
