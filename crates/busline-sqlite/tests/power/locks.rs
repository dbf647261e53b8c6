//! Locks between the connections of one process, on the database file and on its shared memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// An open file of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HandleId(pub(crate) u64);

/// Another connection holds a lock in the way; the caller tries again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// How far a connection has locked the database file, weakest first.
///
/// # Source
/// SQLite manual, "File Locking And Concurrency In SQLite Version 3", section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Not at all.
    Unlocked,
    /// Reads.
    Shared,
    /// Will write.
    Reserved,
    /// Waits for the readers to leave; no reader comes in.
    Pending,
    /// Writes.
    Exclusive,
}

/// The locks on one database file.
#[derive(Debug, Default)]
pub(crate) struct FileLocks {
    levels: BTreeMap<HandleId, Level>,
}

impl FileLocks {
    /// Raises a connection's lock. A refused `Exclusive` may leave `Pending` behind, as in SQLite's own unix code.
    pub(crate) fn lock(&mut self, handle: HandleId, wanted: Level) -> Result<(), Busy> {
        let own = self.level(handle);
        if own >= wanted {
            return Ok(());
        }
        let others = self.highest_of_others(handle);
        let others_max = match wanted {
            Level::Unlocked | Level::Shared => Level::Reserved,
            Level::Reserved | Level::Pending | Level::Exclusive => Level::Shared,
        };
        if others > others_max {
            return Err(Busy);
        }
        if wanted == Level::Exclusive && others >= Level::Shared {
            if own == Level::Reserved {
                self.levels.insert(handle, Level::Pending);
            }
            return Err(Busy);
        }
        self.levels.insert(handle, wanted);
        Ok(())
    }

    /// Lowers a connection's lock.
    pub(crate) fn unlock(&mut self, handle: HandleId, level: Level) {
        if level == Level::Unlocked {
            self.levels.remove(&handle);
        } else if level < self.level(handle) {
            self.levels.insert(handle, level);
        }
    }

    /// Whether any connection means to write.
    pub(crate) fn is_reserved(&self) -> bool {
        self.levels.values().any(|level| *level >= Level::Reserved)
    }

    fn level(&self, handle: HandleId) -> Level {
        self.levels.get(&handle).copied().unwrap_or(Level::Unlocked)
    }

    fn highest_of_others(&self, handle: HandleId) -> Level {
        let others = self.levels.iter().filter(|(id, _)| **id != handle);
        others.map(|(_, level)| *level).max().unwrap_or(Level::Unlocked)
    }
}

/// How a lock on shared memory is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// By any number of connections.
    Shared,
    /// By one.
    Exclusive,
}

/// The locks on the shared memory beside a write-ahead log.
#[derive(Debug, Default)]
pub(crate) struct ShmLocks {
    slots: [Slot; Self::SLOTS],
}

#[derive(Debug, Default)]
struct Slot {
    readers: BTreeSet<HandleId>,
    writer: Option<HandleId>,
}

impl ShmLocks {
    /// SQLite's `SQLITE_SHM_NLOCK`.
    pub(crate) const SLOTS: usize = 8;

    /// Takes all the slots or none.
    pub(crate) fn lock(&mut self, handle: HandleId, slots: Range<usize>, hold: Hold) -> Result<(), Busy> {
        let slots = &mut self.slots[slots];
        if slots.iter().any(|slot| !slot.is_free_for(handle, hold)) {
            return Err(Busy);
        }
        for slot in slots {
            match hold {
                Hold::Shared => drop(slot.readers.insert(handle)),
                Hold::Exclusive => slot.writer = Some(handle),
            }
        }
        Ok(())
    }

    /// Gives back whatever the connection holds of the slots.
    pub(crate) fn unlock(&mut self, handle: HandleId, slots: Range<usize>) {
        for slot in &mut self.slots[slots] {
            slot.readers.remove(&handle);
            slot.writer = slot.writer.filter(|writer| *writer != handle);
        }
    }
}

impl Slot {
    fn is_free_for(&self, handle: HandleId, hold: Hold) -> bool {
        let written = self.writer.is_some_and(|writer| writer != handle);
        let read = self.readers.iter().any(|reader| *reader != handle);
        !written && (hold == Hold::Shared || !read)
    }
}
