//! The records of one stream on their way, in order: numbered when they are sent, and forgotten when they are stored.
//!
//! Flow acks say how far a batch is stored, never where in the stream. So the log keeps an anchor: record `s` was not sent
//! before the stream's last sequence was seen to be L, hence every record from `s` on lies above L. After a break the
//! stream is read back from there, and the hashes of the records since tell ours from those of other writers.

use std::collections::{HashMap, VecDeque};

use super::rec::Rec;
use super::tail::Tail;

/// Records of one stream.
#[derive(Debug)]
pub(crate) struct Log {
    /// Numbered ones that are not known to be stored; the first has the number `base`.
    sent: VecDeque<Rec>,
    /// From 1. A number is never used for two records: message ids are made of it.
    base: u64,
    /// Those that no byte was sent of, or that certainly were not stored.
    queue: VecDeque<Rec>,
    anchor: Anchor,
    /// The next anchor: it holds once all records before it are known to be stored.
    candidate: Option<Anchor>,
    /// The hash of each record from the anchor's on; `None` of those that went back to the queue.
    hashes: VecDeque<Option<u64>>,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    number: u64,
    last: u64,
}

/// Records behind an anchor from which on another one is asked for.
const ANCHOR_RECORDS: usize = 8_192;

impl Log {
    /// An empty log of a stream whose last sequence is this.
    pub(crate) fn new(last: u64) -> Self {
        Self {
            sent: VecDeque::new(),
            base: 1,
            queue: VecDeque::new(),
            anchor: Anchor { number: 1, last },
            candidate: None,
            hashes: VecDeque::new(),
        }
    }

    /// The number of the first record on its way, or of the next one if there is none.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The number of the next record to be sent.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.sent.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.queue.is_empty()
    }

    /// Whether records are on their way.
    pub(crate) fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Records that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn push(&mut self, rec: Rec) {
        self.queue.push_back(rec);
    }

    /// The next record to be sent.
    pub(crate) fn next(&self) -> Option<&Rec> {
        self.queue.front()
    }

    /// The next record went, with this hash; gives its number.
    pub(crate) fn went(&mut self, hash: u64) -> u64 {
        let number = self.end();
        if let Some(rec) = self.queue.pop_front() {
            self.sent.push_back(rec);
            self.hashes.push_back(Some(hash));
        }
        number
    }

    /// Takes the next record to be sent off, which is not to be sent.
    pub(crate) fn skip_next(&mut self) -> Option<Rec> {
        self.queue.pop_front()
    }

    /// The stream's last sequence right before the next record, unless others have written since.
    pub(crate) fn exact_floor(&self) -> Option<u64> {
        (self.anchor.number == self.end()).then_some(self.anchor.last)
    }

    pub(crate) fn sent(&self, number: u64) -> Option<&Rec> {
        self.sent.get(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    /// All records, those on their way first.
    pub(crate) fn all_mut(&mut self) -> (impl Iterator<Item = &mut Rec>, &mut VecDeque<Rec>) {
        (self.sent.iter_mut(), &mut self.queue)
    }

    /// Takes off the records below this number: they are stored.
    pub(crate) fn stored_below(&mut self, number: u64) -> Vec<Rec> {
        let count = number.clamp(self.base, self.end()) - self.base;
        self.base += count;
        let stored = self.sent.drain(..count as usize).collect();
        self.take_anchor();
        stored
    }

    /// Takes the first record on its way off: it is certain that it is not stored.
    pub(crate) fn give_up_first(&mut self) -> Option<Rec> {
        let first = self.sent.pop_front()?;
        if let Some(hash) = self.hashes.get_mut((self.base - self.anchor.number) as usize) {
            *hash = None;
        }
        self.base += 1;
        Some(first)
    }

    /// Takes the records on their way that this picks off: what becomes of them is not waited for.
    pub(crate) fn take_sent(&mut self, mut picks: impl FnMut(&Rec) -> bool) -> Vec<Rec> {
        // Numbers stand for places, so what stays goes back to the queue, in order, to be sent under new ones.
        let (taken, kept): (Vec<Rec>, Vec<Rec>) = self.sent.drain(..).partition(|rec| picks(rec));
        self.forget_sent(taken.len() + kept.len());
        kept.into_iter().rev().for_each(|rec| self.queue.push_front(rec));
        taken
    }

    /// Everything on its way is certainly not stored: it waits to be sent again, under new numbers. Those that were
    /// reported meanwhile are dropped.
    pub(crate) fn unsend(&mut self) {
        let back: Vec<Rec> = self.sent.drain(..).collect();
        self.forget_sent(back.len());
        back.into_iter().rev().filter(|rec| rec.copy.is_none()).for_each(|rec| self.queue.push_front(rec));
    }

    fn forget_sent(&mut self, count: usize) {
        let known = (self.base - self.anchor.number) as usize;
        self.hashes.iter_mut().skip(known).for_each(|hash| *hash = None);
        self.base += count as u64;
    }

    /// The stream's last sequence was this before any record that has no number yet was sent.
    pub(crate) fn anchor(&mut self, last: u64) {
        if last >= self.anchor.last {
            self.candidate = Some(Anchor { number: self.end(), last });
            self.take_anchor();
        }
    }

    /// The stream ends here, and what is on its way lies behind it, if it is stored at all. A server that lost its power may
    /// have lost the end of the stream, and gives its numbers again: what was seen of it before says nothing any more.
    pub(crate) fn ends_at(&mut self, last: u64) {
        if last >= self.anchor.last {
            return self.anchor(last);
        }
        let known = (self.base - self.anchor.number) as usize;
        self.hashes.drain(..known.min(self.hashes.len()));
        self.anchor = Anchor { number: self.base, last };
        self.candidate = None;
    }

    fn take_anchor(&mut self) {
        if let Some(candidate) = self.candidate.take_if(|candidate| candidate.number <= self.base) {
            let passed = (candidate.number - self.anchor.number) as usize;
            self.hashes.drain(..passed.min(self.hashes.len()));
            self.anchor = candidate;
        }
    }

    /// Whether the anchor is so far back that another one is due.
    pub(crate) fn wants_anchor(&self) -> bool {
        self.hashes.len() >= ANCHOR_RECORDS && self.candidate.is_none()
    }

    /// The sequence behind which everything lies that may be ours and is not known to be stored.
    pub(crate) fn floor(&self) -> u64 {
        self.anchor.last
    }

    /// Finds our records in what was read from the stream behind [`Log::floor`]: the number up to which they are stored
    /// (not including it), and the sequence of each found one that is not known yet, by number.
    ///
    /// Ours are stored in order and without holes, but others write in between, and retention may have deleted some.
    pub(crate) fn find(&self, tail: &Tail, hash: impl Fn(&crate::admin::StoredMessage) -> u64) -> Found {
        let mut places: HashMap<u64, VecDeque<u64>> = HashMap::new();
        for (hash, number) in self.hashes.iter().zip(self.anchor.number..) {
            if let Some(hash) = hash {
                places.entry(*hash).or_default().push_back(number);
            }
        }
        let mut found = Found { end: self.anchor.number, last: self.anchor.last, sequences: HashMap::new() };
        for message in &tail.messages {
            let Some(numbers) = places.get_mut(&hash(message)) else { continue };
            while numbers.front().is_some_and(|number| *number < found.end) {
                numbers.pop_front();
            }
            if let Some(number) = numbers.pop_front() {
                (found.end, found.last) = (number + 1, message.seq);
                found.sequences.insert(number, message.seq);
            }
        }
        found.end = found.end.max(self.base);
        found
    }
}

/// What a look at the stream's end found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Everything below this number is stored.
    pub(crate) end: u64,
    /// What is stored of the others lies behind this sequence.
    pub(crate) last: u64,
    pub(crate) sequences: HashMap<u64, u64>,
}

#[cfg(test)]
mod tests {
    use busline_core::Partition;

    use super::*;
    use crate::admin::StoredMessage;

    fn rec(index: u32) -> Rec {
        Rec { batch: 0, index, partition: Partition(0), key: u64::from(index), copy: None }
    }

    /// Records 1 to `records`, each with ten times its number as its hash.
    fn log(records: u64) -> Log {
        let mut log = Log::new(100);
        for number in 1..=records {
            log.push(rec(number as u32));
            assert_eq!(log.went(number * 10), number);
        }
        log
    }

    fn tail(hashes: &[u64]) -> Tail {
        let message = |(hash, seq): (&u64, u64)| StoredMessage {
            subject: hash.to_string(),
            seq,
            data: bytes::Bytes::new(),
            hdrs: bytes::Bytes::new(),
            time: jiff::Timestamp::UNIX_EPOCH,
        };
        let messages: Vec<_> = hashes.iter().zip(101..).map(message).collect();
        Tail { after: 100, last: 100 + messages.len() as u64, messages }
    }

    fn find(log: &Log, hashes: &[u64]) -> u64 {
        log.find(&tail(hashes), |message| message.subject.parse().expect("a number")).end
    }

    #[test]
    fn the_stored_beginning_is_found_among_what_others_wrote() {
        let mut log = log(5);
        assert_eq!(find(&log, &[]), 1);
        assert_eq!(find(&log, &[10, 20]), 3);
        assert_eq!(find(&log, &[7, 10, 7, 20, 30, 7]), 4);
        assert_eq!(log.stored_below(3).len(), 2);
        assert_eq!(find(&log, &[]), 3, "what is known to be stored stays so");
        assert_eq!(find(&log, &[10, 20, 30]), 4);
        assert_eq!(find(&log, &[20, 30, 40]), 5, "the first was deleted by retention");
    }

    #[test]
    fn the_same_bytes_twice_are_two_records() {
        let mut log = Log::new(0);
        for index in 0..3 {
            log.push(rec(index));
            log.went(7);
        }
        assert_eq!(find(&log, &[7]), 2);
        assert_eq!(find(&log, &[7, 7]), 3);
        assert_eq!(log.stored_below(2).len(), 1);
        assert_eq!(find(&log, &[7, 7]), 3, "the copy that is known already is not taken for the next one");
    }

    #[test]
    fn an_anchor_waits_for_the_records_before_it() {
        let mut log = log(3);
        log.anchor(500);
        assert_eq!(log.floor(), 100);
        assert_eq!(find(&log, &[10, 20]), 3, "the old anchor still tells");
        log.stored_below(3);
        assert_eq!(log.floor(), 100);
        log.stored_below(4);
        assert_eq!((log.floor(), log.hashes.len()), (500, 0));
        log.push(rec(4));
        assert_eq!(log.went(40), 4);
        assert_eq!(find(&log, &[40]), 5);
    }

    #[test]
    fn numbers_that_a_stream_lost_and_gives_again_are_looked_at() {
        let mut log = log(3);
        log.stored_below(3);
        log.ends_at(500);
        log.stored_below(4);
        log.push(rec(4));
        log.went(40);
        assert_eq!(log.floor(), 500);
        log.ends_at(90);
        assert_eq!(log.floor(), 90, "it has lost what it had from there on");
        assert_eq!(find(&log, &[10, 40]), 5, "what is on its way is found there");
        log.stored_below(5);
        log.ends_at(91);
        assert_eq!((log.floor(), log.hashes.len()), (91, 0));
    }

    #[test]
    fn what_goes_back_to_the_queue_gets_a_number_of_its_own() {
        let mut log = log(3);
        log.stored_below(2);
        log.unsend();
        assert_eq!((log.waiting(), log.base(), log.end()), (2, 4, 4));
        assert_eq!((log.went(20), log.went(30)), (4, 5));
        assert_eq!(find(&log, &[10, 20]), 5, "the record is found under its new number");
    }
}
