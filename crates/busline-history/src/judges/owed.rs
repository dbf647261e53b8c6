//! What the groups owe: acked envelopes that they must finish.

use crate::plan::GroupPlan;
use crate::position::Position;
use crate::run::{Call, Run};

/// The acked envelopes that a group must finish.
pub(crate) struct Owed<'r, 'a> {
    pub(super) group: &'r GroupPlan,
    pub(super) calls: Vec<Due<'r, 'a>>,
}

/// One of them; `finished` is its end in the group.
pub(crate) struct Due<'r, 'a> {
    pub(super) call: &'r Call<'a>,
    pub(super) acked: u64,
    pub(super) position: Option<Position<'a>>,
    pub(super) finished: Option<u64>,
}

impl<'r, 'a> Owed<'r, 'a> {
    pub(super) fn gather(run: &'r Run<'a>, group: &'r GroupPlan) -> Self {
        let calls = run.publishes.calls().iter().filter(|call| call.publication.topic == group.topic);
        Self { group, calls: calls.filter_map(|call| due(run, group, call)).collect() }
    }
}

impl Due<'_, '_> {
    pub(super) fn is_open_at(&self, at: u64) -> bool {
        self.acked <= at && self.finished.is_none_or(|finished| finished > at)
    }
}

fn due<'r, 'a>(run: &Run<'a>, group: &GroupPlan, call: &'r Call<'a>) -> Option<Due<'r, 'a>> {
    let (durability, (acked, _)) = (call.acked()?.durability, call.end?);
    let id = call.publication.id.as_str();
    let position = call.position().or_else(|| run.stored.of(id).first().map(|row| row.position()));
    let is_owed = position.is_none_or(|position| {
        let start = group.start.get(&position.partition.number).copied().unwrap_or(0);
        position.offset >= start && !run.dump.is_below_first(position)
    });
    let is_certain = position.is_some() || group.start.is_empty() && !run.dump.is_trimmed(&group.topic);
    (is_owed && is_certain && run.faults.spare(durability, acked)).then(|| Due {
        call,
        acked,
        position,
        finished: run.courses.finished(&group.group, id),
    })
}
