//! What is wrong with a run, in words.

use crate::result::RunResult;

/// Names each kind of fault with its count.
pub(super) fn what_is_wrong(run: &RunResult) -> String {
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
