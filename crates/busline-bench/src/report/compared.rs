//! Every comparison of two buses, or of two ways to publish, with its range.

use super::numbers::hundredths;
use super::tables::Table;
use crate::result::BenchReport;
use crate::side_by_side::Decision;
use crate::verdict::{Pair, pairs};

/// A row for each comparison; no table of nothing.
pub(super) fn compared(report: &BenchReport) -> Option<Table> {
    let rows: Vec<Vec<String>> = pairs(report).iter().map(row).collect();
    let heads = vec!["load", "by", "of", "÷", "median", "lowest run", "highest run", "told"];
    (!rows.is_empty()).then_some(Table { title: "Compared", heads, rows })
}

fn row(pair: &Pair<'_>) -> Vec<String> {
    let Pair { load: (level, mode), speed, faster, slower, ratio } = pair;
    let told = match ratio.decision() {
        Decision::Faster => "faster",
        Decision::WithinNoise => "within the noise",
        Decision::Undecided => "too few runs",
    };
    vec![
        format!("{level} {mode}"),
        speed.name().into(),
        (*faster).into(),
        (*slower).into(),
        hundredths(ratio.median),
        hundredths(ratio.smallest),
        hundredths(ratio.largest),
        told.into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn each_comparison_has_its_range_and_what_is_told_of_it() {
        let found = compared(&sample::report_of(sample::duel(&[2.0, 2.2, 1.8, 2.1, 1.9]))).expect("two buses");
        assert_eq!(found.rows[0], ["low async", "acked/s", "nats", "sqlite", "2.00", "1.80", "2.20", "faster"]);
        assert_eq!(found.rows[1][7], "within the noise");
        let few = compared(&sample::report_of(sample::duel(&[2.0]))).expect("two buses");
        assert_eq!(few.rows[0][7], "too few runs");
        assert!(compared(&sample::report()).is_none());
    }
}
