//! The steps of the pipeline, cheap ones first.
//!
//! What is built, and shared:
//! - `check`: metadata only, with all features; clippy and rustdoc use one set of dependencies.
//! - `dev`: one build of the workspace with its default features, Kafka in the command and TLS on Kafka; tests, doc tests,
//!   examples and fuzz bodies run it. All of them say [`WORKSPACE`], since a build for one package unifies fewer features and
//!   would build anew. The facade alone, small as it is without drivers, is built a second time to test what it says then.
//! - `release`: the command, the benchmark and what they depend on, for the tests that need their speed: real inputs, kills,
//!   and the benchmark's baseline on the project itself. It has the default features, and so tests what the command says
//!   without Kafka.

use super::examples;
use super::licences;
use super::pipeline::{Outcome, Pipeline, Step, WORKSPACE};
use super::release_tests;
use crate::{mutate, tidy};

/// All steps. A new one is an entry here: a name, what it builds, and what it runs.
pub(crate) const STEPS: [Step; 11] = [
    Step { name: "format", profile: "builds nothing", run: |ci| ci.cargo("fmt --all --check") },
    Step { name: "tidy", profile: "builds nothing", run: |ci| ci.task("tidy", tidy::run) },
    Step {
        name: "mutations apply",
        profile: "builds nothing",
        run: |ci| ci.task("mutate --check", |workspace| mutate::run(workspace, &mutate::Request::check())),
    },
    Step { name: "clippy", profile: "check, all features", run: clippy },
    Step { name: "no default features", profile: "check and dev, no features", run: no_default_features },
    Step {
        name: "docs",
        profile: "check, all features",
        // Libraries only: the command and the facade are both called `busline` and would share a folder.
        run: |ci| ci.cargo_with("doc --workspace --lib --no-deps --all-features", &[("RUSTDOCFLAGS", "-D warnings")]),
    },
    Step { name: "tests", profile: "dev", run: |ci| ci.tests(&format!("test {WORKSPACE}"), &[]) },
    Step { name: "examples", profile: "dev", run: examples::run },
    Step { name: "fuzz bodies", profile: "dev", run: fuzz },
    Step { name: "licences", profile: "builds nothing", run: licences::run },
    Step { name: "release tests", profile: "release", run: release_tests::run },
];

fn clippy(ci: &Pipeline<'_>) -> Result<Outcome, anyhow::Error> {
    ci.cargo("clippy --workspace --all-targets --all-features -- -D warnings")?;
    // `--all-targets` leaves out what a manifest marks `test = false`.
    match release_tests::targets() {
        Some(targets) => ci.cargo(&format!("clippy {targets} --all-features -- -D warnings")),
        None => Ok(Outcome::Passed),
    }
}

/// The facade without drivers: that it builds, and what it says of their URLs.
fn no_default_features(ci: &Pipeline<'_>) -> Result<Outcome, anyhow::Error> {
    ci.cargo("clippy --package busline --no-default-features -- -D warnings")?;
    ci.tests("test --package busline --no-default-features --lib", &[])
}

/// A minute in all, or ten: the fuzz binary shares `BUSLINE_FUZZ_SECONDS` among its bodies.
fn fuzz(ci: &Pipeline<'_>) -> Result<Outcome, anyhow::Error> {
    let seconds = if ci.long { "600" } else { "60" };
    ci.tests(&format!("test {WORKSPACE} --test fuzz -- --nocapture"), &[("BUSLINE_FUZZ_SECONDS", seconds)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_each_says_what_it_builds() {
        let mut names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
        let profiles = ["builds nothing", "check", "dev", "release"];
        assert!(STEPS.iter().all(|step| profiles.iter().any(|profile| step.profile.starts_with(profile))));
    }
}
