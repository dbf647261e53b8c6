//! The bytes of one file: what reads see, what power loss leaves, and the changes between the two.

use std::mem;

use super::dice::Dice;

/// What a disk writes as one piece: a torn write ends on a multiple of it.
const SECTOR_BYTES: usize = 512;

/// Which un-synced changes survive the loss of power; the choice is made for each file by itself, from the disk's seed.
///
/// A disk without barriers promises nothing about what was not synced, so every variant is a legal outcome and a
/// program that relies on syncs alone survives all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// No un-synced change survives.
    Unsynced,
    /// The oldest few survive.
    Prefix,
    /// A random few survive, applied in a random order.
    Subset,
    /// Of each write, random sectors survive.
    Torn,
    /// One of the four above, thrown for each file.
    Any,
}

impl Loss {
    /// The four definite kinds.
    pub(crate) const KINDS: [Self; 4] = [Self::Unsynced, Self::Prefix, Self::Subset, Self::Torn];

    /// Replaces `Any` by a thrown kind.
    pub(crate) fn settle(self, dice: &mut Dice) -> Self {
        match self {
            Self::Any => Self::KINDS[dice.below(Self::KINDS.len())],
            definite => definite,
        }
    }
}

/// One change of a file's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Bytes laid down from an offset on; a gap before them reads as zeros.
    Write { at: usize, bytes: Vec<u8> },
    /// A new length in bytes.
    Truncate { len: usize },
}

impl Change {
    /// The length of a file of `len` bytes after this change.
    pub(crate) fn len_after(&self, len: usize) -> usize {
        match self {
            Self::Write { at, bytes } => len.max(at + bytes.len()),
            Self::Truncate { len } => *len,
        }
    }

    fn apply(&self, file: &mut Vec<u8>) {
        file.resize(self.len_after(file.len()), 0);
        if let Self::Write { at, bytes } = self {
            file[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// The pieces a disk may keep or lose by themselves.
    fn into_sectors(self) -> Vec<Self> {
        let Self::Write { mut at, mut bytes } = self else {
            return vec![self];
        };
        let mut sectors = Vec::new();
        while !bytes.is_empty() {
            let room = SECTOR_BYTES - at % SECTOR_BYTES;
            let rest = bytes.split_off(room.min(bytes.len()));
            let next = at + bytes.len();
            sectors.push(Self::Write { at, bytes });
            (at, bytes) = (next, rest);
        }
        sectors
    }
}

/// The bytes of one file.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// What reads see: the page cache.
    visible: Vec<u8>,
    /// What is on the medium.
    durable: Vec<u8>,
    /// What the next sync makes durable, oldest first. A change that a failed sync dropped is in `visible` alone.
    unsynced: Vec<Change>,
}

impl Content {
    /// Length in bytes, as reads see it.
    pub(crate) fn len(&self) -> usize {
        self.visible.len()
    }

    /// Fills the buffer from `at` on and gives how many bytes the file had for it.
    pub(crate) fn read(&self, at: usize, into: &mut [u8]) -> usize {
        let from = at.min(self.len());
        let to = (at + into.len()).min(self.len());
        into[..to - from].copy_from_slice(&self.visible[from..to]);
        to - from
    }

    /// Makes a change that reads see at once and power loss may take back.
    pub(crate) fn change(&mut self, change: Change) {
        change.apply(&mut self.visible);
        self.unsynced.push(change);
    }

    /// Makes the un-synced changes durable.
    pub(crate) fn sync(&mut self) {
        for change in mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }

    /// Marks the un-synced changes clean without writing them.
    ///
    /// They stay visible and no later sync writes them, as on Linux after a failed write-back. The kernel works by
    /// pages and so rewrites the neighbours of a later change; this works by change, which is the harsher reading.
    pub(crate) fn fail_sync(&mut self) {
        self.unsynced.clear();
    }

    /// Leaves the durable bytes and the survivors among the un-synced changes.
    pub(crate) fn lose_power(&mut self, loss: Loss, dice: &mut Dice) {
        for change in survivors(mem::take(&mut self.unsynced), loss, dice) {
            change.apply(&mut self.durable);
        }
        self.visible = self.durable.clone();
    }
}

fn survivors(mut changes: Vec<Change>, loss: Loss, dice: &mut Dice) -> Vec<Change> {
    match loss.settle(dice) {
        Loss::Unsynced | Loss::Any => changes.clear(),
        Loss::Prefix => changes.truncate(dice.below(changes.len() + 1)),
        Loss::Subset => {
            dice.shuffle(&mut changes);
            changes.truncate(dice.below(changes.len() + 1));
        }
        Loss::Torn => changes = torn(changes, dice),
    }
    changes
}

/// Keeps random sectors, in the order of their writes.
///
/// The odds are thrown once per file: with one fixed chance per sector, long transactions would never come out nearly
/// whole, and the nearly whole ones are the treacherous ones.
fn torn(changes: Vec<Change>, dice: &mut Dice) -> Vec<Change> {
    let lost_one_in = 2 << dice.below(8);
    let sectors = changes.into_iter().flat_map(Change::into_sectors);
    sectors.filter(|_| dice.below(lost_one_in) != 0).collect()
}
