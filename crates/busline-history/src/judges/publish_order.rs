//! Order of the envelopes of one publisher and key.

use std::collections::HashMap;

use crate::dump::Row;
use crate::position::Position;
use crate::run::{Call, Line, Run, State, nanos};
use crate::violation::{Anomaly, Violation};

/// A11: stored in another order than accepted, or acked behind a hole.
pub(crate) fn reorders(run: &Run<'_>) -> Vec<Violation> {
    let mut found = swaps(run);
    found.extend(holes(run));
    found
}

/// One stored envelope of a line; published once, `first` and `last` are the same call.
struct Stored<'a> {
    id: &'a str,
    first: u64,
    last: u64,
    position: Position<'a>,
}

fn swaps(run: &Run<'_>) -> Vec<Violation> {
    let mut lines: HashMap<Line<'_>, Vec<Stored<'_>>> = HashMap::new();
    for id in run.publishes.ids() {
        if let Some((line, stored)) = stored(run, id) {
            lines.entry(line).or_default().push(stored);
        }
    }
    lines.into_iter().flat_map(|(line, stored)| swaps_in(line, &stored)).collect()
}

fn stored<'a>(run: &Run<'a>, id: &'a str) -> Option<(Line<'a>, Stored<'a>)> {
    // A second record of an id is A6 or legal; the first one is its place in the order.
    let row: &'a Row = run.stored.of(id).first().copied()?;
    let line = run.publishes.of(id).next()?.line();
    let mut kseqs = Vec::new();
    for call in run.publishes.of(id) {
        // An id published by two publishers could be either's record.
        if call.line() != line {
            return None;
        }
        kseqs.push(call.publication.kseq);
    }
    let (first, last) = (*kseqs.iter().min()?, *kseqs.iter().max()?);
    Some((line, Stored { id, first, last, position: row.position() }))
}

/// An id published twice may have been stored by either call, so it precedes what came after its last call and
/// follows what came before its first. The sweep meets it twice: as successor at its first call, as predecessor at its
/// last.
fn swaps_in(line: Line<'_>, stored: &[Stored<'_>]) -> Vec<Violation> {
    let mut steps: Vec<(u64, bool, &Stored<'_>)> =
        stored.iter().flat_map(|one| [(one.first, false, one), (one.last, true, one)]).collect();
    steps.sort_by_key(|(kseq, is_predecessor, _)| (*kseq, *is_predecessor));
    let mut highest: Option<&Stored<'_>> = None;
    let mut found = Vec::new();
    for (_, is_predecessor, one) in steps {
        match highest {
            Some(before) if !is_predecessor => found.extend(swap(line, before, one)),
            Some(before) if before.position.offset >= one.position.offset => {}
            _ if is_predecessor => highest = Some(one),
            _ => {}
        }
    }
    found
}

fn swap(line: Line<'_>, a: &Stored<'_>, b: &Stored<'_>) -> Option<Violation> {
    let (_, publisher, _, key) = line;
    let what = if a.position.partition != b.position.partition {
        "one key in two partitions has no order"
    } else if a.position.offset > b.position.offset {
        "stored in the wrong order"
    } else {
        return None;
    };
    let facts = format!(
        "{what}: publisher {publisher}, key {key}: {} (kseq {}) at {}, {} (kseq {}) at {}",
        a.id, a.last, a.position, b.id, b.first, b.position,
    );
    Some(Violation::fatal(Anomaly::PublishReorder, facts))
}

/// A call that is not acked, and the last moment at which its outcome was certainly not yet reported.
struct Hole<'r, 'a> {
    call: &'r Call<'a>,
    open_until: u64,
}

/// Acked although an earlier one of the line was not, and accepted before that one's outcome was reported.
fn holes(run: &Run<'_>) -> Vec<Violation> {
    let mut lines: HashMap<Line<'_>, Vec<&Call<'_>>> = HashMap::new();
    for call in run.publishes.calls() {
        lines.entry(call.line()).or_default().push(call);
    }
    lines.into_values().flat_map(|calls| holes_in(run, calls)).collect()
}

fn holes_in(run: &Run<'_>, mut calls: Vec<&Call<'_>>) -> Vec<Violation> {
    calls.sort_by_key(|call| (call.entered(), call.publication.kseq));
    let mut widest: Option<Hole<'_, '_>> = None;
    let mut found = Vec::new();
    for call in calls {
        if call.acked().is_some() {
            let behind = widest.as_ref().filter(|hole| call.entered() < hole.open_until);
            found.extend(behind.map(|hole| acked_behind(run, hole, call)));
        } else if let Some(hole) = hole(run, call)
            && widest.as_ref().is_none_or(|other| other.open_until < hole.open_until)
        {
            widest = Some(hole);
        }
    }
    found
}

fn hole<'r, 'a>(run: &Run<'a>, call: &'r Call<'a>) -> Option<Hole<'r, 'a>> {
    // What was never accepted is not in the line: its caller saw the refusal, and no one waits behind it.
    let refused_at_once = call.accepted.is_none() && call.state(&run.processes) == State::Failed;
    match call.end {
        _ if refused_at_once => None,
        // The thread that reports may be late: until a while before its entry the outcome was certainly unknown.
        Some((at, _)) => Some(Hole { call, open_until: at.saturating_sub(nanos(run.plan.report_lag)) }),
        // Its process died before its ack could be seen. It is a hole only if it is certainly not stored.
        None => {
            let is_absent = run.dump.covers(&call.publication.topic) && !run.stored.holds(&call.publication.id);
            is_absent.then_some(Hole { call, open_until: u64::MAX })
        }
    }
}

fn acked_behind(run: &Run<'_>, hole: &Hole<'_, '_>, acked: &Call<'_>) -> Violation {
    let a = hole.call.publication;
    let outcome = match hole.call.end {
        Some((at, _)) => format!("was not acked, as reported at {}", run.moment(at)),
        None => "never had an outcome and is not stored".to_owned(),
    };
    let facts = format!(
        "acked behind a hole: publisher {}, key {}: {} (kseq {}) {outcome}; {} (kseq {}) accepted at {} was acked",
        a.publisher,
        a.key,
        a.id,
        a.kseq,
        acked.publication.id,
        acked.publication.kseq,
        run.moment(acked.entered()),
    );
    Violation::fatal(Anomaly::PublishReorder, facts)
}
