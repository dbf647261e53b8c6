//! What a run of a test says about a mutation.

use std::fmt;

use crate::process::Ended;

/// How a mutation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The test noticed: these failed.
    Red(Vec<String>),
    /// The test did not notice.
    Green,
    /// Nothing was learnt, and why.
    Void(&'static str),
}

impl Verdict {
    pub(crate) fn is_red(&self) -> bool {
        matches!(self, Self::Red(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Red(failed) if failed.is_empty() => f.write_str("red"),
            Self::Red(failed) => write!(f, "red: {}", failed.join(", ")),
            Self::Green => f.write_str("GREEN (bad): the test does not notice"),
            Self::Void(why) => write!(f, "VOID (bad): {why}"),
        }
    }
}

/// Judges a run with the mutation. The build has succeeded before.
pub(crate) fn mutated(ended: &Ended, filter: &str) -> Verdict {
    match ended.status {
        None => Verdict::Void("the test did not end"),
        Some(status) if status.success() => Verdict::Green,
        Some(_) if ended.output.contains("test result: FAILED") || panicked(&ended.output, filter) => {
            Verdict::Red(failed(&ended.output))
        }
        Some(_) => Verdict::Void("it ended without a failed test"),
    }
}

/// What is wrong with a run without the mutation, if anything.
pub(crate) fn unmutated(ended: &Ended) -> Option<&'static str> {
    match ended.status {
        None => Some("the test does not end, without the mutation"),
        Some(status) if !status.success() => Some("the test is red without the mutation"),
        Some(_) if passed(&ended.output) == 0 => Some("the arguments choose no test"),
        Some(_) => None,
    }
}

/// The test's own panic, for a run that died before it could sum up.
fn panicked(output: &str, filter: &str) -> bool {
    let names = output.lines().filter(|line| line.contains("panicked at"));
    let mut names = names.filter_map(|line| line.strip_prefix("thread '")?.split_once('\'').map(|(name, _)| name));
    names.any(|name| name.contains(filter))
}

fn failed(output: &str) -> Vec<String> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    lines.map(str::to_owned).collect()
}

/// The number of tests that passed, over all binaries of the run.
fn passed(output: &str) -> usize {
    let sums = output.lines().filter_map(|line| line.strip_prefix("test result: ok. "));
    sums.filter_map(|sum| sum.split_once(" passed")?.0.parse::<usize>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::*;

    fn ended(code: Option<i32>, output: &str) -> Ended {
        let status = code.map(|code| ExitStatus::from_raw(code << 8));
        Ended { status, output: output.into(), took: Duration::ZERO }
    }

    #[test]
    fn a_failed_test_is_red() {
        let output = "test a::order ... FAILED\ntest b ... ok\ntest result: FAILED. 1 passed; 1 failed\n";
        assert_eq!(mutated(&ended(Some(101), output), "order"), Verdict::Red(vec!["a::order".into()]));
        let aborted = "thread 'a::order' (77) panicked at src/a.rs:1:2:\nabort";
        assert!(mutated(&ended(Some(101), aborted), "order").is_red());
    }

    #[test]
    fn anything_else_is_not() {
        assert_eq!(mutated(&ended(Some(0), "test result: ok. 1 passed"), "order"), Verdict::Green);
        for (code, output) in
            [(Some(101), "error: could not compile"), (Some(101), "thread 'main' panicked at a"), (None, "")]
        {
            assert!(matches!(mutated(&ended(code, output), "order"), Verdict::Void(_)), "{output}");
        }
    }

    #[test]
    fn a_test_must_be_green_before() {
        let none = "test result: ok. 0 passed; 0 failed\n";
        let two = "test result: ok. 0 passed; 0 failed\ntest result: ok. 2 passed; 0 failed\n";
        assert_eq!(unmutated(&ended(Some(0), two)), None);
        assert!(unmutated(&ended(Some(0), none)).is_some_and(|why| why.contains("no test")));
        assert!(unmutated(&ended(Some(101), two)).is_some_and(|why| why.contains("red")));
        assert!(unmutated(&ended(None, two)).is_some_and(|why| why.contains("end")));
    }
}
