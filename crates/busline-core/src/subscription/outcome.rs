//! How attempts end, counted.

use jiff::Timestamp;

use super::lanes::{End, Ticket};
use crate::error::Error;
use crate::topic::Partition;

/// Counts of a subscription since it was opened, and what it holds at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubscriptionStats {
    /// Records that the source handed over.
    pub delivered: u64,
    /// Events whose handler ended well.
    pub handled: u64,
    /// Records parked: after their last attempt, behind their parked key, or because they cannot be decoded.
    pub parked: u64,
    /// Events passed over because their handler said so.
    pub skipped: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// Runs of handlers that blocked their thread, counted when that is noticed, within a second.
    pub blocked_handlers: u64,
    /// Stretches of positions that were skipped and that nothing explains.
    pub gaps: u64,
    /// Positions in those stretches: as many records as were lost, where [`Capabilities::gaps`](crate::Capabilities::gaps)
    /// is exact.
    pub gap_positions: u64,
    /// Records that were handed over, kept as offsets behind a waiting key, and deleted before their turn came.
    pub gone: u64,
    /// Partitions that were lost to another member before their work had ended.
    pub lost_partitions: u64,
    /// Records handed over and unfinished at the moment, without those that are kept as offsets behind a waiting key.
    /// Never above the setting.
    pub in_flight_records: u64,
    /// Their bytes: keys, headers and bodies. Above the setting by less than one record.
    pub in_flight_bytes: u64,
}

/// What is parked in the partitions that a member holds, and how parking goes.
#[derive(Debug, Clone, Default)]
pub struct ParkingHealth {
    /// Keys that are parked.
    pub keys: usize,
    /// Records that are parked alone.
    pub records: usize,
    /// When the oldest of them was parked.
    pub oldest: Option<Timestamp>,
    /// Records that are to be parked and are not yet; their keys wait.
    pub waiting: usize,
    /// Partitions that wait because they hold as many parked keys as they may.
    pub full: Vec<Partition>,
    /// Writes to the parking topic that failed, since the subscription was opened.
    pub write_errors: u64,
    /// What keeps records from being parked at the moment.
    pub trouble: Option<Error>,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) ticket: Ticket,
    pub(crate) end: End,
    pub(crate) note: Note,
}

/// What to count of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    Handled,
    Skipped,
    Failed,
    Nothing,
}

impl Ended {
    pub(crate) fn count(&self, stats: &mut SubscriptionStats) {
        match self.note {
            Note::Handled => stats.handled += 1,
            Note::Skipped => stats.skipped += 1,
            Note::Failed => stats.failed_attempts += 1,
            Note::Nothing => {}
        }
        stats.gone += u64::from(matches!(self.end, End::Gone));
    }
}
