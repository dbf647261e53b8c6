//! Whether a close is final, in time, and the same twice.

use std::collections::HashMap;

use crate::entry::Process;
use crate::run::{Call, Closing, Run, nanos};
use crate::violation::{Anomaly, Violation};

/// A25: accepted after close began; returned late or never; a second close with another result.
pub(crate) fn violations(run: &Run<'_>) -> Vec<Violation> {
    let mut facts = Vec::new();
    for process in run.processes.all() {
        let closings = run.processes.closings(process);
        facts.extend(closings.iter().filter_map(|close| overdue(run, process, close)));
        facts.extend(contradictions(closings));
    }
    facts.extend(run.publishes.calls().iter().filter_map(|call| accepted_after(run, call)));
    facts.into_iter().map(|facts| Violation::fatal(Anomaly::CloseViolation, facts)).collect()
}

/// The publish must have been *called* after the close began: acceptance is written after it happened, so the entry
/// alone may stand behind a close that came later.
fn accepted_after(run: &Run<'_>, call: &Call<'_>) -> Option<String> {
    let was_accepted = call.accepted.is_some() || call.acked().is_some();
    let publisher = &call.publication.publisher;
    let mut closings = run.processes.closings(call.process).iter().filter(|close| close.covers(publisher));
    let closed = closings.find(|close| call.invoked > close.begun.saturating_add(nanos(run.plan.report_lag)))?;
    let facts = || {
        let (invoked, begun) = (run.moment(call.invoked), run.moment(closed.begun));
        format!(
            "{} was published at {invoked} and accepted; close of {publisher} began at {begun}",
            call.publication.id
        )
    };
    was_accepted.then(facts)
}

fn overdue(run: &Run<'_>, process: Process, close: &Closing<'_>) -> Option<String> {
    let due = close.begun.saturating_add(nanos(close.deadline)).saturating_add(nanos(run.plan.close_grace));
    let (subject, begun) = (close.subject, run.moment(close.begun));
    match (close.ended, run.processes.died(process)) {
        (Some((at, _)), _) if at > due => {
            Some(format!("close of {subject} began at {begun} and returned at {}, after its deadline", run.moment(at)))
        }
        (None, None) => Some(format!("close of {subject} began at {begun} and never returned")),
        (None, Some(died)) if died > due => {
            Some(format!("close of {subject} began at {begun} and had not returned at {}", run.moment(died)))
        }
        _ => None,
    }
}

fn contradictions(closings: &[Closing<'_>]) -> Vec<String> {
    let mut first: HashMap<&str, &str> = HashMap::new();
    let mut found = Vec::new();
    for close in closings {
        let Some((_, result)) = close.ended else { continue };
        let before = *first.entry(close.subject).or_insert(result);
        if before != result {
            found.push(format!("close of {} gave `{before}` and then `{result}`", close.subject));
        }
    }
    found
}
