//! Whether a group passed over what is stored.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::entry::Process;
use crate::plan::{Gaps, GroupPlan, Order};
use crate::position::{Partition, Position};
use crate::run::Run;
use crate::violation::{Anomaly, Violation};

/// A13: a stored position that a member jumped over within its key, or that a drained group never got.
///
/// Across keys a jump is no gap before the drain: the record may wait in its lane behind a slow or failing one.
pub(crate) fn gaps(run: &Run<'_>) -> Vec<Violation> {
    if run.plan.gaps == Gaps::Legal {
        return Vec::new();
    }
    let mut told = HashSet::new();
    let jumped = if run.plan.order == Order::ByKey { jumps(run) } else { Vec::new() };
    let passed = run.plan.groups.iter().flat_map(|group| never_delivered(run, group));
    let found = jumped.into_iter().chain(passed);
    found.filter(|gap| told.insert((gap.group, gap.position))).map(|gap| tell(&gap)).collect()
}

struct Gap<'a> {
    group: &'a str,
    position: Position<'a>,
    id: &'a str,
    why: &'static str,
}

fn tell(gap: &Gap<'_>) -> Violation {
    let facts = format!("group {} passed over {} ({}): {}", gap.group, gap.position, gap.id, gap.why);
    Violation::fatal(Anomaly::Gap, facts)
}

/// Deliveries of one key in one tenure of a member: the offsets, and the time of the last.
#[derive(Default)]
struct Walk {
    offsets: BTreeSet<u64>,
    last_at: u64,
}

/// One key in one tenure of a member: group, process, member, tenure, partition, key.
type Tenure<'a> = (&'a str, Process, &'a str, usize, Partition<'a>, &'a str);

fn jumps<'a>(run: &Run<'a>) -> Vec<Gap<'a>> {
    let stored = stored_by_key(run);
    let mut found = Vec::new();
    for ((group, _, _, _, partition, key), walk) in walks(run) {
        let rows = stored.get(&(partition, key)).map_or(&[][..], Vec::as_slice);
        let (Some(first), Some(last)) = (walk.offsets.first(), walk.offsets.last()) else { continue };
        let from = rows.partition_point(|(offset, _)| offset < first);
        for (offset, id) in rows[from..].iter().take_while(|(offset, _)| offset < last) {
            let position = partition.at(*offset);
            let is_released = run.released(group, position).is_some_and(|at| at <= walk.last_at);
            if !walk.offsets.contains(offset) && !is_released {
                found.push(Gap { group, position, id, why: "later records of its key came" });
            }
        }
    }
    found
}

fn walks<'a>(run: &Run<'a>) -> HashMap<Tenure<'a>, Walk> {
    let mut walks: HashMap<Tenure<'_>, Walk> = HashMap::new();
    for course in run.courses.all() {
        let partition = course.position.partition;
        let share = run.movements.of(course.group, partition);
        for handed in &course.handed {
            let delivery = &handed.delivered.delivery;
            let number = share.tenure(handed.process, &delivery.member, handed.at);
            let tenure =
                (course.group, handed.process, delivery.member.as_str(), number, partition, delivery.key.as_str());
            let walk = walks.entry(tenure).or_default();
            walk.offsets.insert(course.position.offset);
            walk.last_at = walk.last_at.max(handed.at);
        }
    }
    walks
}

/// Stored envelopes of the run by partition and key, lowest offset first.
fn stored_by_key<'a>(run: &Run<'a>) -> HashMap<(Partition<'a>, &'a str), Vec<(u64, &'a str)>> {
    let mut stored: HashMap<_, Vec<_>> = HashMap::new();
    for (partition, rows) in run.stored.partitions() {
        for row in rows {
            if let Some(id) = row.id.as_deref().filter(|id| run.publishes.is_attempted(id)) {
                stored.entry((partition, row.key.as_str())).or_default().push((row.offset, id));
            }
        }
    }
    stored
}

fn never_delivered<'r, 'a>(run: &'r Run<'a>, group: &'a GroupPlan) -> impl Iterator<Item = Gap<'a>> + use<'r, 'a> {
    let partitions = run.stored.partitions().filter(move |(partition, _)| partition.topic == group.topic);
    let rows = partitions.flat_map(|(_, rows)| rows.iter().copied());
    rows.filter(move |row| run.is_drained() && is_owed(group, row.position())).filter_map(move |row| {
        let (position, id) = (row.position(), row.id.as_deref()?);
        let is_seen = run.courses.of(&group.group, position).is_some();
        let is_passed = is_seen || run.released(&group.group, position).is_some();
        let gap = Gap { group: &group.group, position, id, why: "the drained group never got it" };
        (run.publishes.is_attempted(id) && !is_passed).then_some(gap)
    })
}

fn is_owed(group: &GroupPlan, position: Position<'_>) -> bool {
    group.start.get(&position.partition.number).is_none_or(|start| position.offset >= *start)
}
