//! A straight line through points, and how sure its slope is: least squares.

use super::student;

/// How a value rises with time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slope {
    /// Rise of the value for each unit of time.
    pub(crate) slope: f64,
    /// Half the interval that holds the true slope 19 times in 20.
    pub(crate) margin: f64,
}

impl Slope {
    /// Whether the points show no rise or fall.
    pub(crate) fn is_flat(&self) -> bool {
        self.slope.abs() <= self.margin
    }
}

/// Points at least: a line through two has no error.
const POINTS_MIN: usize = 5;

/// Fits a line through points in the order of their times; none of too few, or if all are of one time.
///
/// Points that follow each other may be alike: what lies off the line one time still does in part the next. So they count
/// as fewer independent ones, `n (1 - r) / (1 + r)`, where r is the correlation of neighbours off the line. Source: Zwiers
/// and von Storch, J. Climate 8 (1995), "equivalent sample size".
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    if points.len() < POINTS_MIN {
        return None;
    }
    let count = points.len() as f64;
    let (mean_x, mean_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let width: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    // All of one time, but for what rounding makes of it.
    if width <= 1e-12 * count * mean_x * mean_x {
        return None;
    }
    let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / width;
    let off: Vec<f64> = points.iter().map(|(x, y)| y - mean_y - slope * (x - mean_x)).collect();
    let freedom = (independent(&off) - 2.0).max(FREEDOM_MIN);
    let error = (off.iter().map(|off| off * off).sum::<f64>() / freedom / width).sqrt();
    Some(Slope { slope, margin: error * student::exceeded_with(0.025, freedom) })
}

/// Fewer degrees of freedom than one say nothing: the margin is wide enough then.
const FREEDOM_MIN: f64 = 1.0;

/// As many independent values as say as much of their mean as these, which may be alike where they follow each other.
fn independent(off: &[f64]) -> f64 {
    let count = off.len() as f64;
    let squares: f64 = off.iter().map(|off| off * off).sum();
    if squares == 0.0 {
        return count;
    }
    let neighbours = off.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / squares;
    // What a fitted line takes away makes neighbours look less alike than they are, by about this much.
    let alike = (neighbours + (1.0 + 4.0 * neighbours) / count).clamp(0.0, ALIKE_MAX);
    count * (1.0 - alike) / (1.0 + alike)
}

const ALIKE_MAX: f64 = 0.98;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::noise::Noise;

    #[test]
    fn a_line_without_noise_is_found_exactly() {
        let points: Vec<(f64, f64)> = (0..10).map(f64::from).map(|x| (x, 3.0 * x - 7.0)).collect();
        let found = slope(&points).expect("enough");
        assert!((found.slope - 3.0).abs() < 1e-9 && found.margin < 1e-9 && !found.is_flat());
    }

    #[test]
    fn noise_is_flat_as_often_as_is_said_and_a_leak_is_not() {
        let mut noise = Noise::new(3);
        let (mut flat, mut leaks_seen) = (0, 0);
        for _ in 0..1_000 {
            let mut points = |rise: f64| -> Vec<(f64, f64)> {
                (0..60).map(f64::from).map(|x| (x, rise * x + noise.normal())).collect()
            };
            flat += u32::from(slope(&points(0.0)).expect("enough").is_flat());
            leaks_seen += u32::from(!slope(&points(0.05)).expect("enough").is_flat());
        }
        assert!((930..=970).contains(&flat), "{flat} of 1,000 flat lines are called flat");
        assert!(leaks_seen > 990, "{leaks_seen} of 1,000 rising lines are seen");
    }

    /// Each keeps so much of what the one before was off by.
    #[track_caller]
    fn check_lingering(kept: f64, flat_at_least: u32) {
        let mut noise = Noise::new(12);
        let mut flat = 0;
        for _ in 0..1_000 {
            let mut off = 0.0;
            let points: Vec<(f64, f64)> = (0..190)
                .map(f64::from)
                .map(|x| {
                    off = kept * off + noise.normal();
                    (x, off)
                })
                .collect();
            flat += u32::from(slope(&points[100..]).expect("enough").is_flat());
        }
        assert!((flat_at_least..=970).contains(&flat), "{flat} of 1,000 flat lines are called flat");
    }

    #[test]
    fn noise_that_lingers_is_flat_nearly_as_often() {
        check_lingering(0.5, 920);
        check_lingering(0.8, 910);
        check_lingering(0.95, 880);
    }

    #[test]
    fn few_points_and_one_time_have_no_slope() {
        assert_eq!(slope(&[(0.0, 0.0), (1.0, 1.0)]), None);
        assert_eq!(slope(&[(1.0, 0.0); 9]), None);
    }
}
