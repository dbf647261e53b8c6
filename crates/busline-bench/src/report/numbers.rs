//! Numbers as reports show them.

use crate::compare::Figure;

/// A whole number with a comma between groups of three digits.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

pub(super) fn mebibytes(bytes: i64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// A median, or a dash.
pub(super) fn median(figure: Option<Figure>, form: fn(f64) -> String) -> String {
    figure.map_or("-".into(), |figure| form(figure.median))
}

/// A median with its spread, or a dash.
pub(super) fn with_spread(figure: Option<Figure>, form: fn(f64) -> String) -> String {
    figure.map_or("-".into(), |figure| format!("{} ± {:.0} %", form(figure.median), figure.spread_percent))
}

/// A share in 100, to one digit behind the point while it is not whole.
pub(super) fn percent(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0} %") } else { format!("{value:.1} %") }
}

/// Milliseconds, to three digits behind the point while they are few.
pub(super) fn millis(value: f64) -> String {
    if value < 10.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_in_threes() {
        for (value, wanted) in [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(grouped(value), wanted);
        }
    }
}
