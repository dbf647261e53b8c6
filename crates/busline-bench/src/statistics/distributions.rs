//! Histograms, figures and verdicts against distributions whose answers are known.

use std::time::Duration;

use super::noise::Noise;
use super::student;
use crate::buckets::Buckets;
use crate::compare::Figure;
use crate::latency::Latencies;
use crate::side_by_side::{Decision, Ratio};

/// A distribution of latencies: how one is drawn, and the share of all that is no larger than a value. Unit: milliseconds.
struct Distribution {
    name: &'static str,
    draw: fn(&mut Noise) -> f64,
    share_up_to: fn(f64) -> f64,
}

/// What latencies look like: even, waiting, grown by factors, with a heavy tail, of two kinds.
const DISTRIBUTIONS: [Distribution; 5] = [
    Distribution { name: "even", draw: |noise| 1.0 + 9.0 * noise.even(), share_up_to: |x| (x - 1.0) / 9.0 },
    Distribution {
        name: "exponential",
        draw: |noise| -3.0 * noise.even().ln(),
        share_up_to: |x| 1.0 - (-x / 3.0).exp(),
    },
    // Of the logarithms, one standard deviation is a factor of e.
    Distribution { name: "log-normal", draw: |noise| noise.normal().exp(), share_up_to: |x| normal_up_to(x.ln()) },
    Distribution {
        name: "Pareto",
        draw: |noise| 0.1 * noise.even().powf(-1.0 / 1.5),
        share_up_to: |x| 1.0 - (0.1 / x).powf(1.5),
    },
    Distribution {
        name: "of two kinds",
        draw: |noise| if noise.even() < 0.95 { 1.0 + noise.even() } else { 100.0 + 10.0 * noise.even() },
        share_up_to: |x| 0.95 * (x - 1.0).clamp(0.0, 1.0) + 0.05 * ((x - 100.0) / 10.0).clamp(0.0, 1.0),
    },
];

/// By Student's distribution of so many degrees of freedom that it is the normal one.
fn normal_up_to(z: f64) -> f64 {
    1.0 - student::above(z, 1e7)
}

const QUANTILES: [f64; 7] = [0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0];

fn drawn(distribution: &Distribution, seed: u64, count: usize) -> Vec<f64> {
    let mut noise = Noise::new(seed);
    (0..count).map(|_| (distribution.draw)(&mut noise)).collect()
}

fn latencies_of(millis: &[f64]) -> Latencies {
    let mut latencies = Latencies::default();
    millis.iter().for_each(|it| latencies.record(Duration::from_secs_f64(it / 1e3), 1));
    latencies
}

#[test]
fn quantiles_are_those_of_the_sorted_values_to_three_digits() {
    for distribution in &DISTRIBUTIONS {
        for (seed, count) in [(1, 1), (2, 2), (3, 7), (4, 1_000), (5, 30_001)] {
            let mut sorted = drawn(distribution, seed, count);
            let latencies = latencies_of(&sorted);
            sorted.sort_by(f64::total_cmp);
            let buckets = latencies.buckets();
            for quantile in QUANTILES {
                let place = ((count as f64 * quantile).ceil() as usize).max(1) - 1;
                let found = buckets.quantile_ms(quantile).expect("some");
                let off = (found / sorted[place] - 1.0).abs();
                assert!(off < 1.1e-3, "{} {count}: {quantile} is {found}, not {}", distribution.name, sorted[place]);
            }
            let told = latencies.percentiles().expect("some");
            for (found, quantile) in [(told.p50, 0.5), (told.p99, 0.99), (told.p999, 0.999), (told.max, 1.0)] {
                assert_eq!(found, buckets.quantile_ms(quantile).expect("some"), "{} {quantile}", distribution.name);
            }
        }
    }
}

/// By the inequality of Dvoretzky, Kiefer and Wolfowitz, with Massart's constant: nowhere do the shares of so many draws lie
/// further off, except once in a million.
#[test]
fn quantiles_are_those_of_the_distribution_itself() {
    const COUNT: usize = 50_000;
    let off_max = ((2e6_f64).ln() / (2.0 * COUNT as f64)).sqrt() + 1e-3;
    for distribution in &DISTRIBUTIONS {
        let buckets = latencies_of(&drawn(distribution, 6, COUNT)).buckets();
        for quantile in QUANTILES {
            let share = (distribution.share_up_to)(buckets.quantile_ms(quantile).expect("some"));
            let off = (share - quantile).abs();
            assert!(off < off_max, "{}: {quantile} is where {share} lie below", distribution.name);
        }
    }
}

#[test]
fn parts_of_a_sample_merge_to_the_whole() {
    for (seed, distribution) in (10..).zip(&DISTRIBUTIONS) {
        let all = drawn(distribution, seed, 5_000);
        for parts in [1, 2, 3, 50] {
            let parts: Vec<Buckets> =
                all.chunks(all.len().div_ceil(parts)).map(|part| latencies_of(part).buckets()).collect();
            assert_eq!(Buckets::merged(&parts), latencies_of(&all).buckets(), "{}", distribution.name);
        }
    }
}

#[test]
fn a_figure_scales_with_its_values_and_does_not_depend_on_their_order() {
    let mut noise = Noise::new(20);
    for count in 1..=40 {
        let mut values: Vec<f64> = (0..count).map(|_| 100.0 * noise.even()).collect();
        let figure = Figure::of(values.iter().copied()).expect("some");
        let below = values.iter().filter(|value| **value < figure.median - 1e-12).count();
        let above = values.iter().filter(|value| **value > figure.median + 1e-12).count();
        assert_eq!(below, above, "as many lie below the median as above: {values:?}");
        values.reverse();
        assert_eq!(Figure::of(values.iter().copied()), Some(figure));
        let scaled = Figure::of(values.iter().map(|value| value * 1e3)).expect("some");
        assert!((scaled.median / figure.median / 1e3 - 1.0).abs() < 1e-12);
        assert!((scaled.spread_percent - figure.spread_percent).abs() < 1e-9, "a spread has no unit");
    }
}

/// Of five runs of equal buses all go the same way once in 16: what a verdict is documented to get wrong.
#[test]
fn equal_buses_are_called_different_as_often_as_is_said() {
    let mut noise = Noise::new(21);
    const ROUNDS: usize = 20_000;
    let mut decided = |runs: usize| {
        let round = |noise: &mut Noise| {
            let mut ratios: Vec<f64> = (0..runs).map(|_| (0.2 * noise.normal()).exp()).collect();
            ratios.sort_by(f64::total_cmp);
            let ratio = Ratio { smallest: ratios[0], median: ratios[runs / 2], largest: ratios[runs - 1], runs };
            ratio.decision() == Decision::Faster
        };
        (0..ROUNDS).filter(|_| round(&mut noise)).count() as f64 / ROUNDS as f64
    };
    let share = decided(5);
    assert!((share - 1.0 / 16.0).abs() < 0.006, "{share} of the pairs are called different");
    assert!(decided(10) < 0.004, "twice in 1,024");
    assert_eq!(decided(4), 0.0, "too few runs decide nothing");
}

#[test]
fn means_of_few_normal_values_lie_as_far_off_as_students_distribution_says() {
    let mut noise = Noise::new(22);
    const ROUNDS: u32 = 20_000;
    for count in [3_u32, 5, 9] {
        let freedom = f64::from(count - 1);
        let bound = student::exceeded_with(0.05, freedom);
        let mut beyond = 0;
        for _ in 0..ROUNDS {
            let values: Vec<f64> = (0..count).map(|_| noise.normal()).collect();
            let mean = values.iter().sum::<f64>() / f64::from(count);
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / freedom;
            beyond += u32::from(mean / (variance / f64::from(count)).sqrt() > bound);
        }
        let share = f64::from(beyond) / f64::from(ROUNDS);
        assert!((share - 0.05).abs() < 0.006, "{share} of the means of {count} lie beyond the bound of 5 %");
    }
    assert!((student::exceeded_with(0.025, 1e7) - 1.959_964).abs() < 1e-4, "the normal distribution is its limit");
}
