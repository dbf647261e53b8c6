//! From values to places between the two ends of an axis.

/// An axis with its ticks.
#[derive(Debug, Clone)]
pub(in crate::report) struct Axis {
    /// What its numbers are of, with their unit.
    pub(super) unit: String,
    pub(super) ticks: Vec<Tick>,
    lowest: f64,
    highest: f64,
    is_logarithmic: bool,
}

/// A value with its label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Tick {
    fn of(value: f64) -> Self {
        Self { value, label: short(value) }
    }
}

/// Ticks at most, of which each gets a label that can be read on a phone.
const TICKS_MAX: usize = 7;

impl Axis {
    /// Between round numbers around these values and zero.
    pub(in crate::report) fn linear(unit: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (lowest, highest) = range(values.into_iter().chain([0.0])).unwrap_or((0.0, 0.0));
        let highest = if highest > lowest { highest } else { lowest + 1.0 };
        let step = round_step((highest - lowest) / 4.0);
        let (first, last) = ((lowest / step).floor() as i64, (highest / step).ceil() as i64);
        let ticks: Vec<Tick> = (first..=last).map(|tick| Tick::of(tick as f64 * step)).collect();
        let (lowest, highest) = (first as f64 * step, last as f64 * step);
        Self { unit: unit.into(), ticks, lowest, highest, is_logarithmic: false }
    }

    /// Between round numbers around these values, of which those that are not above zero are left out.
    pub(in crate::report) fn logarithmic(unit: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (lowest, highest) = range(values.into_iter().filter(|value| *value > 0.0)).unwrap_or((1.0, 10.0));
        let rounds = |power: i32| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power));
        let powers = lowest.log10().floor() as i32..=highest.log10().floor() as i32 + 1;
        let all: Vec<f64> = powers.flat_map(rounds).collect();
        // A hair of room, so that a round number is not left out for how it was computed.
        let first = all.iter().rposition(|round| *round <= lowest * 1.000_001).unwrap_or(0);
        let last = all.iter().position(|round| *round >= highest * 0.999_999).unwrap_or(all.len() - 1);
        let last = last.max(first + 1).min(all.len() - 1);
        let within = &all[first..=last];
        let is_power = |round: &&f64| (round.log10() - round.log10().round()).abs() < 1e-9;
        let powers: Vec<f64> = within.iter().filter(is_power).copied().collect();
        let chosen = if within.len() <= TICKS_MAX || powers.len() < 2 { within.to_vec() } else { powers };
        Self {
            unit: unit.into(),
            ticks: chosen.into_iter().map(Tick::of).collect(),
            lowest: all[first],
            highest: all[last],
            is_logarithmic: true,
        }
    }

    /// Shares of all values by the nines in them: 0 is the fastest, 1 is 90 %, 2 is 99 %, as far as `nines`.
    pub(in crate::report) fn nines(unit: &str, nines: f64) -> Self {
        let highest = nines.clamp(1.0, 6.0);
        let label = |nine: u32| match nine {
            0 => "0".to_string(),
            1 => "90".into(),
            2 => "99".into(),
            more => format!("99.{}", "9".repeat(more as usize - 2)),
        };
        let ticks = (0..=highest.floor() as u32).map(|nine| Tick { value: f64::from(nine), label: label(nine) });
        Self { unit: unit.into(), ticks: ticks.collect(), lowest: 0.0, highest, is_logarithmic: false }
    }

    /// Its lower end.
    pub(in crate::report) fn lowest(&self) -> f64 {
        self.lowest
    }

    /// Its upper end.
    pub(in crate::report) fn highest(&self) -> f64 {
        self.highest
    }

    /// How far along the axis a value lies, from 0 to 1; values beyond an end lie there.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(self.lowest) / self.lowest).ln() / (self.highest / self.lowest).ln()
        } else {
            (value - self.lowest) / (self.highest - self.lowest)
        };
        share.clamp(0.0, 1.0)
    }
}

/// The smallest and the largest of these; none of nothing.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |range, value| {
        let (lowest, highest) = range.unwrap_or((value, value));
        Some((value.min(lowest), value.max(highest)))
    })
}

/// The smallest of 1, 2, 5, 10, 20 … (and 0.5, 0.2 …) that is no smaller than this.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0].map(|digit| digit * power).into_iter().find(|round| *round >= step).unwrap_or(power * 10.0)
}

/// A number in a few characters.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        size if size >= 1e3 => format!("{} k", trimmed(value / 1e3)),
        _ => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(axis: &Axis, labels: &[&str], (lowest, highest): (f64, f64)) {
        let found: Vec<&str> = axis.ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(found, labels);
        assert!((axis.lowest - lowest).abs() < 1e-9 && (axis.highest - highest).abs() < 1e-9, "{axis:?}");
        assert_eq!((axis.share(lowest), axis.share(highest)), (0.0, 1.0));
        assert!(axis.share(lowest - 1e3) == 0.0 && axis.share(highest * 2.0) == 1.0, "nothing falls out of the plot");
    }

    #[test]
    fn a_linear_axis_begins_at_zero_and_ends_at_a_round_number() {
        check(&Axis::linear("", [930.0]), &["0", "500", "1 k"], (0.0, 1_000.0));
        check(&Axis::linear("", [0.3, 1.1]), &["0", "0.5", "1", "1.5"], (0.0, 1.5));
        check(&Axis::linear("", [-3.0, 9.0]), &["-5", "0", "5", "10"], (-5.0, 10.0));
        check(&Axis::linear("", []), &["0", "0.5", "1"], (0.0, 1.0));
        check(&Axis::linear("", [f64::NAN, 4.0]), &["0", "1", "2", "3", "4"], (0.0, 4.0));
    }

    #[test]
    fn a_logarithmic_axis_lies_close_around_its_values() {
        check(&Axis::logarithmic("", [3.0, 8.0]), &["2", "5", "10"], (2.0, 10.0));
        check(&Axis::logarithmic("", [0.9, 11.0]), &["0.5", "1", "2", "5", "10", "20"], (0.5, 20.0));
        check(&Axis::logarithmic("", [0.03, 700.0]), &["0.1", "1", "10", "100", "1 k"], (0.02, 1_000.0));
        check(&Axis::logarithmic("", [10.0]), &["10", "20"], (10.0, 20.0));
        check(&Axis::logarithmic("", [0.0, -1.0]), &["1", "2", "5", "10"], (1.0, 10.0));
    }

    #[test]
    fn each_power_of_ten_and_each_nine_has_the_same_length() {
        let axis = Axis::logarithmic("", [0.1, 100.0]);
        assert!((axis.share(1.0) - 1.0 / 3.0).abs() < 1e-9 && (axis.share(10.0) - 2.0 / 3.0).abs() < 1e-9);
        let axis = Axis::nines("%", 4.5);
        let labels: Vec<&str> = axis.ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0", "90", "99", "99.9", "99.99"]);
        assert!((axis.share(2.25) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn numbers_are_short() {
        for (value, wanted) in
            [(0.001, "0.001"), (-0.0, "0"), (500.0, "500"), (2_500.0, "2.5 k"), (1e6, "1 M"), (-2e3, "-2 k")]
        {
            assert_eq!(short(value), wanted);
        }
    }
}
