//! Runs the steps in order, stops at the first failure and says how long each took.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::steps::STEPS;
use crate::duration::Shown;
use crate::process;
use crate::workspace::Workspace;

/// The workspace, as all steps of the profile `dev` build it: with Kafka in the command and TLS on Kafka, so that the tests
/// of both run, and so that the C library of the clients is the one that clippy's build of all features has compiled already.
/// Without TLS it would be compiled a second time.
pub(crate) const WORKSPACE: &str = "--workspace --features busline-kafka/tls,busline-cli/kafka";

/// One step of the pipeline.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// What it builds, if anything: steps of one profile share their artifacts.
    pub(crate) profile: &'static str,
    pub(crate) run: fn(&Pipeline<'_>) -> Result<Outcome>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// Not run, and why.
    Skipped(String),
}

/// What a step works with.
pub(crate) struct Pipeline<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) long: bool,
}

/// Runs the pipeline. `false`: a step failed, and its name was printed.
pub(crate) fn run(workspace: &Workspace, long: bool) -> Result<bool> {
    Ok(run_steps(&STEPS, &Pipeline { workspace, long }))
}

fn run_steps(steps: &[Step], pipeline: &Pipeline<'_>) -> bool {
    let begin = Instant::now();
    let mut skipped = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!("\n==> {}/{} {} ({})", index + 1, steps.len(), step.name, step.profile);
        let began = Instant::now();
        let outcome = (step.run)(pipeline);
        let took = Shown(began.elapsed());
        match outcome {
            Ok(Outcome::Passed) => println!("ok: {} in {took}", step.name),
            Ok(Outcome::Skipped(reason)) => {
                println!("skipped: {}: {reason}", step.name);
                skipped.push(step.name);
            }
            Err(error) => {
                println!("FAILED: {} in {took}: {error:#}", step.name);
                println!("\n{}", failed(step.name, index, steps.len(), begin.elapsed()));
                return false;
            }
        }
    }
    println!("\n{}", passed(steps.len(), &skipped, begin.elapsed()));
    true
}

fn passed(steps: usize, skipped: &[&str], took: Duration) -> String {
    let without = if skipped.is_empty() { String::new() } else { format!(", skipped: {}", skipped.join(", ")) };
    format!("ci passed: {} of {steps} steps in {}{without}", steps - skipped.len(), Shown(took))
}

fn failed(step: &str, before: usize, steps: usize, took: Duration) -> String {
    let after = steps - before - 1;
    format!("ci FAILED at `{step}` after {}: {before} steps before it, {after} behind it not run", Shown(took))
}

impl Pipeline<'_> {
    /// Runs `cargo` with the words of a line.
    pub(crate) fn cargo(&self, line: &str) -> Result<Outcome> {
        self.cargo_with(line, &[])
    }

    /// The same with environment variables.
    pub(crate) fn cargo_with(&self, line: &str, variables: &[(&str, &str)]) -> Result<Outcome> {
        let mut cargo = process::cargo();
        cargo.args(line.split_whitespace()).envs(variables.iter().copied());
        self.pass(&mut cargo)
    }

    /// Runs tests, in their longer versions if these are asked for.
    pub(crate) fn tests(&self, line: &str, variables: &[(&str, &str)]) -> Result<Outcome> {
        let long = self.long.then_some(("BUSLINE_LONG", "1"));
        let variables: Vec<_> = variables.iter().copied().chain(long).collect();
        self.cargo_with(line, &variables)
    }

    /// Runs a command in the root of the workspace.
    pub(crate) fn pass(&self, command: &mut Command) -> Result<Outcome> {
        println!("$ {}", process::shown(command));
        process::pass(command.current_dir(self.workspace.root()))?;
        Ok(Outcome::Passed)
    }

    /// Turns the answer of a sister task into an outcome.
    pub(crate) fn task(&self, name: &str, task: impl FnOnce(&Workspace) -> Result<bool>) -> Result<Outcome> {
        println!("$ cargo xtask {name}");
        if task(self.workspace)? { Ok(Outcome::Passed) } else { bail!("`cargo xtask {name}` found what is above") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_and_names_what_was_skipped() {
        let took = Duration::from_secs(61);
        assert_eq!(passed(3, &[], took), "ci passed: 3 of 3 steps in 1 min 01 s");
        assert_eq!(passed(3, &["licences"], took), "ci passed: 2 of 3 steps in 1 min 01 s, skipped: licences");
    }

    #[test]
    fn a_failure_names_its_step() {
        let said = failed("docs", 2, 5, Duration::from_secs(2));
        assert_eq!(said, "ci FAILED at `docs` after 2.0 s: 2 steps before it, 2 behind it not run");
    }

    #[test]
    fn the_steps_behind_a_failure_do_not_run() {
        let workspace = Workspace::find().expect("this workspace");
        let pipeline = Pipeline { workspace: &workspace, long: false };
        let step = |run| Step { name: "a", profile: "none", run };
        assert!(run_steps(&[step(|_| Ok(Outcome::Passed)), step(|_| Ok(Outcome::Skipped("b".into())))], &pipeline));
        assert!(!run_steps(&[step(|_| bail!("red")), step(|_| panic!("it ran"))], &pipeline));
    }
}
