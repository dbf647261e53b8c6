//! What an ack says about storage, against what is stored.

use crate::entry::{Acked, Crash};
use crate::run::{Call, FaultSpan, Run};
use crate::violation::{Anomaly, Violation};

/// A2: acked, of a durability that outlives the run's faults, and not in the dump.
pub(crate) fn lost_at_broker(run: &Run<'_>) -> Vec<Violation> {
    let lost = missing(run).map(|(call, acked, _)| {
        let position = call.position().map_or_else(|| "an unknown position".to_owned(), |at| at.to_string());
        let facts = format!(
            "{} (key {}) was acked {} at {position} and is not in the dump",
            acked.id, call.publication.key, acked.durability,
        );
        Violation::fatal(Anomaly::LostAtBroker, facts)
    });
    lost.collect()
}

/// A16: a fault with proof took what its ack claimed to survive.
pub(crate) fn ack_lies(run: &Run<'_>) -> Vec<Violation> {
    let lies = missing(run).filter_map(|(_, acked, at)| {
        let fault = run.faults.spans().iter().find(|span| bit(span) && span.threatens(at))?;
        let facts = format!(
            "{} was acked {} at {} and was gone after {} of {} ({})",
            acked.id,
            acked.durability,
            run.moment(at),
            fault.start.kind,
            fault.start.target,
            crash_in_words(fault.start.crash),
        );
        Some(Violation::fatal(Anomaly::AckLie, facts))
    });
    lies.collect()
}

/// A23: an ack weaker than what was asked for.
pub(crate) fn downgrades(run: &Run<'_>) -> Vec<Violation> {
    let calls = run.publishes.calls().iter();
    let weaker = calls.filter_map(|call| {
        let (asked, got) = (call.publication.durability, call.acked()?.durability);
        let facts = || format!("{} asked for {asked} and was acked with {got}", call.publication.id);
        (!got.meets(asked)).then(|| Violation::fatal(Anomaly::SilentDowngrade, facts()))
    });
    weaker.collect()
}

/// Acked envelopes that should be in the dump and are not, with the time of their ack.
fn missing<'r, 'a>(run: &'r Run<'a>) -> impl Iterator<Item = (&'r Call<'a>, &'a Acked, u64)> {
    run.publishes.calls().iter().filter_map(move |call| {
        let (acked, (at, _)) = (call.acked()?, call.end?);
        let is_missing = run.dump.covers(&call.publication.topic)
            && !run.stored.holds(&acked.id)
            && !may_be_trimmed(run, call)
            && run.faults.spare(acked.durability, at);
        is_missing.then_some((call, acked, at))
    })
}

/// Without a position nobody can say on which side of the trimming an envelope was.
fn may_be_trimmed(run: &Run<'_>, call: &Call<'_>) -> bool {
    match call.position() {
        Some(position) => run.dump.is_below_first(position),
        None => run.dump.is_trimmed(&call.publication.topic),
    }
}

fn bit(span: &FaultSpan<'_>) -> bool {
    span.proof.is_some()
}

fn crash_in_words(crash: Crash) -> &'static str {
    match crash {
        Crash::Nothing => "no crash",
        Crash::Process => "a process ended",
        Crash::Power => "a machine lost power",
        Crash::Medium => "a medium was damaged",
    }
}
