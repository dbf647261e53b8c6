//! Whether every acked envelope reached its end in every group.

use std::collections::HashMap;

use super::owed::{Due, Owed};
use crate::entry::Reached;
use crate::plan::Order;
use crate::position::Partition;
use crate::run::{Line, Run, nanos};
use crate::violation::{Anomaly, Violation};

/// A1: acked and not finished, in a group that was drained or is already past it.
pub(crate) fn lost(run: &Run<'_>) -> Vec<Violation> {
    run.plan.groups.iter().flat_map(|group| Owed::gather(run, group).lost(run)).collect()
}

/// A19: the drain's time was over and acked envelopes were not finished; one violation for each group.
pub(crate) fn unseen_at_drain(run: &Run<'_>) -> Vec<Violation> {
    let (Some(begun), Some(limit)) = (run.drain.begun, drain_over(run)) else { return Vec::new() };
    let groups = run.plan.groups.iter().filter_map(|group| Owed::gather(run, group).unseen(run, begun, limit));
    groups.collect()
}

/// When the time of a drain was over, unless it ended well before.
fn drain_over(run: &Run<'_>) -> Option<u64> {
    let limit = run.drain.begun?.saturating_add(nanos(run.plan.drain_limit));
    match run.drain.ended {
        Some((at, Reached::Limit)) => Some(at.min(limit)),
        Some((at, Reached::End)) => (at > limit).then_some(limit),
        None => (run.end() > limit).then_some(limit),
    }
}

impl<'a> Owed<'_, 'a> {
    fn lost(&self, run: &Run<'_>) -> Vec<Violation> {
        let passed = self.passed_by_key();
        let is_passed = |due: &Due<'_, '_>| {
            due.position.is_some_and(|position| {
                let key = (position.partition, due.call.publication.key.as_str());
                passed.get(&key).is_some_and(|highest| *highest > position.offset)
            })
        };
        // Without an order by key, a later record that is finished says nothing of an earlier one.
        let is_lost = |due: &&Due<'_, '_>| {
            due.finished.is_none() && (run.is_drained() || run.plan.order == Order::ByKey && is_passed(due))
        };
        let lost: Vec<_> = self.calls.iter().filter(is_lost).collect();
        if lost.is_empty() {
            return Vec::new();
        }
        let lines = self.finished_by_line();
        lost.into_iter().map(|due| self.tell(run, due, &lines)).collect()
    }

    fn tell(&self, run: &Run<'_>, due: &Due<'_, '_>, lines: &HashMap<Line<'_>, (u64, u64)>) -> Violation {
        let publication = due.call.publication;
        let part = match lines.get(&due.call.line()) {
            None => "whole",
            Some((lowest, _)) if publication.kseq < *lowest => "prefix",
            Some((_, highest)) if publication.kseq > *highest => "tail",
            Some(_) => "middle",
        };
        let is_stored = match run.dump.covers(&publication.topic) {
            false => "not looked up in a dump",
            true if run.stored.holds(&publication.id) => "stored",
            true => "not stored",
        };
        let position = due.position.map_or_else(|| "an unknown position".to_owned(), |position| position.to_string());
        let facts = format!(
            "group {} never finished {} (key {}, kseq {}) at {position}, acked at {}: {part} of its line, {is_stored}",
            self.group.group,
            publication.id,
            publication.key,
            publication.kseq,
            run.moment(due.acked),
        );
        Violation::fatal(Anomaly::Lost, facts)
    }

    /// Highest finished offset of each key.
    fn passed_by_key(&self) -> HashMap<(Partition<'a>, &'a str), u64> {
        let mut passed = HashMap::new();
        for due in self.calls.iter().filter(|due| due.finished.is_some()) {
            if let Some(position) = due.position {
                let highest = passed.entry((position.partition, due.call.publication.key.as_str())).or_insert(0);
                *highest = position.offset.max(*highest);
            }
        }
        passed
    }

    /// Lowest and highest finished number of each publisher and key.
    fn finished_by_line(&self) -> HashMap<Line<'a>, (u64, u64)> {
        let mut lines = HashMap::new();
        for due in self.calls.iter().filter(|due| due.finished.is_some()) {
            let kseq = due.call.publication.kseq;
            let (lowest, highest) = lines.entry(due.call.line()).or_insert((kseq, kseq));
            (*lowest, *highest) = (kseq.min(*lowest), kseq.max(*highest));
        }
        lines
    }

    fn unseen(&self, run: &Run<'_>, begun: u64, limit: u64) -> Option<Violation> {
        let open_at = |at: u64| self.calls.iter().filter(move |due| due.is_open_at(at));
        let first = open_at(limit).next()?;
        let curve: Vec<String> = (0..=CURVE_STEPS)
            .map(|step| {
                let at = begun + (limit - begun) / CURVE_STEPS * step;
                format!("{} at {}", open_at(at).count(), run.moment(at))
            })
            .collect();
        let facts = format!(
            "group {} had not finished all when the drain was over; the first is {} (key {}); open: {}",
            self.group.group,
            first.call.publication.id,
            first.call.publication.key,
            curve.join(", "),
        );
        Some(Violation::fatal(Anomaly::UnseenAtDrain, facts))
    }
}

/// Points of the curve of a drain, besides its beginning.
const CURVE_STEPS: u64 = 4;
