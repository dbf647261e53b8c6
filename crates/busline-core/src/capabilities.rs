//! What a backend can do, as data: differences are said here and as `Unsupported`, never emulated in silence.

use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// What one backend can do.
///
/// # Source
/// Promise T4; the conformance suite picks its cases from this, and checks for `Unsupported` where one is skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The backend's name: `memory`, `sqlite`, `nats`, `kafka`.
    pub backend: &'static str,
    /// Whether acks carry offsets.
    pub ack_positions: AckPositions,
    /// How exactly a skipped position is seen.
    pub gaps: Gaps,
    /// Longest window in which a second publish of one id can be told from a first, if any.
    pub deduplicate_max: Option<Duration>,
    /// What guards a stored record against damage.
    pub integrity: Integrity,
    /// Most records of one atomic batch; 0 if there are none.
    pub atomic_batch_max: usize,
    /// Whether groups can subscribe.
    pub groups: bool,
    /// Whether records survive the end of the process that published them.
    pub persistent: bool,
    /// Largest record: key, headers and body together, in bytes.
    pub record_bytes_max: usize,
}

impl Capabilities {
    /// The error of a call about groups where there are none.
    pub fn groups_unsupported(&self) -> Error {
        Error::new(ErrorKind::Unsupported, "Groups")
            .cause(format!("{} has no groups in this version", self.backend))
            .next("read the topic without a group")
    }
}

/// Whether acks carry offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckPositions {
    /// Each does.
    Always,
    /// Some do, as the backend answers.
    Sometimes,
    /// None does.
    Never,
}

/// How exactly a skipped position is seen.
///
/// # Source
/// Promise C14.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// Each one, with its offsets.
    Exact,
    /// That a stream has one.
    Stream,
    /// Not at all.
    None,
}

/// What guards a stored record against damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// A checksum in each record.
    Record,
    /// A checksum of each batch.
    Batch,
    /// Nothing.
    None,
}
