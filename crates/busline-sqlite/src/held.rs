//! What a member holds, what was read of it, and what it has to say of both. Pure: its thread and the subscription share it.

use std::collections::BTreeMap;

use busline_core::{Assignment, Error, Offset, Partition, Record, Result, SourceEvent, SourceQueue, Term, not_owner};
use tokio::time::Instant;

use crate::groups::Share;

/// Pieces of records that are read ahead of the subscription.
const PIECES_AHEAD: usize = 16;

/// The partitions of a member, with the events that its subscription has not heard of.
#[derive(Debug, Default)]
pub(crate) struct Held {
    events: SourceQueue,
    reading: BTreeMap<Partition, Reading>,
    /// When this member's share ends unless it beats again; `None` before the first beat.
    ends: Option<Instant>,
    /// The thread has read ahead as far as it may, and is to be woken once much of it was taken.
    has_enough: bool,
    /// Why nothing more comes.
    ended: Option<Error>,
}

#[derive(Debug)]
struct Reading {
    generation: u64,
    next: Offset,
    paused: bool,
    revoking: bool,
}

impl Held {
    /// What is held, and under which generations.
    pub(crate) fn shares(&self) -> Vec<(Partition, u64)> {
        self.reading.iter().map(|(partition, reading)| (*partition, reading.generation)).collect()
    }

    /// Turns a look into events. What is held ends at this instant, unless the member beats again.
    pub(crate) fn take(&mut self, share: Share, ends: Instant) {
        let lost: Vec<Partition> = self
            .reading
            .iter()
            .filter(|(partition, reading)| !share.held.contains(&(**partition, reading.generation)))
            .map(|(partition, _)| *partition)
            .collect();
        if !lost.is_empty() {
            lost.iter().for_each(|partition| self.drop_partition(*partition));
            self.events.push(SourceEvent::Lost(lost));
        }
        self.ends = Some(ends);
        let mut give = share.to_give;
        give.retain(|partition| {
            let reading = self.reading.get_mut(partition);
            reading.is_some_and(|reading| !std::mem::replace(&mut reading.revoking, true))
        });
        if !give.is_empty() {
            self.events.push(SourceEvent::Revoking(give));
        }
        if !share.taken.is_empty() {
            for Assignment { partition, generation, committed } in &share.taken {
                let reading = Reading { generation: *generation, next: *committed, paused: false, revoking: false };
                self.reading.insert(*partition, reading);
            }
            self.events.push(SourceEvent::Assigned(share.taken));
        }
    }

    /// Until when what is held may be worked on.
    pub(crate) fn term(&self) -> Term {
        // A beat is good for what is taken from then on, not for what was held before a loss that was not taken in.
        match self.ends {
            None => Term::None,
            Some(_) if self.events.has_untold_loss() => Term::Over,
            Some(ends) => Term::At(ends),
        }
    }

    /// Partitions to read, beginning behind the last one read; none while enough is read ahead.
    pub(crate) fn next_reads(&mut self, last: Partition) -> Vec<(Partition, u64, Offset)> {
        self.has_enough = self.events.ahead().pieces >= PIECES_AHEAD;
        if self.has_enough {
            return Vec::new();
        }
        let open = |(_, reading): &(&Partition, &Reading)| !reading.paused && !reading.revoking;
        let mut to_read: Vec<_> = self
            .reading
            .iter()
            .filter(open)
            .map(|(partition, reading)| (*partition, reading.generation, reading.next))
            .collect();
        let after = to_read.partition_point(|(partition, ..)| *partition <= last);
        to_read.rotate_left(after);
        to_read
    }

    /// Goes on at `start`, and tells the gap, if nothing is left before; gives whether it has.
    pub(crate) fn skip(&mut self, partition: Partition, generation: u64, from: Offset, start: Offset) -> bool {
        let Some(reading) = self.reading_from(partition, generation, from).filter(|_| start > from) else {
            return false;
        };
        reading.next = start;
        self.events.push(SourceEvent::Gap { partition, from, to: start });
        true
    }

    /// Queues a piece, unless the partition was lost, moved or paused while it was read; gives whether it has.
    pub(crate) fn add(&mut self, partition: Partition, generation: u64, from: Offset, records: Vec<Record>) -> bool {
        let (Some(first), Some(newest)) = (records.first(), records.last()) else { return false };
        let first = first.offset;
        let Some(reading) = self.reading_from(partition, generation, from) else { return false };
        reading.next = newest.offset.next();
        if first > from {
            // Offsets are dense and a missing record is damage, so these were trimmed before the group had read them.
            self.events.push(SourceEvent::Gap { partition, from, to: first });
        }
        self.events.push(SourceEvent::Records { generation, records });
        true
    }

    /// A partition that is still read from here under this generation, and has not paused since.
    fn reading_from(&mut self, partition: Partition, generation: u64, from: Offset) -> Option<&mut Reading> {
        let is_it =
            |reading: &&mut Reading| reading.generation == generation && reading.next == from && !reading.paused;
        self.reading.get_mut(&partition).filter(is_it)
    }

    /// The next event. Whoever asks has taken in the one before.
    pub(crate) fn next_event(&mut self, records_max: usize, bytes_max: usize) -> Option<SourceEvent> {
        self.events.take(records_max, bytes_max)
    }

    /// Whether the thread, which had enough, is to read on; says so once.
    pub(crate) fn wants_more(&mut self) -> bool {
        let wants_more = self.has_enough && self.events.ahead().pieces <= PIECES_AHEAD / 2;
        self.has_enough &= !wants_more;
        wants_more
    }

    pub(crate) fn set_paused(&mut self, partitions: &[(Partition, u64)], paused: bool) {
        for (partition, generation) in partitions {
            if let Some(reading) = self.reading.get_mut(partition).filter(|held| held.generation == *generation) {
                reading.paused = paused;
                if paused && let Some(begin) = self.events.drop_ahead(*partition) {
                    // It is read again from there.
                    reading.next = begin;
                }
            }
        }
    }

    /// Reads on at this offset.
    ///
    /// # Errors
    /// `Fenced/NotOwner`.
    pub(crate) fn seek(&mut self, partition: Partition, generation: u64, offset: Offset) -> Result<()> {
        match self.reading.get_mut(&partition) {
            Some(reading) if reading.generation == generation && !reading.revoking => {
                reading.next = offset;
                self.events.drop_ahead(partition);
                Ok(())
            }
            _ => Err(not_owner(partition)),
        }
    }

    /// Forgets partitions that are given up.
    pub(crate) fn forget(&mut self, partitions: &[(Partition, u64)]) {
        for (partition, generation) in partitions {
            // The member may hold it again already, under another generation.
            if self.reading.get(partition).is_some_and(|reading| reading.generation == *generation) {
                self.drop_partition(*partition);
            }
        }
    }

    /// Gives nothing more once what is there was taken.
    pub(crate) fn end(&mut self, error: Error) {
        self.ended = Some(error);
    }

    /// # Errors
    /// Why nothing more comes.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    fn drop_partition(&mut self, partition: Partition) {
        self.reading.remove(&partition);
        self.events.drop_ahead(partition);
    }
}

#[cfg(test)]
mod tests {
    use busline_core::Headers;
    use jiff::Timestamp;

    use super::*;

    const FIRST: Partition = Partition(0);

    /// A pause comes from another thread than the pieces, so it may come while one is being read.
    #[test]
    fn a_piece_that_was_being_read_as_its_partition_paused_is_read_again_later() {
        let mut held = Held::default();
        let assignment = Assignment { partition: FIRST, generation: 1, committed: Offset(7) };
        held.take(Share { taken: vec![assignment], ..Share::default() }, Instant::now());
        assert!(matches!(held.next_event(9, 99), Some(SourceEvent::Assigned(_))));
        let reads = [(FIRST, 1, Offset(7))];
        assert_eq!(held.next_reads(FIRST), reads);
        held.set_paused(&[(FIRST, 1)], true);
        let record = Record {
            partition: FIRST,
            offset: Offset(7),
            time: Timestamp::UNIX_EPOCH,
            key: Vec::new().into(),
            headers: Headers::default(),
            body: Vec::new().into(),
        };
        assert!(!held.add(FIRST, 1, Offset(7), vec![record]), "nothing of a paused partition is given");
        assert!(!held.skip(FIRST, 1, Offset(7), Offset(9)));
        assert_eq!(held.next_event(9, 99), None);
        held.set_paused(&[(FIRST, 1)], false);
        assert_eq!(held.next_reads(FIRST), reads);
    }
}
