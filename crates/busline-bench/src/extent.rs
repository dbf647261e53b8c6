//! How much of a benchmark was made of what was asked for.

use serde::{Deserialize, Serialize};

/// What was asked for, and whether it was broken off. Its fields are written among those of the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Measured runs that were asked for, those of all buses and loads together; of an open load one for each bus and
    /// rate. `None` of a search, whose length nobody knows, and in files of before it was written.
    #[serde(default)]
    pub runs_asked: Option<u64>,
    /// Whether it was cancelled before all of them were made.
    #[serde(default)]
    pub interrupted: bool,
}

impl Extent {
    pub(crate) fn of(runs: u64) -> Self {
        Self { runs_asked: Some(runs), interrupted: false }
    }

    /// Whether so many runs are all that were asked for.
    pub(crate) fn is_whole(&self, made: usize) -> bool {
        !self.interrupted && self.runs_asked.is_none_or(|asked| made as u64 >= asked)
    }

    /// What is missing, in words that go in front of every figure; `None` of a whole benchmark.
    ///
    /// `what` are the runs, in the plural.
    pub(crate) fn missing(&self, made: usize, what: &str) -> Option<String> {
        if self.is_whole(made) {
            return None;
        }
        let of_all = match self.runs_asked {
            Some(asked) => format!("{made} of {asked} {what}"),
            None => format!("{made} {what}, before the search ended"),
        };
        let left = match made {
            0 => "nothing was measured",
            _ => "the figures are of those alone, and the rest was not measured",
        };
        Some(match self.interrupted {
            true => format!("interrupted after {of_all}: {left}"),
            // As the files stand while it runs, or after a kill.
            false => format!("not ended, {of_all} so far: {left}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_and_a_whole_benchmark_misses_nothing() {
        let asked = Extent::of(5);
        assert_eq!(asked.missing(5, "runs"), None);
        let cut = Extent { interrupted: true, ..asked };
        assert_eq!(cut.missing(0, "runs").as_deref(), Some("interrupted after 0 of 5 runs: nothing was measured"));
        let told = cut.missing(1, "runs").expect("told");
        assert!(told.starts_with("interrupted after 1 of 5 runs: the figures are of those alone"), "{told}");
        let told = asked.missing(2, "runs").expect("told");
        assert!(told.starts_with("not ended, 2 of 5 runs so far"), "{told}");
        let search = Extent { runs_asked: None, interrupted: true };
        let told = search.missing(3, "rates").expect("told");
        assert!(told.starts_with("interrupted after 3 rates, before the search ended"), "{told}");
        assert_eq!(Extent::default().missing(0, "runs"), None, "a file of before it was written");
    }
}
