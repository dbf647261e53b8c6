//! How parking stops partitions and lets them go on.

use crate::subscription::lane::Phase;
use crate::subscription::lanes::{LaneRef, Lanes, Shares, lane_of};
use crate::topic::{Offset, Partition};

/// A partition whose parking is to be taken over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Awaiting {
    pub(crate) partition: Partition,
    pub(crate) generation: u64,
}

impl Lanes {
    /// Starts nothing of a partition until it is admitted.
    pub(crate) fn await_parking(&mut self, partition: Partition) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.awaits_parking = true;
            self.rest_all(partition);
        }
    }

    /// Partitions that wait to be admitted.
    pub(crate) fn awaiting(&self) -> Vec<Awaiting> {
        let waiting = self.partitions.iter().filter(|(_, held)| held.awaits_parking && !held.revoking);
        waiting.map(|(partition, held)| Awaiting { partition: *partition, generation: held.generation }).collect()
    }

    /// What is parked in a partition is known: its records may run.
    pub(crate) fn admit(&mut self, partition: Partition, generation: u64) {
        if let Some(held) = self.partitions.get_mut(&partition).filter(|held| held.generation == generation) {
            held.awaits_parking = false;
            self.go_on_with(partition);
        }
    }

    /// Starts nothing of a partition in which no further key can be parked.
    pub(crate) fn hold(&mut self, partition: Partition) {
        if let Some(held) = self.partitions.get_mut(&partition) {
            held.parking_full = true;
            self.rest_all(partition);
        }
    }

    /// Further keys can be parked.
    pub(crate) fn let_go_on(&mut self, partition: Partition, generation: u64) {
        if let Some(held) = self.partitions.get_mut(&partition).filter(|held| held.generation == generation) {
            held.parking_full = false;
            self.go_on_with(partition);
        }
    }

    /// Whether the attempt of this lane still counts.
    pub(crate) fn is_running(&mut self, lane_ref: LaneRef) -> bool {
        lane_of(&mut self.lanes, lane_ref).is_some_and(|lane| lane.phase == Phase::Running)
    }

    /// What is held, with generations.
    pub(crate) fn shares(&self) -> Shares {
        self.partitions.iter().map(|(partition, held)| (*partition, held.generation)).collect()
    }

    /// The stored offset of a partition.
    pub(crate) fn stored(&self, partition: Partition) -> Option<Offset> {
        self.partitions.get(&partition).map(|held| held.progress.stored())
    }
}
