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
    let is_better = *worse_percent < 0.0;
    let percent = |worse: f64| if is_better { better_percent(worse) } else { worse };
    let range = change.worse_percent_range.map_or_else(String::new, |(low, high)| {
        let (low, high) = if is_better { (high, low) } else { (low, high) };
        format!(", {:+.0} to {:+.0} %", percent(low), percent(high))
    });
    format!(
        "{word}: {what}: {before:.2} before, {now:.2} now ({:+.0} % {}{range}; runs: {} and {})",
        percent(*worse_percent),
        if is_better { "better" } else { "worse" },
        runs.0,
        runs.1
    )
}

/// How much better it is that is so much worse: a half of the time, 50 % less than worse by nothing, is twice as good.
fn better_percent(worse_percent: f64) -> f64 {
    (1.0 / (1.0 + worse_percent / 100.0) - 1.0) * 100.0
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
        let better = Change {
            before: 0.97,
            now: 11.19,
            worse_percent: -91.33,
            worse_percent_range: Some((-92.0, -90.0)),
            ..change("c", Trend::Better)
        };
        let told = sentence(&better);
        assert_eq!(told, "better: c: 0.97 before, 11.19 now (+1053 % better, +900 to +1150 %; runs: 5 and 7)");
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
