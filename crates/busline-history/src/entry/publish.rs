use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ContentHash, nanos};

/// An envelope at the moment its publish is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Id of the envelope. A second publish of one id is the application's own and legal.
    pub id: String,
    /// Topic it is published to.
    pub topic: String,
    /// Its aggregate id.
    pub key: String,
    /// Name of the publisher; unique within the process.
    pub publisher: String,
    /// Number of this call among those of its publisher and key: rises with every call, also when an id is published
    /// again.
    pub kseq: u64,
    /// Payload, in bytes.
    pub size: u64,
    /// Fingerprint of payload and headers.
    pub hash: ContentHash,
    /// Durability asked for.
    pub durability: Durability,
    /// Delivery deadline, counted from acceptance.
    #[serde(rename = "deadline_ns", with = "nanos")]
    pub deadline: Duration,
}

/// A publish call and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Publish {
    /// Written before the call.
    Invoke(Publication),
    /// Acked.
    Ok(Acked),
    /// Certainly not stored and never will be.
    Fail(NotAcked),
    /// Not known. If in doubt, this one.
    Info(NotAcked),
}

/// An ack: what the backend said about a stored envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acked {
    /// Id of the envelope.
    pub id: String,
    /// Partition it was stored in.
    pub partition: u32,
    /// Its offset; `None` where the backend acks without a position.
    pub offset: Option<u64>,
    /// The backend had it already.
    pub duplicate: bool,
    /// Durability really obtained.
    pub durability: Durability,
}

/// A failed or indeterminate outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAcked {
    /// Id of the envelope.
    pub id: String,
    /// The error, on one line.
    pub error: String,
}

/// Acceptance of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Accept {
    /// It entered the window.
    Ok(Accepted),
}

/// An accepted envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Id of the envelope.
    pub id: String,
}

/// A batch call and how it ended. Its items need no `publish` entries of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Batch {
    /// Written before the call.
    Invoke(BatchCall),
    /// It ended with one result per item, which need not be acks.
    Ok(BatchResults),
    /// Certainly none of its items is stored.
    Fail(BatchEnd),
    /// Nothing is known of any item.
    Info(BatchEnd),
}

/// A batch at the moment it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCall {
    /// Id of the batch; unique within the process.
    pub batch: String,
    /// Whether it is all or nothing.
    pub mode: BatchMode,
    /// Its envelopes, in input order.
    pub items: Vec<Publication>,
}

/// What a batch promises about its items together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchMode {
    /// Each item for itself.
    Itemwise,
    /// All or none.
    Atomic,
}

/// The results of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchResults {
    /// Id of the batch.
    pub batch: String,
    /// One result per item.
    pub results: Vec<ItemEnd>,
}

/// Outcome of one item of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum ItemEnd {
    /// Acked.
    Ok(Acked),
    /// Certainly not stored.
    Fail(NotAcked),
    /// Not known.
    Info(NotAcked),
}

/// One outcome for a whole batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchEnd {
    /// Id of the batch.
    pub batch: String,
    /// The error, on one line.
    pub error: String,
}

/// What a crash cannot take.
///
/// # Examples
/// ```
/// use busline_history::{Durability, Medium};
///
/// let asked = Durability { medium: Medium::Written, copies: 2 };
/// let got = Durability { medium: Medium::Synced, copies: 1 };
/// assert!(!got.meets(asked), "a better medium does not stand in for a copy");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Durability {
    /// Where each copy is.
    pub medium: Medium,
    /// Copies that are certain at the ack, at least 1.
    pub copies: u8,
}

impl Durability {
    /// Whether medium and copies are both at least those asked for.
    pub fn meets(self, asked: Durability) -> bool {
        self.medium >= asked.medium && self.copies >= asked.copies
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let medium = match self.medium {
            Medium::Memory => "memory",
            Medium::Written => "written",
            Medium::Synced => "synced",
        };
        write!(f, "{medium} x {}", self.copies)
    }
}

/// Where a copy is, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// In a process.
    Memory,
    /// In the page cache of a machine.
    Written,
    /// On the disk.
    Synced,
}
