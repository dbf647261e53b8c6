//! How far two samples lie apart, with the doubt of both: Welch's test.
//!
//! Source: B. L. Welch, "The generalization of Student's problem when several different population variances are
//! involved", Biometrika 34, 1947.

use super::student;

/// How far the mean of one sample lies above that of another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shift {
    /// The difference of the means.
    pub(crate) difference: f64,
    /// Its standard error.
    pub(crate) error: f64,
    freedom: f64,
}

/// Values of each sample at least: fewer say nothing of their own noise.
const VALUES_MIN: usize = 3;

/// Compares two samples; none if one is too small.
///
/// `noise_min` is the least standard deviation that a sample is believed to have: a few values may lie close by chance.
pub(crate) fn shift(before: &[f64], now: &[f64], noise_min: f64) -> Option<Shift> {
    if before.len() < VALUES_MIN || now.len() < VALUES_MIN {
        return None;
    }
    let [(mean_before, part_before), (mean_now, part_now)] = [before, now].map(|values| {
        let (mean, variance) = mean_and_variance(values);
        (mean, variance.max(noise_min * noise_min) / values.len() as f64)
    });
    let square = part_before + part_now;
    let spread = |part: f64, values: &[f64]| part * part / (values.len() - 1) as f64;
    let freedom = square * square / (spread(part_before, before) + spread(part_now, now));
    Some(Shift { difference: mean_now - mean_before, error: square.sqrt(), freedom })
}

impl Shift {
    /// The same with the samples exchanged.
    pub(crate) fn reversed(self) -> Self {
        Self { difference: -self.difference, ..self }
    }

    /// The chance to see such a difference or a larger one where the true one is no larger than `bound`.
    pub(crate) fn chance_if_at_most(&self, bound: f64) -> f64 {
        student::above((self.difference - bound) / self.error, self.freedom)
    }

    /// Half the width of the interval that holds the true difference except with this chance, on each side.
    pub(crate) fn margin(&self, chance: f64) -> f64 {
        self.error * student::exceeded_with(chance, self.freedom)
    }
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (values.len() - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::noise::Noise;

    #[test]
    fn a_worked_example_by_hand() {
        // Means 2 and 5, variances 1 and 4 of 3 and 5 values: error² = 1/3 + 4/5.
        let found = shift(&[1.0, 2.0, 3.0], &[3.0, 3.0, 5.0, 7.0, 7.0], 0.0).expect("enough");
        assert!((found.difference - 3.0).abs() < 1e-12);
        assert!((found.error - (1.0_f64 / 3.0 + 0.8).sqrt()).abs() < 1e-12);
        let freedom = (1.0_f64 / 3.0 + 0.8).powi(2) / (1.0 / 9.0 / 2.0 + 0.64 / 4.0);
        assert!((found.freedom - freedom).abs() < 1e-12);
    }

    #[test]
    fn two_values_say_nothing() {
        assert_eq!(shift(&[1.0, 2.0], &[1.0, 2.0, 3.0], 0.0), None);
    }

    #[test]
    fn chances_of_equal_samples_are_spread_evenly() {
        let mut noise = Noise::new(7);
        let mut below = [0_u32; 3];
        const ROUNDS: u32 = 4_000;
        for _ in 0..ROUNDS {
            let mut sample = |n: usize, sigma: f64| (0..n).map(|_| noise.normal() * sigma).collect::<Vec<_>>();
            let chance = shift(&sample(5, 1.0), &sample(7, 3.0), 0.0).expect("enough").chance_if_at_most(0.0);
            for (count, bound) in below.iter_mut().zip([0.01, 0.05, 0.5]) {
                *count += u32::from(chance < bound);
            }
        }
        for (count, bound) in below.into_iter().zip([0.01, 0.05, 0.5]) {
            let share = f64::from(count) / f64::from(ROUNDS);
            assert!((share - bound).abs() < 0.3 * bound, "{share} of the chances are below {bound}");
        }
    }

    #[test]
    fn the_margin_holds_the_true_difference() {
        let mut noise = Noise::new(11);
        let mut held = 0;
        for _ in 0..2_000 {
            let before: Vec<f64> = (0..5).map(|_| noise.normal()).collect();
            let now: Vec<f64> = (0..5).map(|_| 2.0 + noise.normal()).collect();
            let found = shift(&before, &now, 0.0).expect("enough");
            held += u32::from((found.difference - 2.0).abs() < found.margin(0.025));
        }
        assert!((1_860..=1_940).contains(&held), "{held} of 2,000 intervals of 95 % hold it");
    }
}
