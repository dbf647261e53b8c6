use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ContentHash, nanos};

/// A record on its way through a group: who has it, which record, which attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Group.
    pub group: String,
    /// Member of the group; unique within the process.
    pub member: String,
    /// Id of the envelope.
    pub id: String,
    /// Its aggregate id.
    pub key: String,
    /// Topic it was read from.
    pub topic: String,
    /// Partition it was read from.
    pub partition: u32,
    /// Its offset there.
    pub offset: u64,
    /// Run of the handler, from 1.
    pub attempt: u32,
}

/// A record was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Deliver {
    /// Handed to a member.
    Ok(Delivered),
}

/// A delivery and the content that came with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Who got which record.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// Fingerprint of the payload and headers that arrived.
    pub hash: ContentHash,
}

/// A step in one run of a handler. The end is written before the handler returns, so before the bus can act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Handler {
    /// It begins.
    Start(Delivery),
    /// It handled the record.
    Ok(Delivery),
    /// It returned an error.
    Err(Delivery),
    /// It panicked.
    Panic(Delivery),
    /// Its time was over.
    Timeout(Delivery),
    /// It was dropped unfinished.
    Cancelled(Delivery),
}

/// A decision about a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Settle {
    /// Begun.
    Invoke(Settlement),
    /// Done; a parked record is acked in the parking topic.
    Ok(Settlement),
    /// Not known whether it was done.
    Info(Settlement),
}

/// What is decided about which record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// Group.
    pub group: String,
    /// Member that decides.
    pub member: String,
    /// Id of the envelope; `None` if the record cannot be decoded.
    pub id: Option<String>,
    /// Topic of the record.
    pub topic: String,
    /// Partition of the record.
    pub partition: u32,
    /// Offset of the record.
    pub offset: u64,
    /// The decision.
    pub action: Action,
    /// Why, on one line.
    pub reason: String,
    /// Where a parked record went.
    pub parked_at: Option<StoredAt>,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// The record is finished.
    Done,
    /// It runs again.
    Retry {
        /// Wait before the next attempt, jitter included.
        #[serde(rename = "delay_ns", with = "nanos")]
        delay: Duration,
    },
    /// It goes to the parking topic, for itself or behind its parked key.
    Park,
    /// It is passed over by a stated policy.
    Skip,
    /// It leaves the parking topic and runs again.
    Replay,
}

/// Position of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAt {
    /// Topic.
    pub topic: String,
    /// Partition in it.
    pub partition: u32,
    /// Offset in the partition.
    pub offset: u64,
}

/// A commit and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Commit {
    /// Written before the call.
    Invoke(Progress),
    /// Committed.
    Ok(Progress),
    /// Refused, for example by a fence.
    Fail(Progress),
    /// Not known.
    Info(Progress),
}

/// A group's committed offset: the first one not finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Group.
    pub group: String,
    /// Member that commits.
    pub member: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// First offset that is not finished.
    pub offset: u64,
}

/// Partitions were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Assign {
    /// The member has them from here on, besides those it had.
    Ok(Assignment),
}

/// Partitions were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Revoke {
    /// The member no longer has them.
    Ok(Assignment),
}

/// Partitions of a topic that a member got or gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Group.
    pub group: String,
    /// Member.
    pub member: String,
    /// Topic.
    pub topic: String,
    /// Partitions.
    pub partitions: Vec<u32>,
    /// Number that fences earlier owners.
    pub generation: u64,
}

/// A group's position was moved on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Seek {
    /// Moved.
    Ok(Sought),
}

/// Where a group goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// Group.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Next offset to be handled.
    pub offset: u64,
}
