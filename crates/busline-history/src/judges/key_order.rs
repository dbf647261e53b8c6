//! Order within a group and key, by the machine's monotonic clock.

use std::collections::HashMap;

use crate::entry::{Action, Process};
use crate::plan::{Order, Parked};
use crate::position::Partition;
use crate::run::{Course, Run, Running};
use crate::violation::{Anomaly, Violation};

/// A9: a record was first started before one of its key at a lower offset had reached its end.
pub(crate) fn reorders(run: &Run<'_>) -> Vec<Violation> {
    if run.plan.order == Order::None {
        return Vec::new();
    }
    let mut lines: HashMap<(&str, Partition<'_>, &str), Vec<&Course<'_>>> = HashMap::new();
    for course in run.courses.all() {
        if let (Some(key), Some(_)) = (course.key, course.first_start()) {
            lines.entry((course.group, course.position.partition, key)).or_default().push(course);
        }
    }
    lines.into_values().flat_map(|courses| reorders_in(run, courses)).collect()
}

fn reorders_in(run: &Run<'_>, mut courses: Vec<&Course<'_>>) -> Vec<Violation> {
    courses.sort_by_key(|course| course.position.offset);
    let mut latest: Option<(u64, &Course<'_>)> = None;
    let mut found = Vec::new();
    for course in courses {
        if let (Some(start), Some((end, before))) = (course.first_start(), latest)
            && start < end
        {
            found.push(started_early(run, before, course));
        }
        let end = end_of(run, course).unwrap_or(u64::MAX);
        if latest.is_none_or(|(other, _)| other < end) {
            latest = Some((end, course));
        }
    }
    found
}

/// When a record holds its key back no more.
fn end_of(run: &Run<'_>, course: &Course<'_>) -> Option<u64> {
    let was_parked = course.id.is_some() && course.done(Action::Park).next().is_some();
    if run.plan.parked == Parked::KeyFlows || !was_parked {
        return run.released(course.group, course.position);
    }
    let handled = course.handled().map(|(at, _)| at);
    handled.chain(course.done(Action::Skip).map(|skipped| skipped.at)).min()
}

fn started_early(run: &Run<'_>, before: &Course<'_>, early: &Course<'_>) -> Violation {
    let started = run.moment(early.first_start().unwrap_or_default());
    let ended = match end_of(run, before) {
        None => "never ended".to_owned(),
        Some(at) => format!("ended at {}", run.moment(at)),
    };
    let facts = format!(
        "group {}, key {}: {} started at {started}; {} before it {ended}",
        early.group,
        early.key.unwrap_or_default(),
        early.name(),
        before.name(),
    );
    Violation::fatal(Anomaly::KeyReorder, facts)
}

/// One run of a handler with its time and owner.
#[derive(Clone, Copy)]
struct Span<'r, 'a> {
    running: &'r Running<'a>,
    until: u64,
    generation: Option<u64>,
}

/// A10: two handlers of a key at once, in one member or in one generation.
///
/// A frozen owner whose lease ran out may wake up in the middle of its handler: another generation is another owner.
pub(crate) fn overlaps(run: &Run<'_>) -> Vec<Violation> {
    if run.plan.order == Order::None {
        return Vec::new();
    }
    let mut lines: HashMap<(&str, &str, &str), Vec<Span<'_, '_>>> = HashMap::new();
    for course in run.courses.all() {
        for running in &course.runs {
            let line = (course.group, running.delivery.topic.as_str(), running.delivery.key.as_str());
            lines.entry(line).or_default().push(span(run, course, running));
        }
    }
    lines.into_iter().flat_map(|((group, _, key), spans)| overlaps_in(run, (group, key), spans)).collect()
}

fn span<'r, 'a>(run: &Run<'a>, course: &Course<'a>, running: &'r Running<'a>) -> Span<'r, 'a> {
    let died = run.processes.died(running.process);
    let until = running.end.map(|(at, _)| at).or(died).unwrap_or(u64::MAX);
    let share = run.movements.of(course.group, course.position.partition);
    let generation = share.generation(running.process, &running.delivery.member, running.started);
    Span { running, until, generation }
}

fn overlaps_in(run: &Run<'_>, line: (&str, &str), mut spans: Vec<Span<'_, '_>>) -> Vec<Violation> {
    spans.sort_by_key(|span| span.running.started);
    let mut by_member: HashMap<(Process, &str), Span<'_, '_>> = HashMap::new();
    let mut by_generation: HashMap<Option<u64>, Span<'_, '_>> = HashMap::new();
    let mut found = Vec::new();
    for span in spans {
        let member = (span.running.process, span.running.delivery.member.as_str());
        let others = [by_member.get(&member), by_generation.get(&span.generation)];
        let running = others.into_iter().flatten().find(|other| other.until > span.running.started);
        found.extend(running.map(|other| overlap(run, line, other, &span)));
        keep_longest(by_member.entry(member).or_insert(span), span);
        keep_longest(by_generation.entry(span.generation).or_insert(span), span);
    }
    found
}

fn keep_longest<'r, 'a>(kept: &mut Span<'r, 'a>, span: Span<'r, 'a>) {
    if span.until > kept.until {
        *kept = span;
    }
}

fn overlap(run: &Run<'_>, (group, key): (&str, &str), running: &Span<'_, '_>, second: &Span<'_, '_>) -> Violation {
    let tell = |span: &Span<'_, '_>| {
        let delivery = &span.running.delivery;
        let started = run.moment(span.running.started);
        format!("{} at {} in {} from {started}", delivery.id, delivery.position(), delivery.member)
    };
    let facts = format!("group {group}, key {key}: {} while {} still ran", tell(second), tell(running));
    Violation::fatal(Anomaly::KeyOverlap, facts)
}
