//! Where the fold over a parking log may begin, and so up to where the log may be deleted. Pure.

use std::collections::VecDeque;

use crate::topic::Offset;

/// `owner` entries from which a fold may begin, oldest first.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    places: VecDeque<Cut>,
    entries_since: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    at: Offset,
    /// No `replayer` before it is needed to judge what follows: there was none, or it has resigned, or another one stands
    /// behind.
    is_complete: bool,
}

/// Places that are remembered.
const PLACES_MAX: usize = 16;

impl Cuts {
    /// Counts an entry, of whatever kind, before anything else is said of it.
    pub(super) fn count_entry(&mut self) {
        self.entries_since += 1;
    }

    /// An `owner` entry stands here.
    pub(super) fn add(&mut self, at: Offset, is_complete: bool) {
        if self.places.len() == PLACES_MAX {
            // The oldest one stays, since what is needed may begin far back.
            self.places.remove(1);
        }
        self.places.push_back(Cut { at, is_complete });
        self.entries_since = 0;
    }

    /// The replayer before is not needed any more.
    pub(super) fn complete(&mut self) {
        self.places.iter_mut().for_each(|cut| cut.is_complete = true);
    }

    /// An entry came that only who knows the replayer before can judge.
    pub(super) fn drop_incomplete(&mut self) {
        self.places.retain(|cut| cut.is_complete);
    }

    /// The newest place below the first entry that is needed, if there is one.
    pub(super) fn newest_below(&self, needed: Option<Offset>) -> Option<Offset> {
        let complete = self.places.iter().rev().filter(|cut| cut.is_complete);
        complete.map(|cut| cut.at).find(|at| needed.is_none_or(|needed| *at < needed))
    }

    /// Entries behind the newest place.
    pub(super) fn entries_since(&self) -> u64 {
        self.entries_since
    }
}
