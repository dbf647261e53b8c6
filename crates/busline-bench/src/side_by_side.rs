//! Two buses of one benchmark side by side: ratios within each run, since their runs lie directly behind each other.

use crate::result::RunResult;
use crate::targets::RUNS_MIN;
use crate::workload::{Level, Mode};

/// A speed that buses are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speed {
    /// Envelopes acked in a second.
    Acked,
    /// Envelopes consumed in a second by a group that found them stored.
    Consumed,
    /// Envelopes published and consumed in a second, both at once.
    Followed,
}

impl Speed {
    pub(crate) const ALL: [Self; 3] = [Self::Acked, Self::Consumed, Self::Followed];

    /// As tables head it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Acked => "acked/s",
            Self::Consumed => "consumed/s",
            Self::Followed => "both/s",
        }
    }

    /// That of one run; none unless the run was sound and accepted everything.
    pub(crate) fn of(self, run: &RunResult) -> Option<f64> {
        let speed = match self {
            Self::Acked => run.acked_per_s,
            Self::Consumed => run.consumed_per_s,
            Self::Followed => run.followed_per_s,
        };
        speed.filter(|_| run.is_sound() && run.is_whole())
    }
}

/// Whether one of two buses is faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// In every run, and there are enough: by chance alone at most one time in 16.
    Faster,
    /// Not in every run.
    WithinNoise,
    /// Too few runs.
    Undecided,
}

/// The speed of one bus ÷ that of another, run by run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) smallest: f64,
    pub(crate) median: f64,
    pub(crate) largest: f64,
    pub(crate) runs: usize,
}

impl Ratio {
    pub(crate) fn decision(&self) -> Decision {
        match self {
            _ if self.runs < RUNS_MIN => Decision::Undecided,
            _ if self.smallest > 1.0 || self.largest < 1.0 => Decision::Faster,
            _ => Decision::WithinNoise,
        }
    }
}

/// The ratio of two buses under one load; none if no run has both.
pub(crate) fn ratio(
    results: &[RunResult],
    (level, mode): (Level, Mode),
    speed: Speed,
    (over, under): (&str, &str),
) -> Option<Ratio> {
    let is_of = |run: &RunResult, bus: &str| run.bus == bus && (run.level, run.mode) == (level, mode);
    let pairs = results.iter().filter(|run| is_of(run, over)).filter_map(|run| {
        let other = results.iter().find(|other| is_of(other, under) && other.run == run.run)?;
        Some(speed.of(run)? / speed.of(other)?)
    });
    let mut ratios: Vec<f64> = pairs.collect();
    ratios.sort_by(f64::total_cmp);
    let median = crate::compare::Figure::of(ratios.iter().copied())?.median;
    Some(Ratio { smallest: *ratios.first()?, median, largest: *ratios.last()?, runs: ratios.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    const LOAD: (Level, Mode) = (Level::Low, Mode::Async);

    #[track_caller]
    fn check(ratios: &[f64], decision: Decision) {
        let results = sample::duel(ratios);
        let found = ratio(&results, LOAD, Speed::Acked, ("nats", "sqlite")).expect("pairs");
        assert_eq!((found.decision(), found.runs), (decision, ratios.len()), "{found:?}");
        let inverse = ratio(&results, LOAD, Speed::Acked, ("sqlite", "nats")).expect("pairs");
        assert_eq!(inverse.decision(), decision, "{inverse:?}");
    }

    #[test]
    fn faster_means_in_every_run_of_enough() {
        check(&[1.1, 1.2, 1.3, 1.2, 1.01], Decision::Faster);
        check(&[1.1, 1.2, 1.3, 1.2, 0.99], Decision::WithinNoise);
        check(&[1.0; 5], Decision::WithinNoise);
        check(&[9.0; 4], Decision::Undecided);
    }

    #[test]
    fn ratios_are_of_the_same_run_and_unsound_runs_have_none() {
        let mut results = sample::duel(&[2.0, 4.0, 3.0]);
        // Both buses are slower in the second run, which cancels out.
        for result in results.iter_mut().filter(|it| it.run == 2) {
            result.acked_per_s = result.acked_per_s.map(|speed| speed / 100.0);
        }
        let of = |results: &[RunResult]| ratio(results, LOAD, Speed::Acked, ("nats", "sqlite"));
        let found = of(&results).expect("pairs");
        assert!((found.median - 3.0).abs() < 1e-9 && (found.largest - 4.0).abs() < 1e-9, "{found:?}");
        results.iter_mut().find(|it| it.run == 2).expect("a run").lost = 1;
        assert_eq!(of(&results).expect("pairs").runs, 2);
        results.iter_mut().find(|it| it.run == 3).expect("a run").rejected = 1;
        assert_eq!(of(&results).expect("pairs").runs, 1, "what was refused took no time");
        assert_eq!(of(&results[..1]), None);
    }
}
