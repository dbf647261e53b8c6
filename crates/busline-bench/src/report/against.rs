//! What a baseline says, in sentences: what got worse comes first.

use crate::baseline::{BaselineReport, Change, Trend};

/// The sentences; what got worse stands before what is undecided, better or the same.
pub(super) fn sentences(baseline: &BaselineReport) -> Vec<String> {
    let order = [Trend::Worse, Trend::Undecided, Trend::Better, Trend::Same];
    let of = |trend| baseline.changes.iter().filter(move |change| change.trend == trend);
    let changes = order.into_iter().flat_map(of).map(sentence);
    let rule = format!(
        "A figure is worse if Welch's test on the logarithms of its ratios to the twin shows a loss beyond {} % that \
         noise does not explain; at most {} in 100 such comparisons of a bus with itself raise an alarm.",
        baseline.tolerance_percent, baseline.false_alarm_percent
    );
    changes.chain(baseline.doubts.iter().cloned()).chain([rule]).collect()
}

fn sentence(change: &Change) -> String {
    let Change { what, before, now, worse_percent, runs, .. } = change;
    let word = match change.trend {
        Trend::Worse => "WORSE",
        Trend::Better => "better",
        Trend::Same => "no change shown",
        Trend::Undecided => "undecided, too few runs",
    };
    let range =
        change.worse_percent_range.map_or_else(String::new, |(low, high)| format!(", {low:+.0} to {high:+.0} %"));
    format!(
        "{word}: {what}: {before:.2} before, {now:.2} now ({worse_percent:+.0} % worse{range}; runs: {} and {})",
        runs.0, runs.1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_got_worse_comes_first_with_its_range() {
        let change = |what: &str, trend| Change {
            what: what.into(),
            before: 1.05,
            now: 0.525,
            runs: (5, 7),
            worse_percent: 100.0,
            worse_percent_range: Some((81.2, 120.9)),
            trend,
        };
        let baseline = BaselineReport {
            tolerance_percent: 15,
            false_alarm_percent: 1.0,
            changes: vec![change("a", Trend::Same), change("b", Trend::Worse)],
            doubts: vec!["A doubt.".into()],
        };
        let told = sentences(&baseline);
        assert_eq!(told[0], "WORSE: b: 1.05 before, 0.53 now (+100 % worse, +81 to +121 %; runs: 5 and 7)");
        assert!(told[1].starts_with("no change shown: a") && told[2] == "A doubt.", "{told:?}");
    }
}
