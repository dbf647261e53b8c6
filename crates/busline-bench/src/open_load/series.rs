//! Memory, lag and throughput over time, and whether they rise.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::statistics::slope;

/// One look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Since the first envelope was due. Unit: seconds.
    pub at_s: f64,
    /// Resident memory above that before the bus was opened. Unit: bytes.
    pub memory_bytes: i64,
    /// Memory allocated and not freed, above that before the bus was opened. Unit: bytes.
    #[serde(default)]
    pub held_bytes: i64,
    /// Envelopes accepted and not at a handler.
    pub lag: u64,
    /// Envelopes that came to handlers in a second, since the look before.
    pub delivered_per_s: f64,
}

/// How a value changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rise {
    /// Rise in an hour, by a straight line through the means of equal parts of the time, the first quarter left out.
    pub per_hour: f64,
    /// Half the interval that holds the true rise 19 times in 20.
    pub margin: f64,
    /// Whether no rise or fall is shown.
    pub flat: bool,
}

/// How memory, lag and throughput change; `None` of a run too short to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rises {
    /// Of resident memory. Unit: bytes. What a peak needed stays resident, so it rises in steps without a leak.
    pub memory_bytes: Option<Rise>,
    /// Of memory that is held: a leak shows here. Unit: bytes.
    #[serde(default)]
    pub held_bytes: Option<Rise>,
    /// Of the lag. Unit: envelopes.
    pub lag: Option<Rise>,
    /// Of the throughput. Unit: envelopes a second.
    pub delivered_per_s: Option<Rise>,
}

/// Looks in a run: enough for a line, few enough for a file.
const LOOKS: u32 = 120;

/// Parts whose means a line is fitted through. Looks that follow each other are alike; means of parts are less so.
const PARTS: usize = 15;

const EVERY_MIN: Duration = Duration::from_millis(50);

/// The time between two looks in a run of this length.
pub(super) fn every(duration: Duration) -> Duration {
    (duration / LOOKS).max(EVERY_MIN)
}

/// The longest time by which a look came late, which is how long the whole process stood still. Unit: seconds.
pub(super) fn stalled_s(points: &[Point], every: Duration) -> f64 {
    let between = points.windows(2).map(|pair| pair[1].at_s - pair[0].at_s - every.as_secs_f64());
    between.fold(0.0, f64::max)
}

/// Looks behind the first quarter at least, and the time that they span: means of fewer are noise, and a shorter time is
/// still warming up, which a rise in an hour would multiply by more than a hundred.
pub(super) const SETTLED_LOOKS_MIN: usize = 60;
pub(super) const SETTLED_S_MIN: f64 = 30.0;

/// The rises of a run; none of one that is too short to tell.
pub(super) fn rises(points: &[Point]) -> Rises {
    let settled = &points[points.len() / 4..];
    let spanned = settled.first().zip(settled.last()).map_or(0.0, |(first, last)| last.at_s - first.at_s);
    if settled.len() < SETTLED_LOOKS_MIN || spanned < SETTLED_S_MIN {
        return Rises::default();
    }
    let of = |value: fn(&Point) -> f64| {
        let found = slope(&parts(settled, value))?;
        Some(Rise { per_hour: found.slope * 3_600.0, margin: found.margin * 3_600.0, flat: found.is_flat() })
    };
    Rises {
        memory_bytes: of(|point| point.memory_bytes as f64),
        held_bytes: of(|point| point.held_bytes as f64),
        lag: of(|point| point.lag as f64),
        delivered_per_s: of(|point| point.delivered_per_s),
    }
}

/// Mean time and mean value of equal parts.
fn parts(points: &[Point], value: fn(&Point) -> f64) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(PARTS).max(1);
    let mean = |part: &[Point], of: &dyn Fn(&Point) -> f64| part.iter().map(of).sum::<f64>() / part.len() as f64;
    points.chunks_exact(each).map(|part| (mean(part, &|point| point.at_s), mean(part, &value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::noise::Noise;

    fn points(leak_each_second: f64) -> Vec<Point> {
        let mut noise = Noise::new(9);
        let point = |n: u32| {
            let at_s = f64::from(n);
            let warm = if n < 20 { -4e6 * f64::from(20 - n) / 20.0 } else { 0.0 };
            let memory = 20e6 + warm + leak_each_second * at_s + 1e5 * noise.normal();
            Point {
                at_s,
                memory_bytes: memory as i64,
                held_bytes: memory as i64,
                lag: 5,
                delivered_per_s: 1_000.0 + 10.0 * noise.normal(),
            }
        };
        (0..120).map(point).collect()
    }

    /// Looks that follow each other are alike: each keeps half of what the one before was off by.
    #[test]
    fn noise_that_lingers_is_rarely_taken_for_a_rise() {
        let mut noise = Noise::new(12);
        let mut rising = 0;
        const ROUNDS: u32 = 1_000;
        for _ in 0..ROUNDS {
            let mut off = 0.0;
            let point = |n: u32| {
                off = 0.5 * off + noise.normal();
                Point {
                    at_s: f64::from(n),
                    memory_bytes: 0,
                    held_bytes: (1e6 + 1e4 * off) as i64,
                    lag: 0,
                    delivered_per_s: 0.0,
                }
            };
            let points: Vec<Point> = (0..120).map(point).collect();
            rising += u32::from(!rises(&points).held_bytes.expect("a line").flat);
        }
        // 50 of noise that does not linger.
        assert!((20..=110).contains(&rising), "{rising} of {ROUNDS} flat runs are told to rise or fall");
    }

    #[test]
    fn a_standstill_is_as_long_as_a_look_was_late() {
        let mut seen = points(0.0);
        assert_eq!(stalled_s(&seen, Duration::from_secs(1)), 0.0);
        seen.drain(50..62);
        assert_eq!(stalled_s(&seen, Duration::from_secs(1)), 12.0);
        assert_eq!(stalled_s(&[], Duration::from_secs(1)), 0.0);
    }

    #[test]
    fn warming_up_is_no_leak_and_a_leak_is_one() {
        let flat = rises(&points(0.0));
        assert!(flat.memory_bytes.expect("a line").flat && flat.lag.expect("a line").flat, "{flat:?}");
        assert!(flat.delivered_per_s.expect("a line").flat, "{flat:?}");
        let leaking = rises(&points(5_000.0)).memory_bytes.expect("a line");
        assert!(!leaking.flat && (leaking.per_hour - 18e6).abs() < leaking.margin * 2.0, "{leaking:?}");
        assert_eq!(rises(&points(0.0)[..4]), Rises::default());
        assert_eq!(rises(&points(5_000.0)[..78]), Rises::default(), "59 looks behind the first quarter");
        let mut soon = points(5_000.0);
        soon.iter_mut().for_each(|point| point.at_s /= 4.0);
        assert_eq!(rises(&soon), Rises::default(), "22 s behind the first quarter");
    }
}
