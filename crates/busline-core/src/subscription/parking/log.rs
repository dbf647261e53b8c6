//! The state of one parking partition: a fold over its entries in log order. Pure.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::cuts::Cuts;
use super::entry::{Entry, Mark, ParkedScope, Token};
use crate::record::Record;
use crate::topic::Offset;

/// What the entries of one partition come to.
///
/// A key costs its bytes and the counts of [`KeyState`], however many records queue behind it.
#[derive(Debug, Default)]
pub(crate) struct LogState {
    incarnation: Uuid,
    owner: Option<Token>,
    replayer: Option<Token>,
    keys: HashMap<Box<[u8]>, KeyState>,
    records: BTreeMap<Offset, RecordState>,
    open_keys: usize,
    open_records: usize,
    cuts: Cuts,
}

/// A key that is or was parked.
#[derive(Debug, Clone, Copy)]
struct KeyState {
    /// The newest source position among its entries.
    highest: Offset,
    /// Source positions below are closed.
    open_from: Offset,
    open: u32,
    /// Place of the entry that parked it, in the log.
    first: Offset,
    /// When it was parked, in ms.
    since_ms: i64,
}

/// A record that is or was parked alone.
#[derive(Debug, Clone, Copy)]
struct RecordState {
    is_open: bool,
    first: Offset,
    since_ms: i64,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Does not count: written by somebody who did not own the partition, a second copy, or not ours.
    Ignored,
    Owner(Token),
    Replayer(Token),
    /// A parked record, for the first time.
    Parked(ParkedScope, Offset),
    Failed(ParkedScope, Offset),
    Done(ParkedScope, Offset),
    Reset,
}

/// What is to happen to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Its handler runs.
    Live,
    /// It was parked before: its handler does not run, and progress passes.
    Finished,
    /// Its key is parked.
    Behind,
}

impl LogState {
    pub(crate) fn new(incarnation: Uuid) -> Self {
        Self { incarnation, ..Self::default() }
    }

    /// Takes the next entry.
    pub(crate) fn apply(&mut self, record: &Record) -> Applied {
        let Some(entry) = Entry::of(&record.headers).filter(|entry| entry.incarnation == self.incarnation) else {
            return Applied::Ignored;
        };
        self.cuts.count_entry();
        let (is_owner, is_replayer) = (self.owner == Some(entry.token), self.replayer == Some(entry.token));
        match entry.mark {
            Mark::Owner => {
                self.owner = Some(entry.token);
                self.cuts.add(record.offset, self.replayer.is_none());
                Applied::Owner(entry.token)
            }
            Mark::Replayer => {
                self.replayer = Some(entry.token);
                self.cuts.complete();
                Applied::Replayer(entry.token)
            }
            Mark::Resigned => {
                if is_replayer {
                    self.replayer = None;
                    self.cuts.complete();
                }
                Applied::Ignored
            }
            Mark::Parked(scope, offset) if is_owner => self.park(record, scope, offset),
            Mark::Failed(scope, offset) => {
                self.cuts.drop_incomplete();
                if is_replayer { Applied::Failed(scope, offset) } else { Applied::Ignored }
            }
            Mark::Done(scope, offset, _) => {
                self.cuts.drop_incomplete();
                if is_replayer { self.close(record, scope, offset) } else { Applied::Ignored }
            }
            Mark::Reset(offset) if is_owner => {
                self.forget_closed_from(offset);
                Applied::Reset
            }
            Mark::Parked(..) | Mark::Reset(_) => Applied::Ignored,
        }
    }

    fn park(&mut self, record: &Record, scope: ParkedScope, offset: Offset) -> Applied {
        let since_ms = record.time.as_millisecond();
        if scope == ParkedScope::Record {
            if self.records.contains_key(&offset) {
                return Applied::Ignored;
            }
            self.records.insert(offset, RecordState { is_open: true, first: record.offset, since_ms });
            self.open_records += 1;
            return Applied::Parked(scope, offset);
        }
        let first = KeyState { highest: offset, open_from: Offset(0), open: 1, first: record.offset, since_ms };
        let Some(key) = self.keys.get_mut(&*record.key) else {
            self.keys.insert((*record.key).into(), first);
            self.open_keys += 1;
            return Applied::Parked(scope, offset);
        };
        if offset <= key.highest {
            return Applied::Ignored;
        }
        if key.open == 0 {
            *key = KeyState { open_from: key.open_from, ..first };
            self.open_keys += 1;
        } else {
            key.highest = offset;
            key.open += 1;
        }
        Applied::Parked(scope, offset)
    }

    fn close(&mut self, record: &Record, scope: ParkedScope, offset: Offset) -> Applied {
        if !self.is_open(&record.key, scope, offset) {
            return Applied::Ignored;
        }
        if scope == ParkedScope::Record {
            if let Some(state) = self.records.get_mut(&offset) {
                state.is_open = false;
                self.open_records -= 1;
            }
        } else if let Some(key) = self.keys.get_mut(&*record.key) {
            key.open -= 1;
            key.open_from = offset.next();
            self.open_keys -= usize::from(key.open == 0);
        }
        Applied::Done(scope, offset)
    }

    /// Whether a parked record, met in the log, still waits for its replay.
    pub(crate) fn is_open(&self, key: &[u8], scope: ParkedScope, offset: Offset) -> bool {
        match scope {
            ParkedScope::Record => self.records.get(&offset).is_some_and(|state| state.is_open),
            ParkedScope::Key => self
                .keys
                .get(key)
                .is_some_and(|state| state.open > 0 && (state.open_from..=state.highest).contains(&offset)),
        }
    }

    /// Whether an entry for this position counts already.
    pub(crate) fn is_parked(&self, key: &[u8], scope: ParkedScope, offset: Offset) -> bool {
        match scope {
            ParkedScope::Record => self.records.contains_key(&offset),
            ParkedScope::Key => self.keys.get(key).is_some_and(|state| offset <= state.highest),
        }
    }

    /// What is to happen to a record of the topic.
    ///
    /// # Source
    /// decisions.md section 9, rules 4 and 5.
    pub(crate) fn way(&self, key: &[u8], offset: Offset) -> Way {
        if self.records.contains_key(&offset) {
            return Way::Finished;
        }
        match self.keys.get(key) {
            Some(state) if offset <= state.highest => Way::Finished,
            Some(state) if state.open > 0 => Way::Behind,
            _ => Way::Live,
        }
    }

    /// Whether this key has something open.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.keys.get(key).is_some_and(|state| state.open > 0)
    }

    /// Whether no record of the topic has anything but the live way.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.records.is_empty()
    }

    pub(crate) fn owner(&self) -> Option<Token> {
        self.owner
    }

    pub(crate) fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    pub(crate) fn replayer(&self) -> Option<Token> {
        self.replayer
    }

    /// Takes the next entry where only the owner is of interest; gives the place of a record that its owner parked, for
    /// each copy of it.
    pub(crate) fn follow_owner(&mut self, record: &Record) -> Option<(ParkedScope, Offset)> {
        let entry = Entry::of(&record.headers).filter(|entry| entry.incarnation == self.incarnation)?;
        match entry.mark {
            Mark::Owner => {
                self.owner = Some(entry.token);
                None
            }
            Mark::Parked(scope, offset) if self.owner == Some(entry.token) => Some((scope, offset)),
            _ => None,
        }
    }

    /// Forgets the queue that this open record belongs to; gives how many records wait in it.
    pub(crate) fn take_queue(&mut self, key: &[u8], scope: ParkedScope, offset: Offset) -> Option<u64> {
        if !self.is_open(key, scope, offset) {
            return None;
        }
        match scope {
            ParkedScope::Record => {
                self.records.remove(&offset)?;
                self.open_records -= 1;
                Some(1)
            }
            ParkedScope::Key => {
                let key = self.keys.remove(key)?;
                self.open_keys -= 1;
                Some(u64::from(key.open))
            }
        }
    }

    /// Records that wait, of keys and parked alone.
    pub(crate) fn open_in_all(&self) -> u64 {
        self.keys.values().map(|key| u64::from(key.open)).sum::<u64>() + self.open_records as u64
    }

    pub(crate) fn open_keys(&self) -> usize {
        self.open_keys
    }

    pub(crate) fn open_records(&self) -> usize {
        self.open_records
    }

    /// When the oldest of what is open was parked.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        let keys = self.keys.values().filter(|key| key.open > 0).map(|key| key.since_ms);
        let records = self.records.values().filter(|record| record.is_open).map(|record| record.since_ms);
        keys.chain(records).min().and_then(|ms| Timestamp::from_millisecond(ms).ok())
    }

    /// Lets closed positions at or above this one come again.
    pub(crate) fn forget_closed_from(&mut self, offset: Offset) {
        self.keys.retain(|_, key| key.open > 0 || key.highest < offset);
        self.records.retain(|at, record| record.is_open || *at < offset);
    }

    /// Forgets closed positions below the committed offset: they cannot come again.
    pub(crate) fn forget_closed_below(&mut self, committed: Offset) {
        self.keys.retain(|_, key| key.open > 0 || key.highest >= committed);
        self.records.retain(|at, record| record.is_open || *at >= committed);
    }

    /// Up to where the log may be deleted: an `owner` entry before which nothing is open or uncommitted, if there is one.
    pub(crate) fn trim_to(&self, committed: Offset) -> Option<Offset> {
        let keys = self.keys.values().filter(|key| key.open > 0 || key.highest >= committed).map(|key| key.first);
        let of_record =
            |(at, record): (&Offset, &RecordState)| (record.is_open || *at >= committed).then_some(record.first);
        self.cuts.newest_below(keys.chain(self.records.iter().filter_map(of_record)).min())
    }

    /// Entries since the last place from which a fold may begin.
    pub(crate) fn since_cut(&self) -> u64 {
        self.cuts.entries_since()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::entry::Writer;
    use super::*;
    use crate::headers::Headers;
    use crate::topic::Partition;

    const TOPIC: Uuid = Uuid::nil();

    /// A log as a test writes it.
    #[derive(Default)]
    struct Log(Vec<Record>);

    impl Log {
        fn push(&mut self, kind: &'static str, token: u64, key: &str, place: Option<(ParkedScope, u64)>) {
            let writer = Writer::new(Headers::default(), kind, TOPIC, Token(token));
            let writer = match place {
                Some((scope, offset)) => writer.place(scope, Offset(offset)),
                None => writer,
            };
            let block = writer.with("busline-outcome", "replayed").block();
            self.0.push(Record {
                partition: Partition(0),
                offset: Offset(self.0.len() as u64),
                time: Timestamp::UNIX_EPOCH,
                key: Bytes::copy_from_slice(key.as_bytes()),
                headers: Headers::decode(block.into()).expect("own form"),
                body: Bytes::new(),
            });
        }

        fn key(mut self, kind: &'static str, token: u64, key: &str, offset: u64) -> Self {
            self.push(kind, token, key, Some((ParkedScope::Key, offset)));
            self
        }

        fn by(mut self, kind: &'static str, token: u64) -> Self {
            self.push(kind, token, "", None);
            self
        }

        fn state(&self) -> LogState {
            fold(&self.0)
        }
    }

    fn fold(records: &[Record]) -> LogState {
        let mut state = LogState::new(TOPIC);
        for record in records {
            state.apply(record);
        }
        state
    }

    #[track_caller]
    fn ways(state: &LogState, key: &str, offsets: std::ops::Range<u64>, expected: &str) {
        let sign = |offset| match state.way(key.as_bytes(), Offset(offset)) {
            Way::Live => 'l',
            Way::Finished => 'f',
            Way::Behind => 'b',
        };
        assert_eq!(offsets.map(sign).collect::<String>(), expected);
    }

    #[test]
    fn a_key_is_parked_until_all_of_it_is_closed() {
        let log = Log::default().by("owner", 1).key("park", 1, "a", 3).key("behind", 1, "a", 5);
        ways(&log.state(), "a", 3..7, "fffb");
        ways(&log.state(), "b", 3..7, "llll");
        let log = log.by("replayer", 9).key("done", 9, "a", 3);
        ways(&log.state(), "a", 3..7, "fffb");
        let log = log.key("done", 9, "a", 5);
        ways(&log.state(), "a", 3..7, "fffl");
        assert_eq!(log.state().open_keys(), 0);
    }

    #[test]
    fn what_a_former_owner_or_replayer_writes_does_not_count() {
        let log = Log::default().by("owner", 1).by("owner", 2).key("park", 1, "a", 3);
        assert!(log.state().is_empty());
        let log = log.key("park", 2, "a", 3).by("replayer", 8).by("replayer", 9).key("done", 8, "a", 3);
        assert!(log.state().holds(b"a"));
        assert!(!log.key("done", 9, "a", 3).state().holds(b"a"));
    }

    #[test]
    fn a_second_copy_is_ignored() {
        let log = Log::default().by("owner", 1).key("park", 1, "a", 3).key("park", 1, "a", 3);
        let log = log.by("replayer", 9).key("done", 9, "a", 3).key("done", 9, "a", 3).key("behind", 1, "a", 3);
        assert!(!log.state().holds(b"a"));
        assert!(log.key("park", 1, "a", 4).state().holds(b"a"));
    }

    #[test]
    fn entries_of_another_incarnation_never_count() {
        let log = Log::default().by("owner", 1).key("park", 1, "a", 3);
        let mut state = LogState::new(Uuid::max());
        log.0.iter().for_each(|record| assert_eq!(state.apply(record), Applied::Ignored));
    }

    #[test]
    fn a_reset_forgets_what_is_closed_and_keeps_what_is_open() {
        let log = Log::default().by("owner", 1).key("park", 1, "a", 3).key("park", 1, "b", 4);
        let mut log = log.by("replayer", 9).key("done", 9, "a", 3);
        log.push("reset", 1, "", Some((ParkedScope::Key, 0)));
        ways(&log.state(), "a", 3..5, "ll");
        ways(&log.state(), "b", 3..6, "ffb");
    }

    #[test]
    fn a_log_without_a_replayer_is_not_cut_before_a_done() {
        // The replayer is older than the owner: a fold that begins at the owner would not believe its `done`.
        let log = Log::default().by("owner", 1).key("park", 1, "a", 3).by("replayer", 9).by("owner", 2);
        let log = log.key("park", 2, "b", 4).key("done", 9, "a", 3).key("done", 9, "b", 4);
        assert_eq!(log.state().trim_to(Offset(9)), Some(Offset(0)));
        // It may still write, until it resigns.
        let log = log.by("owner", 2);
        assert_eq!(log.state().trim_to(Offset(9)), Some(Offset(0)));
        assert_eq!(log.by("resigned", 9).state().trim_to(Offset(9)), Some(Offset(7)));
    }

    #[test]
    fn a_parked_key_costs_less_than_two_hundred_bytes_whatever_queues_behind_it() {
        for keys in [60_000u64, 100_000] {
            let (state, bytes) = crate::counting::held_by(|| {
                let mut state = LogState::new(TOPIC);
                let mut log = Log::default().by("owner", 1);
                state.apply(&log.0[0]);
                for round in 0..3 {
                    for key in 0..keys {
                        log.0.clear();
                        // As long as a UUID.
                        log.push("behind", 1, &format!("{key:036}"), Some((ParkedScope::Key, round * keys + key)));
                        state.apply(&log.0[0]);
                    }
                }
                state
            });
            assert_eq!(state.open_keys() as u64, keys);
            println!("{} bytes a key with {keys} keys", bytes as u64 / keys);
            assert!((bytes as u64) < 200 * keys, "{} bytes a key with {keys} keys", bytes as u64 / keys);
        }
    }

    /// One step of a history: who writes what.
    fn step() -> impl Strategy<Value = (u8, u64, u8)> {
        (0u8..10, 0u64..3, 0u8..4)
    }

    /// A legal history: the present owner parks upward, the present replayer closes from the front, and zombies write too.
    fn history(steps: &[(u8, u64, u8)]) -> (Log, u64) {
        let (mut log, mut offset, mut owner, mut replayer) = (Log::default().by("owner", 1), 0, 1, 0);
        let mut open: HashMap<u8, VecDeque<u64>> = HashMap::new();
        for (number, (what, zombie, key)) in steps.iter().enumerate() {
            let (fresh, name) = (number as u64 + 10, format!("k{key}"));
            match what {
                0 => {
                    owner = fresh;
                    log = log.by("owner", owner);
                }
                1 => {
                    replayer = fresh;
                    log = log.by("replayer", replayer);
                }
                2..=5 => {
                    offset += 1;
                    open.entry(*key).or_default().push_back(offset);
                    log = log.key("behind", owner, &name, offset);
                }
                6 | 7 if replayer > 0 => {
                    if let Some(front) = open.get_mut(key).and_then(VecDeque::pop_front) {
                        log = log.key("done", replayer, &name, front);
                    }
                }
                9 if replayer > 0 => {
                    log = log.by("resigned", replayer);
                    replayer = 0;
                }
                8 => log = log.key("behind", *zombie, &name, offset + 1),
                _ => log = log.key("done", *zombie, &name, open.get(key).and_then(|o| o.front().copied()).unwrap_or(0)),
            }
        }
        (log, offset)
    }

    proptest! {
        /// What is open and what comes next is the same, wherever the log was cut.
        #[test]
        fn a_trimmed_log_says_the_same(steps in proptest::collection::vec(step(), 0..40), committed in 0u64..40) {
            let (log, _) = history(&steps);
            for length in 1..=log.0.len() {
                let whole = fold(&log.0[..length]);
                let Some(to) = whole.trim_to(Offset(committed)) else { continue };
                // Whatever follows, the two must agree about all that can still come.
                for end in length..=log.0.len() {
                    let (whole, cut) = (fold(&log.0[..end]), fold(&log.0[to.0 as usize..end]));
                    prop_assert_eq!((whole.open_keys(), whole.owner), (cut.open_keys(), cut.owner));
                    for key in ["k0", "k1", "k2", "k3"] {
                        for offset in committed..committed + 30 {
                            let (key, offset) = (key.as_bytes(), Offset(offset));
                            prop_assert_eq!(whole.way(key, offset), cut.way(key, offset), "cut at {:?}", to);
                        }
                    }
                }
            }
        }
    }
}
