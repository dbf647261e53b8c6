//! Latencies as a curve over the share of all that were faster, each further nine of it as wide as the one before.

use super::plot::Axis;
use crate::buckets::Buckets;

/// Nines shown at most.
const NINES_MAX: f64 = 5.0;

/// Points on each nine.
const POINTS_PER_NINE: u32 = 16;

/// Points of nines and milliseconds, as far as there are latencies to tell them from each other.
pub(super) fn percentile_curve(latencies: &Buckets) -> Vec<(f64, f64)> {
    let nines = (latencies.samples().max(1) as f64).log10().min(NINES_MAX);
    let count = (nines * f64::from(POINTS_PER_NINE)).floor() as u32;
    let at = (0..=count).map(|point| f64::from(point) / f64::from(POINTS_PER_NINE));
    at.filter_map(|nines| Some((nines, latencies.quantile_ms(1.0 - 10_f64.powf(-nines))?))).collect()
}

/// The axes of such curves.
pub(super) fn percentile_axes<'c>(curves: impl Iterator<Item = &'c Vec<(f64, f64)>> + Clone) -> (Axis, Axis) {
    let points = curves.flatten();
    let nines = points.clone().map(|(nines, _)| *nines).fold(1.0, f64::max);
    (
        Axis::nines("share of envelopes that were faster, %", nines),
        Axis::logarithmic("ms", points.map(|(_, millis)| *millis)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_as_far_as_there_are_latencies() {
        // 1 ms to 1,000 ms, evenly.
        let latencies = Buckets((1..=1_000).map(|millis| (millis * 1_000_000, 1)).collect());
        let curve = percentile_curve(&latencies);
        let at = |wanted: f64| curve.iter().find(|(nines, _)| *nines == wanted).expect("a point").1;
        assert_eq!((at(0.0), at(1.0), at(2.0), at(3.0)), (1.0, 900.0, 990.0, 999.0));
        assert_eq!(curve.last().expect("points").0, 3.0, "a thousand latencies have three nines");
        assert!(curve.is_sorted_by(|one, next| one.1 <= next.1));
        assert!(percentile_curve(&Buckets::default()).is_empty());
    }
}
