//! What a member has to say and its subscription has not asked for yet.

use std::collections::VecDeque;

use crate::driver::SourceEvent;
use crate::record::{Record, records_within};
use crate::topic::{Offset, Partition};

/// The events of a source between whoever finds them and [`Source::next`](crate::Source::next), in order.
///
/// # Source
/// Promise C2: whoever was told of a loss may still begin a handler until its work has ended, which it says by asking for
/// the next event.
#[derive(Debug, Default)]
pub struct SourceQueue {
    events: VecDeque<SourceEvent>,
    ahead: ReadAhead,
    /// Losses among the events.
    losses: usize,
    /// A loss was given and no further event asked for: the subscription may not have taken it in.
    tells_loss: bool,
}

/// How much was read ahead of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadAhead {
    /// Events with records.
    pub pieces: usize,
    /// Records in them.
    pub records: usize,
    /// Bytes of these, as [`Record::bytes`] counts them.
    pub bytes: usize,
}

impl SourceQueue {
    /// Adds what is to be said last.
    pub fn push(&mut self, event: SourceEvent) {
        self.count(&event);
        self.events.push_back(event);
    }

    /// The next event, with as many of its records as fit and the first in any case; without room for records the next
    /// change of the assignment. Whoever asks has taken in the one before.
    pub fn take(&mut self, records_max: usize, bytes_max: usize) -> Option<SourceEvent> {
        let event = self.pop(records_max, bytes_max);
        self.tells_loss = matches!(event, Some(SourceEvent::Lost(_)));
        event
    }

    /// Drops what was read of a partition and not given; where that began.
    pub fn drop_ahead(&mut self, partition: Partition) -> Option<Offset> {
        let begins = self.events.iter().find_map(|event| event.begins_in(partition))?;
        let events = std::mem::take(&mut self.events);
        (self.ahead, self.losses) = (ReadAhead::default(), 0);
        events.into_iter().filter(|event| event.begins_in(partition).is_none()).for_each(|event| self.push(event));
        Some(begins)
    }

    /// How much was read ahead.
    pub fn ahead(&self) -> ReadAhead {
        self.ahead
    }

    /// Whether a loss was found that the subscription has not taken in. What it holds is in doubt until then.
    pub fn has_untold_loss(&self) -> bool {
        self.tells_loss || self.losses > 0
    }

    fn pop(&mut self, records_max: usize, bytes_max: usize) -> Option<SourceEvent> {
        let place = self.events.iter().position(|event| records_max > 0 || !event.is_read())?;
        let mut event = self.events.remove(place)?;
        match &mut event {
            SourceEvent::Records { generation, records } => {
                let rest = records.split_off(records_within(&*records, records_max, bytes_max));
                self.ahead.pieces -= 1;
                self.ahead.records -= records.len();
                self.ahead.bytes -= records.iter().map(Record::bytes).sum::<usize>();
                if !rest.is_empty() {
                    self.ahead.pieces += 1;
                    self.events.push_front(SourceEvent::Records { generation: *generation, records: rest });
                }
            }
            SourceEvent::Lost(_) => self.losses -= 1,
            _ => {}
        }
        Some(event)
    }

    fn count(&mut self, event: &SourceEvent) {
        match event {
            SourceEvent::Records { records, .. } => {
                self.ahead.pieces += 1;
                self.ahead.records += records.len();
                self.ahead.bytes += records.iter().map(Record::bytes).sum::<usize>();
            }
            SourceEvent::Lost(_) => self.losses += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;

    const FIRST: Partition = Partition(0);
    const SECOND: Partition = Partition(1);

    /// Records of 10 bytes each.
    fn records(partition: Partition, offsets: &[u64]) -> SourceEvent {
        let record = |offset: &u64| Record {
            partition,
            offset: Offset(*offset),
            time: Timestamp::UNIX_EPOCH,
            key: Bytes::from_static(b"k"),
            headers: crate::Headers::default(),
            body: Bytes::from_static(b"123456789"),
        };
        SourceEvent::Records { generation: 7, records: offsets.iter().map(record).collect() }
    }

    fn queue(events: impl IntoIterator<Item = SourceEvent>) -> SourceQueue {
        let mut queue = SourceQueue::default();
        events.into_iter().for_each(|event| queue.push(event));
        queue
    }

    #[test]
    fn records_are_given_within_the_bounds_and_at_least_one() {
        let mut queue = queue([records(FIRST, &[1, 2, 3, 4, 5]), records(SECOND, &[1])]);
        assert_eq!(queue.take(2, 1_000), Some(records(FIRST, &[1, 2])));
        assert_eq!(queue.ahead(), ReadAhead { pieces: 2, records: 4, bytes: 40 });
        assert_eq!(queue.take(9, 1), Some(records(FIRST, &[3])));
        assert_eq!(queue.take(9, 15), Some(records(FIRST, &[4, 5])));
        assert_eq!(queue.take(9, 15), Some(records(SECOND, &[1])), "of one partition only");
        assert_eq!((queue.ahead(), queue.take(9, 9)), (ReadAhead::default(), None));
    }

    #[test]
    fn without_room_for_records_only_changes_are_given() {
        let gap = SourceEvent::Gap { partition: FIRST, from: Offset(3), to: Offset(9) };
        let revoking = SourceEvent::Revoking(vec![SECOND]);
        let mut queue = queue([records(FIRST, &[1, 2]), gap.clone(), revoking.clone()]);
        assert_eq!(queue.take(0, 0), Some(revoking));
        assert_eq!(queue.take(0, 0), None);
        assert_eq!(queue.take(9, 99), Some(records(FIRST, &[1, 2])));
        assert_eq!(queue.take(9, 99), Some(gap), "behind the records before it");
    }

    #[test]
    fn what_was_read_of_one_partition_is_dropped_with_its_gaps() {
        let gap = SourceEvent::Gap { partition: FIRST, from: Offset(3), to: Offset(9) };
        let lost = SourceEvent::Lost(vec![FIRST]);
        let mut queue = queue([gap, records(SECOND, &[1]), records(FIRST, &[9]), lost.clone()]);
        assert_eq!(queue.drop_ahead(FIRST), Some(Offset(3)));
        assert_eq!(queue.drop_ahead(FIRST), None);
        assert_eq!(queue.ahead(), ReadAhead { pieces: 1, records: 1, bytes: 10 });
        assert!(queue.has_untold_loss());
        assert_eq!(queue.take(9, 99), Some(records(SECOND, &[1])));
        assert_eq!(queue.take(9, 99), Some(lost));
    }

    #[test]
    fn a_loss_is_untold_until_the_next_event_is_asked_for() {
        let mut queue = queue([SourceEvent::Lost(vec![FIRST]), SourceEvent::Lost(vec![SECOND])]);
        for _ in 0..2 {
            assert!(queue.has_untold_loss());
            assert!(matches!(queue.take(0, 0), Some(SourceEvent::Lost(_))));
            assert!(queue.has_untold_loss(), "whoever is told has not let go of it yet");
        }
        assert_eq!(queue.take(0, 0), None);
        assert!(!queue.has_untold_loss());
    }
}
