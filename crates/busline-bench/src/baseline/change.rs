//! One figure before and now.
//!
//! A figure is a ratio to the native twin that ran directly beside it, so the speed of the machine cancels out. It is
//! compared by the logarithms of the runs: a half and a double are then equally far from one.

use serde::{Deserialize, Serialize};

use crate::statistics::{Shift, shift};

/// A figure of two benchmarks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which figure, such as `sqlite low async: acked/s ÷ the twin's`.
    pub what: String,
    /// Its geometric mean in the earlier benchmark.
    pub before: f64,
    /// The same in this one.
    pub now: f64,
    /// Runs of the earlier benchmark and of this one.
    pub runs: (usize, usize),
    /// How much worse it is, in 100 of the earlier value; negative if it is better.
    pub worse_percent: f64,
    /// The bounds of that, which hold the true value 19 times in 20; `None` of too few runs.
    pub worse_percent_range: Option<(f64, f64)>,
    /// What that means.
    pub trend: Trend,
}

/// What a change means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// Worse by more than the tolerance, and noise does not explain it.
    Worse,
    /// Better by more than the tolerance, and noise does not explain it.
    Better,
    /// Neither is shown.
    Same,
    /// Fewer than three runs on one side.
    Undecided,
}

/// Which way is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Good {
    High,
    Low,
}

/// How a comparison decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    /// Change that is no regression. Unit: parts of one.
    pub(crate) tolerance: f64,
    /// The chance of a false alarm that one figure may have.
    pub(crate) chance: f64,
}

/// Least standard deviation of a run that is believed: about 2 %.
const NOISE_MIN: f64 = 0.02;

impl Change {
    /// Compares the runs of two benchmarks. Values that are no positive numbers are left out; none if nothing is left.
    pub(crate) fn of(what: String, good: Good, before: &[f64], now: &[f64], rule: Rule) -> Option<Self> {
        let sign = if good == Good::Low { 1.0 } else { -1.0 };
        let logs = |values: &[f64]| -> Vec<f64> {
            values.iter().filter(|value| value.is_finite() && **value > 0.0).map(|value| value.ln() * sign).collect()
        };
        let (before, now) = (logs(before), logs(now));
        let mean = |logs: &[f64]| (!logs.is_empty()).then(|| logs.iter().sum::<f64>() / logs.len() as f64);
        let (mean_before, mean_now) = (mean(&before)?, mean(&now)?);
        let found = shift(&before, &now, NOISE_MIN);
        let bound = rule.tolerance.ln_1p();
        let trend = found.map_or(Trend::Undecided, |found| match () {
            () if found.chance_if_at_most(bound) < rule.chance => Trend::Worse,
            () if found.reversed().chance_if_at_most(bound) < rule.chance => Trend::Better,
            () => Trend::Same,
        });
        let percent = |log: f64| log.exp_m1() * 100.0;
        let range = |found: Shift| {
            let margin = found.margin(0.025);
            (percent(found.difference - margin), percent(found.difference + margin))
        };
        Some(Self {
            what,
            before: (mean_before * sign).exp(),
            now: (mean_now * sign).exp(),
            runs: (before.len(), now.len()),
            worse_percent: percent(mean_now - mean_before),
            worse_percent_range: found.map(range),
            trend,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::noise::Noise;

    const RULE: Rule = Rule { tolerance: 0.1, chance: 0.01 };

    fn trend(good: Good, before: &[f64], now: &[f64]) -> Trend {
        Change::of("it".into(), good, before, now, RULE).expect("values").trend
    }

    #[test]
    fn slower_is_worse_and_dearer_is_worse() {
        let (high, low) = ([1.0, 1.02, 0.98, 1.01, 0.99], [0.5, 0.51, 0.49, 0.5, 0.5]);
        assert_eq!(trend(Good::High, &high, &low), Trend::Worse);
        assert_eq!(trend(Good::Low, &high, &low), Trend::Better);
        assert_eq!(trend(Good::Low, &low, &high), Trend::Worse);
        assert_eq!(trend(Good::High, &high, &high), Trend::Same);
    }

    #[test]
    fn what_is_inside_the_tolerance_or_the_noise_is_the_same() {
        assert_eq!(trend(Good::High, &[1.0; 5], &[0.95; 5]), Trend::Same);
        let (noisy, lower) = ([1.0, 0.5, 1.6, 0.9, 1.2], [0.7, 0.4, 1.3, 0.9, 0.6]);
        assert_eq!(trend(Good::High, &noisy, &lower), Trend::Same);
        assert_eq!(trend(Good::High, &[1.0, 1.0], &[0.1, 0.1]), Trend::Undecided);
    }

    #[test]
    fn percents_are_of_the_earlier_value_and_lie_in_their_range() {
        let found = Change::of("it".into(), Good::High, &[2.0; 4], &[1.0; 4], RULE).expect("values");
        assert!((found.worse_percent - 100.0).abs() < 1e-9, "half the speed takes twice the time: {found:?}");
        let (low, high) = found.worse_percent_range.expect("enough");
        assert!(low < 100.0 && 100.0 < high && found.before == 2.0, "{found:?}");
        assert_eq!(Change::of("it".into(), Good::High, &[0.0, f64::NAN], &[1.0], RULE), None);
    }

    /// The chance that is promised, where the true change is exactly the tolerance: nowhere is it larger.
    #[test]
    fn false_alarms_are_as_rare_as_is_said() {
        let mut noise = Noise::new(2_026);
        for (runs, sigma) in [(3, 0.1), (5, 0.05), (5, 0.3), (10, 0.2)] {
            let mut alarms = 0;
            const ROUNDS: u32 = 3_000;
            for _ in 0..ROUNDS {
                let mut runs_of =
                    |mean: f64| (0..runs).map(|_| mean * (sigma * noise.normal()).exp()).collect::<Vec<_>>();
                let (before, now) = (runs_of(1.0), runs_of(1.0 / 1.1));
                alarms += u32::from(trend(Good::High, &before, &now) == Trend::Worse);
            }
            assert!(alarms <= ROUNDS * 15 / 1_000, "{alarms} of {ROUNDS} with {runs} runs of noise {sigma}");
        }
    }

    #[test]
    fn half_the_speed_is_caught_through_usual_noise() {
        let mut noise = Noise::new(5);
        let mut caught = 0;
        for _ in 0..500 {
            let mut runs_of = |mean: f64| (0..5).map(|_| mean * (0.1 * noise.normal()).exp()).collect::<Vec<_>>();
            let (before, now) = (runs_of(1.0), runs_of(0.5));
            caught += u32::from(trend(Good::High, &before, &now) == Trend::Worse);
        }
        assert!(caught > 490, "{caught} of 500");
    }
}
