//! Whether every publish ended once, in time, and whole.

use crate::run::{Call, Run, State, nanos};
use crate::violation::{Anomaly, Violation};

/// A17: no outcome by the deadline and its grace, or an outcome too many. This is also the publish half of A18.
pub(crate) fn lost_outcomes(run: &Run<'_>) -> Vec<Violation> {
    let late = run.publishes.calls().iter().filter_map(|call| late(run, call));
    let surplus = run.publishes.surplus().iter().map(|surplus| {
        format!("{} was given an outcome at {} that no open publish waited for", surplus.id, run.moment(surplus.at))
    });
    late.chain(surplus).map(|facts| Violation::fatal(Anomaly::LostOutcome, facts)).collect()
}

fn late(run: &Run<'_>, call: &Call<'_>) -> Option<String> {
    let entered = call.entered();
    let due = entered.saturating_add(nanos(call.publication.deadline)).saturating_add(nanos(run.plan.outcome_grace));
    let (id, since) = (&call.publication.id, run.moment(entered));
    match (call.end, run.processes.died(call.process)) {
        (Some((at, _)), _) if at > due => {
            Some(format!("{id}, in since {since}, was due by {} and ended at {}", run.moment(due), run.moment(at)))
        }
        (None, Some(died)) if died > due => {
            let (due, died) = (run.moment(due), run.moment(died));
            Some(format!("{id}, in since {since}, was due by {due} and still open when its process died at {died}"))
        }
        (None, None) => Some(format!("{id}, in since {since}, has no outcome and its process lived on")),
        _ => None,
    }
}

/// P6: an atomic batch of which a part is stored, or a part is acked.
pub(crate) fn half_batches(run: &Run<'_>) -> Vec<Violation> {
    let halves = run.publishes.atomic_batches().iter().filter_map(|batch| {
        let calls = &run.publishes.calls()[batch.calls.clone()];
        let stored = part(calls.iter().map(|call| is_stored(run, call)));
        let acked = part(calls.iter().map(|call| Some(call.state(&run.processes) == State::Acked)));
        let (count, word) = stored.map(|count| (count, "stored")).or(acked.map(|count| (count, "acked")))?;
        let facts = format!("of {} items of atomic batch {} {count} are {word}", calls.len(), batch.name);
        Some(Violation::fatal(Anomaly::HalfBatch, facts))
    });
    halves.collect()
}

/// `None` where it cannot be known: the topic was not read, or the id was published more than once.
fn is_stored(run: &Run<'_>, call: &Call<'_>) -> Option<bool> {
    let publication = call.publication;
    let is_known = run.dump.covers(&publication.topic) && run.publishes.of(&publication.id).nth(1).is_none();
    is_known.then(|| run.stored.holds(&publication.id))
}

/// How many are true, if some are and some are not.
fn part(facts: impl Iterator<Item = Option<bool>>) -> Option<usize> {
    let known: Vec<bool> = facts.flatten().collect();
    let count = known.iter().filter(|fact| **fact).count();
    (count > 0 && count < known.len()).then_some(count)
}
