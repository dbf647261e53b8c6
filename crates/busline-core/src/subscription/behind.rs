//! Records behind the head of a running lane that are parked together with it, so that a long queue of a parked key costs
//! a few writes and not one for each.

use super::lane::Phase;
use super::lanes::{LaneRef, Lanes, Load, lane_of, size_of};
use crate::record::Record;

/// A record that was taken out of its lane from behind the head, which still runs.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) ordinal: u64,
    pub(crate) record: Record,
}

impl Lanes {
    /// Takes out what a running lane keeps behind its head, in order. It counts as handed over all the same. A lane that
    /// rests keeps what it has: that is counted apart.
    pub(crate) fn take_behind(&mut self, lane_ref: LaneRef) -> Vec<Behind> {
        let lane = lane_of(&mut self.lanes, lane_ref).filter(|lane| lane.phase == Phase::Running && !lane.rests);
        let Some(lane) = lane else { return Vec::new() };
        lane.held.drain(..).map(|(ordinal, record)| Behind { ordinal, record }).collect()
    }

    /// One of them is finished.
    pub(crate) fn finish_behind(&mut self, lane_ref: LaneRef, one: &Behind) {
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        self.load.take(Load::one(size_of(&one.record)));
        let held = self.partitions.get_mut(&lane.partition).filter(|_| lane.phase != Phase::Orphan);
        if let Some(held) = held {
            held.records -= 1;
            held.progress.finish(one.ordinal);
        }
    }

    /// They come again behind their head, in order; those of a lane that counts for nothing any more are dropped.
    pub(crate) fn give_back_behind(&mut self, lane_ref: LaneRef, behind: Vec<Behind>) {
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        if lane.phase == Phase::Orphan {
            return behind.iter().for_each(|one| self.load.take(Load::one(size_of(&one.record))));
        }
        behind.into_iter().rev().for_each(|one| lane.held.push_front((one.ordinal, one.record)));
        let rests = lane.rests;
        self.rest(lane_ref, rests);
    }
}
