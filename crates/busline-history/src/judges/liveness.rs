//! Whether work that waits is worked on.

use std::collections::{BTreeSet, HashSet};

use super::owed::{Due, Owed};
use crate::entry::Process;
use crate::plan::GroupPlan;
use crate::run::{Run, nanos};
use crate::violation::{Anomaly, Violation};

/// A18: in a calm, no handler of a group started for too long while an acked envelope waited the whole time.
///
/// The other half of A18, a publish over its deadline, is A17 by its very definition and is told there.
pub(crate) fn stuck(run: &Run<'_>) -> Vec<Violation> {
    run.plan.groups.iter().flat_map(|group| stuck_group(run, group)).collect()
}

fn stuck_group(run: &Run<'_>, group: &GroupPlan) -> Vec<Violation> {
    let Some((from, to)) = watch(run, group) else { return Vec::new() };
    let starts = starts(run, group);
    let limit = nanos(run.plan.stuck_after);
    let calms = run.faults.calms(from, to, nanos(run.plan.calm));
    let idles: Vec<(u64, u64)> = calms.into_iter().flat_map(|calm| idles(&starts, calm, limit)).collect();
    if idles.is_empty() {
        return Vec::new();
    }
    let owed = Owed::gather(run, group);
    let stuck = idles.into_iter().filter_map(|idle| {
        let waiting = owed.calls.iter().find(|due| waited(due, idle) >= limit)?;
        let facts = format!(
            "group {} started no handler from {} to {} while {} (key {}) waited",
            group.group,
            run.moment(idle.0),
            run.moment(idle.1),
            waiting.call.publication.id,
            waiting.call.publication.key,
        );
        Some(Violation::fatal(Anomaly::Stuck, facts))
    });
    stuck.collect()
}

fn waited(due: &Due<'_, '_>, (from, to): (u64, u64)) -> u64 {
    let until = due.finished.map_or(to, |finished| finished.min(to));
    until.saturating_sub(due.acked.max(from))
}

fn starts(run: &Run<'_>, group: &GroupPlan) -> BTreeSet<u64> {
    let courses = run.courses.all().iter().filter(|course| course.group == group.group);
    courses.flat_map(|course| course.runs.iter().map(|running| running.started)).collect()
}

/// The stretches of a calm without a start that are at least `limit` long.
fn idles(starts: &BTreeSet<u64>, (from, to): (u64, u64), limit: u64) -> Vec<(u64, u64)> {
    let mut edges = vec![from];
    edges.extend(starts.range(from..to));
    edges.push(to);
    edges.windows(2).map(|pair| (pair[0], pair[1])).filter(|(from, to)| to - from >= limit).collect()
}

/// From when to when a group had members: from the first sign of one until the last has closed or died.
fn watch(run: &Run<'_>, group: &GroupPlan) -> Option<(u64, u64)> {
    let mut from = None;
    let mut members: HashSet<(Process, &str)> = HashSet::new();
    for course in run.courses.all().iter().filter(|course| course.group == group.group) {
        for handed in &course.handed {
            from = earliest(from, handed.at);
            members.insert((handed.process, &handed.delivered.delivery.member));
        }
    }
    for (_, _, share) in run.movements.all().filter(|(of, ..)| *of == group.group) {
        for shift in &share.shifts {
            from = earliest(from, shift.at);
            members.insert((shift.process, shift.member));
        }
    }
    let to = members.into_iter().map(|(process, member)| left(run, process, member)).max()?;
    Some((from?, to))
}

fn earliest(seen: Option<u64>, at: u64) -> Option<u64> {
    Some(seen.map_or(at, |seen| seen.min(at)))
}

fn left(run: &Run<'_>, process: Process, member: &str) -> u64 {
    let closed = run.processes.closings(process).iter().find(|close| close.covers(member)).map(|close| close.begun);
    closed.into_iter().chain(run.processes.died(process)).min().unwrap_or(run.end())
}
