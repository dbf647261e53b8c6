//! Whether one position means one envelope to everybody.

use std::collections::HashMap;

use crate::entry::{DumpRead, Op};
use crate::position::Position;
use crate::run::Run;
use crate::violation::{Anomaly, Violation};

/// A12: acks, deliveries and all dumps of the run name two envelopes for one position.
pub(crate) fn inconsistencies(run: &Run<'_>) -> Vec<Violation> {
    let mut holders: HashMap<Position<'_>, (&str, &str)> = HashMap::new();
    let mut found = Vec::new();
    for (position, id, witness) in acked(run).chain(delivered(run)).chain(dumped(run)) {
        let (holder, first_witness) = *holders.entry(position).or_insert((id, witness));
        if holder != id {
            let facts = format!("{position} holds {holder} by {first_witness} and {id} by {witness}");
            found.push(Violation::fatal(Anomaly::InconsistentPosition, facts));
        }
    }
    found
}

type Claim<'a> = (Position<'a>, &'a str, &'static str);

fn acked<'a>(run: &Run<'a>) -> impl Iterator<Item = Claim<'a>> {
    run.publishes.calls().iter().filter_map(|call| Some((call.position()?, call.publication.id.as_str(), "its ack")))
}

fn delivered<'a>(run: &Run<'a>) -> impl Iterator<Item = Claim<'a>> {
    run.courses.all().iter().flat_map(|course| &course.handed).map(|handed| {
        let delivery = &handed.delivered.delivery;
        (delivery.position(), delivery.id.as_str(), "a delivery")
    })
}

/// The last dump, and all that the history holds: a restart between two of them must not change a position.
fn dumped<'a>(run: &Run<'a>) -> impl Iterator<Item = Claim<'a>> {
    let (history, dump) = (run.history, run.dump);
    let earlier = history.entries().iter().filter_map(|entry| match &entry.op {
        Op::Dump(DumpRead::Ok(dumped)) => Some(&dumped.rows),
        _ => None,
    });
    let rows = earlier.flatten().chain(dump.rows());
    rows.filter_map(|row| Some((row.position(), row.id.as_deref()?, "a dump")))
}
