//! Tests that run in release: real inputs, crashes of the real binary, and what it says without Kafka.
//!
//! They run in dev as well, unless their manifest says otherwise:
//! ```toml
//! [[test]]
//! name = "crash"
//! test = false # only where it is named: cargo xtask ci runs it in release
//! ```

use anyhow::Result;

use super::pipeline::{Outcome, Pipeline};

/// Package and test target, each run by `cargo test --release`.
pub(crate) const RELEASE_TESTS: &[(&str, &str)] =
    &[("busline-bench", "baseline"), ("busline-cli", "kills"), ("busline-cli", "without_kafka")];

/// Runs all of them, built once.
pub(crate) fn run(ci: &Pipeline<'_>) -> Result<Outcome> {
    match targets() {
        Some(targets) => ci.tests(&format!("test --release {targets}"), &[]),
        None => Ok(Outcome::Skipped("RELEASE_TESTS in xtask/src/ci/release_tests.rs is empty".into())),
    }
}

/// The words that choose them, or `None` when there are none.
pub(crate) fn targets() -> Option<String> {
    selected(RELEASE_TESTS)
}

fn selected(tests: &[(&str, &str)]) -> Option<String> {
    let mut packages: Vec<_> = tests.iter().map(|(package, _)| format!("--package {package}")).collect();
    packages.sort();
    packages.dedup();
    let names = tests.iter().map(|(_, test)| format!("--test {test}"));
    let words: Vec<_> = packages.into_iter().chain(names).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_once() {
        let words = selected(&[("busline-cli", "crash"), ("busline-cli", "inputs")]);
        assert_eq!(words.as_deref(), Some("--package busline-cli --test crash --test inputs"));
        assert_eq!(selected(&[]), None);
    }
}
