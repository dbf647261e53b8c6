//! What is done to whole partitions: commits, pauses, seeks, giving them up and losing them.

use std::collections::VecDeque;

#[cfg(test)]
use super::lane::Load;
use super::lane::{Held, Phase};
use super::lanes::{Blocked, Bounds, Lanes, Shares, lane_of};
use super::progress::Progress;
use crate::driver::Commit;
use crate::topic::{Offset, Partition};

impl Lanes {
    /// Offsets that may be committed and were not. One call at a time may be under way.
    pub(crate) fn commits(&mut self) -> Vec<Commit> {
        let moved = |(partition, held): (&Partition, &mut Held)| {
            let offset = held.progress.ask()?;
            Some(Commit { partition: *partition, generation: held.generation, offset })
        };
        self.partitions.iter_mut().filter_map(moved).collect()
    }

    /// Whether some partition has moved beyond its stored offset, may go on, or is being given up.
    pub(crate) fn is_moving(&self) -> bool {
        self.partitions.values().any(|held| held.revoking || held.progress.has_unstored() || self.may_go_on(held))
    }

    /// Whether the source of this partition paused because it was full, and it is so no longer. Below the stored offset,
    /// after a seek back, no commit says so.
    fn may_go_on(&self, held: &Held) -> bool {
        held.source_paused && !held.greedy && !held.is_paused() && !is_full(held, &self.bounds)
    }

    /// This commit is stored.
    pub(crate) fn committed(&mut self, commit: &Commit) {
        if let Some(held) = self.partitions.get_mut(&commit.partition)
            && held.generation == commit.generation
        {
            held.progress.set_stored(commit.offset);
        }
    }

    /// Partitions whose source has to pause, and those whose source may go on, since the last call.
    ///
    /// A partition pauses because its user says so, because a record cannot be decoded, because of its parking, because a
    /// further piece would go past `ahead_max`, or because workers starve while it has more than its share of the window: then it has few keys,
    /// and what is read of it only keeps the others out.
    pub(crate) fn pauses(&mut self, starving: bool) -> (Shares, Shares) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        let share = self.share();
        for (partition, held) in &mut self.partitions {
            let is_full = is_full(held, &self.bounds);
            held.greedy = if held.greedy { held.lively() > share / 2 } else { starving && held.lively() > share };
            let pauses = is_full || held.greedy || held.is_paused();
            if pauses != held.source_paused {
                held.source_paused = pauses;
                let list = if pauses { &mut pause } else { &mut resume };
                list.push((*partition, held.generation));
            }
        }
        (pause, resume)
    }

    /// Records of the window for each partition.
    fn share(&self) -> usize {
        self.bounds.records_max / self.partitions.len().max(1)
    }

    /// Whether a partition had more than its share, and no longer has.
    pub(crate) fn has_relieved(&self) -> bool {
        let share = self.share();
        self.partitions.values().any(|held| held.greedy && held.lively() <= share / 2)
    }

    /// Starts nothing of these partitions until they are resumed.
    pub(crate) fn pause(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(held) = self.partitions.get_mut(partition) {
                held.paused = true;
                self.rest_all(*partition);
            }
        }
    }

    /// Lets paused partitions go on.
    pub(crate) fn resume(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(held) = self.partitions.get_mut(partition) {
                held.paused = false;
                self.go_on_with(*partition);
            }
        }
    }

    /// Lets what was set aside run, unless the partition is stopped for another reason.
    pub(super) fn go_on_with(&mut self, partition: Partition) {
        if let Some(held) = self.partitions.get_mut(&partition).filter(|held| !held.is_stopped()) {
            self.ready.extend(held.set_aside.drain(..));
            self.rest_all(partition);
        }
    }

    /// Counts anew what the lanes of a partition keep, after it has stopped or goes on: what is stopped may not take the
    /// room of the others.
    pub(super) fn rest_all(&mut self, partition: Partition) {
        let Some(held) = self.partitions.get(&partition) else { return };
        let is_stopped = held.is_stopped();
        for lane_ref in held.by_key.values().copied().collect::<Vec<_>>() {
            let waits = lane_of(&mut self.lanes, lane_ref).is_some_and(|lane| lane.phase.waits());
            self.rest(lane_ref, waits || is_stopped);
        }
    }

    /// Starts nothing more of these partitions, and forgets what of them has not been started.
    pub(crate) fn revoke(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            let Some(held) = self.partitions.get_mut(partition) else { continue };
            held.revoking = true;
            for lane_ref in held.by_key.values().copied().collect::<Vec<_>>() {
                let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { continue };
                if lane.phase == Phase::Running {
                    self.empty(lane_ref);
                } else {
                    self.close_lane(lane_ref);
                }
            }
        }
    }

    /// Partitions that are being given up.
    pub(crate) fn revoking(&self) -> Vec<Partition> {
        self.partitions.iter().filter(|(_, held)| held.revoking).map(|(partition, _)| *partition).collect()
    }

    /// Whether a partition is to be given up and nothing runs in it any more.
    pub(crate) fn is_drained(&self, partition: Partition) -> bool {
        let held = self.partitions.get(&partition).filter(|held| held.revoking && held.running == 0);
        held.is_some() && !self.orphans.iter().any(|(of, _)| *of == partition)
    }

    /// Whether some partition is to be given up and nothing runs in it any more.
    pub(crate) fn has_drained(&self) -> bool {
        self.partitions.keys().any(|partition| self.is_drained(*partition))
    }

    /// Partitions to give up in which nothing runs any more, with their generations.
    pub(crate) fn drained(&self) -> Shares {
        let drained = self.partitions.iter().filter(|(partition, _)| self.is_drained(**partition));
        drained.map(|(partition, held)| (*partition, held.generation)).collect()
    }

    /// Begins a partition anew at this offset: what was handed over before counts for nothing, and a key for which an
    /// attempt still runs waits for its end. Gives whether the partition is held under this generation.
    pub(crate) fn seek(&mut self, partition: Partition, generation: u64, offset: Offset) -> bool {
        let Some(before) = self.drop_partition_if(partition, |held| held.generation == generation && !held.revoking)
        else {
            return false;
        };
        let progress = Progress::moved(offset, before.progress.stored());
        let held = Held {
            paused: before.paused,
            awaits_parking: before.awaits_parking,
            parking_full: before.parking_full,
            source_paused: before.source_paused,
            ..Held::new(generation, progress)
        };
        self.partitions.insert(partition, held);
        true
    }

    /// The partition is not ours any more: its lanes go, and running attempts count for nothing.
    pub(crate) fn drop_partition(&mut self, partition: Partition) {
        drop(self.drop_partition_if(partition, |_| true));
    }

    /// The same of one assignment; nothing, if the partition is held under another by now. Gives whether it was held.
    pub(crate) fn drop_assignment(&mut self, partition: Partition, generation: u64) -> bool {
        self.drop_partition_if(partition, |held| held.generation == generation).is_some()
    }

    fn drop_partition_if(&mut self, partition: Partition, is_it: impl Fn(&Held) -> bool) -> Option<Held> {
        if !is_it(self.partitions.get(&partition)?) {
            return None;
        }
        let mut held = self.partitions.remove(&partition)?;
        for (key, lane_ref) in held.by_key.drain() {
            let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { continue };
            if lane.phase == Phase::Running {
                lane.phase = Phase::Orphan;
                self.orphans.insert((partition, key));
                self.empty(lane_ref);
            } else {
                self.remove(lane_ref);
            }
        }
        Some(held)
    }

    /// Partitions whose work goes on, as far as the user decides.
    pub(crate) fn moving(&self) -> Vec<Partition> {
        let moving = self.partitions.iter().filter(|(_, held)| !held.paused && !held.revoking);
        moving.map(|(partition, _)| *partition).collect()
    }

    /// Forgets what a lane keeps.
    fn empty(&mut self, lane_ref: super::lanes::LaneRef) {
        let Some(lane) = lane_of(&mut self.lanes, lane_ref) else { return };
        let (partition, gone) = (lane.partition, lane.load());
        let counted = std::mem::take(&mut lane.counted);
        (lane.held, lane.further) = (VecDeque::new(), VecDeque::new());
        self.take_waiting(partition, counted);
        self.take_load(partition, gone);
    }

    pub(crate) fn generation(&self, partition: Partition) -> Option<u64> {
        self.partitions.get(&partition).map(|held| held.generation)
    }

    pub(crate) fn partitions(&self) -> Vec<Partition> {
        self.partitions.keys().copied().collect()
    }

    /// What holds partitions back: undecodable records, and keys whose attempts are used up.
    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        let blocked = self.lanes.iter().flatten().filter_map(|lane| {
            let (key, why) = match lane.phase {
                Phase::Stuck => (Some(lane.key.clone()), "a key has used its attempts up"),
                Phase::Undecodable => (None, "a record cannot be decoded"),
                _ => return None,
            };
            Some(Blocked { partition: lane.partition, offset: lane.oldest(), key, why })
        });
        blocked.collect()
    }

    /// Records and bytes that waiting lanes keep.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> Load {
        self.waiting
    }
}

/// Whether a further piece of this partition would go past `ahead_max`.
fn is_full(held: &Held, bounds: &Bounds) -> bool {
    held.progress.ahead() + bounds.piece() > bounds.ahead_max
}
