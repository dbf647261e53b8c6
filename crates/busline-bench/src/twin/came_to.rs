//! What a twin is asked for and comes to, whatever client it is.

use std::time::Duration;

#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
use crate::latency::Latencies;

#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
/// When the bodies of the records are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// In the loop, each with its envelope, as who publishes does.
    Encoded,
    /// Beforehand, while no time is taken.
    Premade,
}

#[cfg(any(feature = "sqlite", feature = "nats", feature = "kafka"))]
/// What a twin came to.
#[derive(Debug)]
pub(crate) struct TwinRun {
    pub(crate) envelopes: u64,
    pub(crate) stored_in: Duration,
    pub(crate) cpu: Duration,
    /// SQLite: from before a transaction's first body to the end of its commit, once for each transaction. Servers:
    /// from the call of `publish` to its ack, of Kafka in mode `sync` alone.
    pub(crate) latencies: Latencies,
}

/// What a reading twin came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TwinRead {
    pub(crate) records: u64,
    pub(crate) read_in: Duration,
    pub(crate) cpu: Duration,
}
