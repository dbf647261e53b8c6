//! Whether progress only moves on, and never past what is unfinished.

use std::collections::{HashMap, HashSet};

use crate::entry::Process;
use crate::plan::Order;
use crate::position::{Partition, Position};
use crate::run::{CommitEnd, Course, Run, Share, redeliveries};
use crate::violation::{Anomaly, Violation};

/// A14: a key's first deliveries went back within one tenure, or a committed offset went back.
pub(crate) fn backwards(run: &Run<'_>) -> Vec<Violation> {
    let mut found = commits_backwards(run);
    if run.plan.order == Order::ByKey {
        found.extend(deliveries_backwards(run));
    }
    found
}

/// One key in one tenure of a member: group, process, member, tenure, partition, key.
type Tenure<'a> = (&'a str, Process, &'a str, usize, Partition<'a>, &'a str);

fn deliveries_backwards(run: &Run<'_>) -> Vec<Violation> {
    // What may come again may also come back.
    let permitted: HashSet<(Position<'_>, u64, &str)> = redeliveries(run)
        .filter(|redelivery| redelivery.cause.is_some())
        .map(|redelivery| (redelivery.course.position, redelivery.again.at, redelivery.course.group))
        .collect();
    let mut handed: Vec<_> = run
        .courses
        .all()
        .iter()
        .flat_map(|course| course.handed.iter().map(move |handed| (handed.at, course, handed)))
        .filter(|(at, course, handed)| {
            handed.delivered.delivery.attempt <= 1 && !permitted.contains(&(course.position, *at, course.group))
        })
        .collect();
    handed.sort_by_key(|(at, ..)| *at);
    let mut furthest: HashMap<Tenure<'_>, &Course<'_>> = HashMap::new();
    let mut found = Vec::new();
    for (at, course, handed) in handed {
        let delivery = &handed.delivered.delivery;
        let share = run.movements.of(course.group, course.position.partition);
        let number = share.tenure(handed.process, &delivery.member, at);
        let partition = course.position.partition;
        let tenure = (course.group, handed.process, delivery.member.as_str(), number, partition, delivery.key.as_str());
        let last = furthest.entry(tenure).or_insert(course);
        if course.position.offset < last.position.offset {
            found.push(delivery_back(run, last, course, at));
        } else {
            *last = course;
        }
    }
    found
}

fn delivery_back(run: &Run<'_>, last: &Course<'_>, back: &Course<'_>, at: u64) -> Violation {
    let facts = format!(
        "group {}, key {}: {} came at {}, after {}, with no change of assignment between",
        back.group,
        back.key.unwrap_or_default(),
        back.name(),
        run.moment(at),
        last.name(),
    );
    Violation::fatal(Anomaly::Backwards, facts)
}

fn commits_backwards(run: &Run<'_>) -> Vec<Violation> {
    run.movements.all().flat_map(|(group, partition, share)| share_backwards(run, group, partition, share)).collect()
}

/// A commit goes back if a higher one had been reported before it was called.
fn share_backwards(run: &Run<'_>, group: &str, partition: Partition<'_>, share: &Share<'_>) -> Vec<Violation> {
    let mut reported: Vec<(u64, u64)> = Vec::new();
    for call in &share.commits {
        if let Some((at, CommitEnd::Ok)) = call.end {
            reported.push((at, call.progress.offset));
        }
    }
    reported.sort_unstable();
    let (mut next, mut highest, mut highest_at) = (0, 0, 0);
    let mut found = Vec::new();
    for call in share.commits.iter().filter(|call| matches!(call.end, Some((_, CommitEnd::Ok)))) {
        while let Some((at, offset)) = reported.get(next).filter(|(at, _)| *at < call.invoked) {
            if *offset >= highest {
                (highest, highest_at) = (*offset, *at);
            }
            next += 1;
        }
        if call.progress.offset < highest && !share.sought_between(highest_at, call.invoked) {
            let (at, member) = (run.moment(call.invoked), &call.progress.member);
            let facts = format!(
                "group {group}, {partition}: {member} committed {} at {at} after {highest} was committed at {}",
                call.progress.offset,
                run.moment(highest_at),
            );
            found.push(Violation::fatal(Anomaly::Backwards, facts));
        }
    }
    found
}

/// A15: committed past a record that had not ended when the commit was called.
pub(crate) fn premature_commits(run: &Run<'_>) -> Vec<Violation> {
    let mut known: HashMap<(&str, Partition<'_>), Vec<u64>> = HashMap::new();
    for course in run.courses.all() {
        known.entry((course.group, course.position.partition)).or_default().push(course.position.offset);
    }
    let shares = run.movements.all().flat_map(|(group, partition, share)| {
        let delivered = known.remove(&(group, partition)).unwrap_or_default();
        let ends = Ends::gather(run, group, partition, delivered);
        share_premature(run, &ends, share)
    });
    shares.collect()
}

/// When each known record of a group's partition ended, and up to each of them the latest end.
struct Ends<'a> {
    group: &'a str,
    partition: Partition<'a>,
    ends: Vec<(u64, u64)>,
    latest: Vec<(u64, u64)>,
}

impl<'a> Ends<'a> {
    fn gather(run: &Run<'a>, group: &'a str, partition: Partition<'a>, mut offsets: Vec<u64>) -> Self {
        let start = start_of(run, group, partition, &offsets);
        let stored = run.stored.in_partition(partition).iter();
        let ours = stored.filter(|row| row.id.as_deref().is_some_and(|id| run.publishes.is_attempted(id)));
        offsets.extend(ours.map(|row| row.offset));
        offsets.retain(|offset| *offset >= start);
        offsets.sort_unstable();
        offsets.dedup();
        let end = |offset: &u64| run.released(group, partition.at(*offset)).unwrap_or(u64::MAX);
        let ends: Vec<(u64, u64)> = offsets.iter().map(|offset| (end(offset), *offset)).collect();
        let latest = ends.iter().scan((0, 0), |latest, end| {
            *latest = (*latest).max(*end);
            Some(*latest)
        });
        Self { group, partition, latest: latest.collect(), ends }
    }

    /// The record below `offset` that ended last, with its end.
    fn last_below(&self, offset: u64) -> Option<(u64, u64)> {
        let below = self.ends.partition_point(|(_, at)| *at < offset);
        self.latest.get(below.checked_sub(1)?).copied()
    }
}

/// First offset that a group must finish: as planned, or the first that it was seen to get.
fn start_of(run: &Run<'_>, group: &str, partition: Partition<'_>, delivered: &[u64]) -> u64 {
    let planned = run.plan.groups.iter().find(|plan| plan.group == group && plan.topic == partition.topic);
    match planned {
        Some(plan) => plan.start.get(&partition.number).copied().unwrap_or(0),
        None => delivered.iter().copied().min().unwrap_or(u64::MAX),
    }
}

fn share_premature(run: &Run<'_>, ends: &Ends<'_>, share: &Share<'_>) -> Vec<Violation> {
    let mut told = HashSet::new();
    let mut found = Vec::new();
    for call in share.commits.iter().filter(|call| !matches!(call.end, Some((_, CommitEnd::Refused)))) {
        let Some((ended, offset)) = ends.last_below(call.progress.offset) else { continue };
        if ended > call.invoked && told.insert(offset) {
            let end = match ended {
                u64::MAX => "never ended".to_owned(),
                at => format!("ended at {}", run.moment(at)),
            };
            let facts = format!(
                "group {}: {} committed {} at {}; {} {end}",
                ends.group,
                call.progress.member,
                ends.partition.at(call.progress.offset),
                run.moment(call.invoked),
                ends.partition.at(offset),
            );
            found.push(Violation::fatal(Anomaly::PrematureCommit, facts));
        }
    }
    found
}
