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
    /// Rise in an hour, by a straight line through the looks, the first quarter left out.
    pub per_hour: f64,
    /// Half the interval that holds the true rise 19 times in 20.
    pub margin: f64,
    /// Whether no rise or fall is shown, or one of less than a hundredth of the value in the time that is fitted.
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
pub(super) const LOOKS: u32 = 120;

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

/// Share of a value by which it may change and still be called flat. Much is allocated late and then kept, and a soak of
/// minutes sees that clearly; what goes on rising is a greater share the longer it is watched.
const FLAT_SHARE: f64 = 0.01;

/// The rises of a run; none of one that is too short to tell.
pub(super) fn rises(points: &[Point]) -> Rises {
    let settled = &points[points.len() / 4..];
    let spanned = settled.first().zip(settled.last()).map_or(0.0, |(first, last)| last.at_s - first.at_s);
    if settled.len() < SETTLED_LOOKS_MIN || spanned < SETTLED_S_MIN {
        return Rises::default();
    }
    let of = |value: fn(&Point) -> f64| {
        let found = slope(&line(settled, value))?;
        let mean = settled.iter().map(value).sum::<f64>() / settled.len() as f64;
        let is_small = (found.slope * spanned).abs() < FLAT_SHARE * mean.abs();
        let flat = found.is_flat() || is_small;
        Some(Rise { per_hour: found.slope * 3_600.0, margin: found.margin * 3_600.0, flat })
    };
    Rises {
        memory_bytes: of(|point| point.memory_bytes as f64),
        held_bytes: of(|point| point.held_bytes as f64),
        lag: of(|point| point.lag as f64),
        delivered_per_s: of(|point| point.delivered_per_s),
    }
}

/// A value over time.
fn line(points: &[Point], value: fn(&Point) -> f64) -> Vec<(f64, f64)> {
    points.iter().map(|point| (point.at_s, value(point))).collect()
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

    #[test]
    fn a_standstill_is_as_long_as_a_look_was_late() {
        let mut seen = points(0.0);
        assert_eq!(stalled_s(&seen, Duration::from_secs(1)), 0.0);
        seen.drain(50..62);
        assert_eq!(stalled_s(&seen, Duration::from_secs(1)), 12.0);
        assert_eq!(stalled_s(&[], Duration::from_secs(1)), 0.0);
    }

    #[test]
    fn what_changes_by_less_than_a_hundredth_is_flat_and_what_goes_on_rising_is_not() {
        let mut seen = points(0.0);
        for (second, point) in (0..).zip(&mut seen) {
            point.held_bytes = 10_000_000 + 1_000 * second;
            point.lag = 100 + second as u64 / 4;
        }
        let found = rises(&seen);
        assert!(found.held_bytes.expect("a line").flat, "0.9 % in 89 s: {found:?}");
        assert!(!found.lag.expect("a line").flat, "{found:?}");
        for (minute, point) in (0..).zip(&mut seen) {
            point.at_s = f64::from(minute) * 60.0;
            point.held_bytes = 10_000_000 + 60_000 * i64::from(minute);
        }
        assert!(!rises(&seen).held_bytes.expect("a line").flat, "the same for two hours");
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
