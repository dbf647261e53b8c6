//! What an ack says, and which crash it survives.

use std::fmt;

use crate::topic::{Offset, Partition};

/// The outcome of a stored envelope.
///
/// # Source
/// Promise P4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The partition it was stored in.
    pub partition: Partition,
    /// Its place there, or `None` where the backend acks without a position.
    pub offset: Option<Offset>,
    /// Whether the backend knew it already, and stored nothing.
    pub duplicate: bool,
    /// What was certain at the ack.
    pub durability: Durability,
}

/// What a crash cannot take: a medium, and the number of copies that had the record on it for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Durability {
    /// The weakest medium of those copies.
    pub medium: Medium,
    /// How many copies had it, from 1.
    pub copies: u8,
}

impl Durability {
    /// One copy on this medium.
    pub fn one(medium: Medium) -> Self {
        Self { medium, copies: 1 }
    }

    /// Whether this is at least what is required, in medium and in copies.
    pub fn satisfies(self, required: Durability) -> bool {
        self.medium >= required.medium && self.copies >= required.copies
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", self.medium, self.copies)
    }
}

/// Where a copy was at the ack, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Medium {
    /// In a process: its end takes it.
    Memory,
    /// In the page cache of a system: the end of a process cannot take it, the system's can.
    Written,
    /// Synced to a disk: only the loss of the disk takes it.
    Synced,
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Synced => "synced",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_holds_only_in_medium_and_copies() {
        let offered = Durability { medium: Medium::Written, copies: 2 };
        assert!(offered.satisfies(Durability { medium: Medium::Written, copies: 2 }));
        assert!(offered.satisfies(Durability::one(Medium::Memory)));
        assert!(!offered.satisfies(Durability::one(Medium::Synced)));
        assert!(!offered.satisfies(Durability { medium: Medium::Memory, copies: 3 }));
    }
}
