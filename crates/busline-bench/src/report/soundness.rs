//! Whether a benchmark was sound, in words.

use super::numbers::grouped;
use crate::result::{BenchReport, RunResult};

/// What is wrong with each run that is not sound; nothing of a sound benchmark.
pub(super) fn wrong(report: &BenchReport) -> Vec<String> {
    let told = |run: &RunResult| {
        let RunResult { bus, level, mode, run: number, .. } = run;
        format!("{bus} {level} {mode} run {number}: {}", what_is_wrong(run))
    };
    report.results.iter().filter(|run| !run.is_sound()).map(told).collect()
}

/// That nothing is wrong, and what strategies refused; for a report of which that is true. `None` without any run.
pub(super) fn all_is_well(report: &BenchReport) -> Option<String> {
    if report.results.is_empty() {
        return None;
    }
    let (mut planned, mut refused) = (0, 0);
    for run in &report.results {
        planned += run.envelopes;
        refused += run.rejected;
    }
    let runs = report.results.len();
    let accepted = grouped((planned - refused) as f64);
    Some(match refused {
        0 => format!("All {accepted} envelopes (runs: {runs}) were stored and delivered once and in order."),
        _ => format!(
            "All {accepted} envelopes that were accepted (runs: {runs}) were stored and delivered once and in order; \
             strategies that bound what is in flight refused {}.",
            grouped(refused as f64)
        ),
    })
}

/// Names each kind of fault with its count.
fn what_is_wrong(run: &RunResult) -> String {
    let counts = [
        ("lost", run.lost),
        ("doubled", run.duplicates),
        ("out of order", run.order_violations),
        ("changed or foreign", run.damaged),
        ("not acked", run.not_acked),
        ("not delivered", run.not_delivered()),
        ("delivered again", run.redelivered),
        ("delivered out of order", run.handler_order_violations),
    ];
    let named = counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}"));
    let named: Vec<String> = named.collect();
    format!("{} of {} envelopes; its speed is left out", named.join(", "), run.envelopes)
}
