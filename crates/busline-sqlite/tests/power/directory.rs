//! Names of files: which file a name leads to, and which of that power loss leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::content::Loss;
use super::dice::Dice;

/// A file whatever its name: an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) u64);

#[derive(Clone, Debug)]
enum Entry {
    Created(String, FileId),
    Deleted(String),
}

impl Entry {
    fn name(&self) -> &str {
        match self {
            Self::Created(name, _) | Self::Deleted(name) => name,
        }
    }

    fn apply(self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Created(name, file) => names.insert(name, file),
            Self::Deleted(name) => names.remove(&name),
        };
    }
}

/// All names of the disk, by full path. A sync reaches the names of one folder.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    visible: BTreeMap<String, FileId>,
    durable: BTreeMap<String, FileId>,
    unsynced: Vec<Entry>,
}

impl Directory {
    /// The file behind a name.
    pub(crate) fn find(&self, name: &str) -> Option<FileId> {
        self.visible.get(name).copied()
    }

    /// The files that have a name.
    pub(crate) fn files(&self) -> impl Iterator<Item = FileId> {
        self.visible.values().copied()
    }

    /// Names a file; an earlier file of that name loses it.
    pub(crate) fn create(&mut self, name: &str, file: FileId) {
        self.change(Entry::Created(name.to_owned(), file));
    }

    /// Takes a name away. The file itself lives on in its open handles, and in the durable names until a sync.
    pub(crate) fn delete(&mut self, name: &str) {
        self.change(Entry::Deleted(name.to_owned()));
    }

    /// Makes every change in the folder of `name` durable.
    pub(crate) fn sync_folder_of(&mut self, name: &str) {
        for entry in mem::take(&mut self.unsynced) {
            if folder(entry.name()) == folder(name) {
                entry.apply(&mut self.durable);
            } else {
                self.unsynced.push(entry);
            }
        }
    }

    /// Leaves the durable names and the survivors among the un-synced changes.
    pub(crate) fn lose_power(&mut self, loss: Loss, dice: &mut Dice) {
        for entry in survivors(mem::take(&mut self.unsynced), loss, dice) {
            entry.apply(&mut self.durable);
        }
        self.visible = self.durable.clone();
    }

    fn change(&mut self, entry: Entry) {
        entry.clone().apply(&mut self.visible);
        self.unsynced.push(entry);
    }
}

fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn survivors(mut entries: Vec<Entry>, loss: Loss, dice: &mut Dice) -> Vec<Entry> {
    match loss.settle(dice) {
        Loss::Unsynced | Loss::Any => entries.clear(),
        Loss::Prefix => entries.truncate(dice.below(entries.len() + 1)),
        Loss::Subset | Loss::Torn => entries = some_of_each_name(entries, dice),
    }
    entries
}

/// Keeps the oldest few changes of each name.
///
/// Names are independent of each other, but a folder's block holds one state of a name, never an older one after a
/// newer one, so nothing is reordered within a name.
fn some_of_each_name(entries: Vec<Entry>, dice: &mut Dice) -> Vec<Entry> {
    let mut lost = BTreeSet::new();
    let mut kept = Vec::new();
    for entry in entries {
        if lost.contains(entry.name()) || dice.below(2) == 0 {
            lost.insert(entry.name().to_owned());
        } else {
            kept.push(entry);
        }
    }
    kept
}
