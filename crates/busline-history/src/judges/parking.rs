//! Whether what ran out of attempts is parked, and what is parked stays so.

use std::collections::HashSet;

use crate::dump::{Content, ParkedRow};
use crate::entry::{Action, StoredAt};
use crate::run::{CommitEnd, Course, Ending, Run, Settled};
use crate::violation::{Anomaly, Violation};

/// A20: out of attempts and not parked; parked and handled without a replay; said to be parked and not there.
pub(crate) fn park_losses(run: &Run<'_>) -> Vec<Violation> {
    let parked: HashSet<(&str, u32, u64)> = run
        .dump
        .parked()
        .iter()
        .map(|row| (row.parking_topic.as_str(), row.parking_partition, row.parking_offset))
        .collect();
    let mut facts = Vec::new();
    for course in run.courses.all() {
        facts.extend(unparked(run, course));
        for park in course.done(Action::Park) {
            facts.extend(handled_too(run, course, park));
            facts.extend(absent(run, course, park, &parked));
        }
    }
    facts.into_iter().map(|facts| Violation::fatal(Anomaly::ParkLoss, facts)).collect()
}

/// Its last run used up the attempts, the group went on, and it was not parked.
fn unparked(run: &Run<'_>, course: &Course<'_>) -> Option<String> {
    let attempts_max = run.plan.attempts_max?;
    let last = course.runs.last().filter(|last| last.delivery.attempt >= attempts_max)?;
    let Some((failed, Ending::Failed)) = last.end else { return None };
    let is_settled = course.done(Action::Park).chain(course.done(Action::Skip)).any(|settled| settled.at >= failed);
    let facts = || {
        let (attempt, at) = (last.delivery.attempt, run.moment(failed));
        format!(
            "group {}: {} failed for the last time (attempt {attempt}) at {at} and is not parked",
            course.group,
            course.name()
        )
    };
    (!is_settled && went_on(run, course)).then(facts)
}

/// Until then the parking may still be under way.
fn went_on(run: &Run<'_>, course: &Course<'_>) -> bool {
    let share = run.movements.of(course.group, course.position.partition);
    run.is_drained()
        || share
            .commits
            .iter()
            .any(|call| matches!(call.end, Some((_, CommitEnd::Ok))) && call.progress.offset > course.position.offset)
}

/// Handled after it was parked and not replayed, or parked although it was handled and had not come again.
fn handled_too(run: &Run<'_>, course: &Course<'_>, park: &Settled<'_>) -> Option<String> {
    let is_lie = |at: u64| match at > park.at {
        true => !course.done(Action::Replay).any(|replay| (park.at..=at).contains(&replay.at)),
        false => !course.handed.iter().any(|handed| (at..=park.at).contains(&handed.at)),
    };
    let (at, _) = course.handled().find(|(at, _)| is_lie(*at))?;
    let (handled, parked) = (run.moment(at), run.moment(park.at));
    Some(format!("group {}: {} was handled at {handled} and parked at {parked}", course.group, course.name()))
}

/// The parking topic was read, and the record is not where its parking put it.
fn absent(
    run: &Run<'_>,
    course: &Course<'_>,
    park: &Settled<'_>,
    parked: &HashSet<(&str, u32, u64)>,
) -> Option<String> {
    let StoredAt { topic, partition, offset } = park.settlement.parked_at.as_ref()?;
    let is_absent = run.dump.covers_parking(topic) && !parked.contains(&(topic.as_str(), *partition, *offset));
    let facts = || {
        let at = run.moment(park.at);
        format!(
            "group {}: {} was parked at {topic}/{partition}@{offset} at {at} and is not there",
            course.group,
            course.name()
        )
    };
    is_absent.then(facts)
}

/// A21: a parked record without a part of its diagnosis.
pub(crate) fn incomplete(run: &Run<'_>) -> Vec<Violation> {
    let incomplete = run.dump.parked().iter().filter_map(|row| {
        let lacks = lacks(row);
        let facts = || {
            let place = format!("{}/{}@{}", row.parking_topic, row.parking_partition, row.parking_offset);
            format!("parked record at {place} lacks {}", lacks.join(", "))
        };
        (!lacks.is_empty()).then(|| Violation::fail(Anomaly::ParkedIncomplete, facts()))
    });
    incomplete.collect()
}

fn lacks(row: &ParkedRow) -> Vec<&'static str> {
    let of_any = [
        ("topic", row.topic.is_some()),
        ("partition", row.partition.is_some()),
        ("offset", row.offset.is_some()),
        ("error", row.error.is_some()),
        ("first time", row.first_ns.is_some()),
        ("last time", row.last_ns.is_some()),
    ];
    let of_envelopes = [("key", row.key.is_some()), ("id", row.id.is_some()), ("attempts", row.attempts.is_some())];
    let is_envelope = row.content == Content::Envelope;
    let needed = of_any.into_iter().chain(of_envelopes.into_iter().filter(|_| is_envelope));
    needed.filter(|(_, is_there)| !is_there).map(|(name, _)| name).collect()
}
