//! What a publisher counts.

/// Counts of a publisher since it was opened. Unit: envelopes, or batches where it says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublisherStats {
    /// Entered the window.
    pub accepted: u64,
    /// Stored, duplicates included.
    pub acked: u64,
    /// Certainly not stored.
    pub failed: u64,
    /// Perhaps stored.
    pub indeterminate: u64,
    /// Acked as known already.
    pub duplicates: u64,
    /// Batches handed to the sink.
    pub batches: u64,
    /// Calls of the failure handler that panicked.
    pub handler_panics: u64,
}
