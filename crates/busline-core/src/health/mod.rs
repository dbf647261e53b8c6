//! Health: whether a bus makes progress, judged by acks and commits that moved.

mod facts;
mod judge;
mod report;

pub(crate) use facts::gather;
pub(crate) use judge::{Facts, Memory};

pub use report::{Health, HealthState, Reason, Work};
