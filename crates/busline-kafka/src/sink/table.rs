//! Which record of which batch has which outcome. No client, no clock, no lock.

use std::collections::{HashMap, VecDeque};

use busline_core::{Ack, Durability, Error, ErrorKind, Offset, Partition, Result};
use rdkafka::error::RDKafkaErrorCode;

use crate::error;

/// What the table needs to know of a batch.
pub(super) trait Load {
    /// Calls with the index, partition and key of each record, in order.
    fn each(&self, see: impl FnMut(usize, Partition, &[u8]));
}

impl Load for busline_core::Batch {
    fn each(&self, mut see: impl FnMut(usize, Partition, &[u8])) {
        self.records().enumerate().for_each(|(index, record)| see(index, record.partition, record.key));
    }
}

/// Where one record stands.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// Never handed to a client, or certainly not stored by the last one: the next one may send it.
    Waiting,
    /// In a client's hands, without a report.
    Sent,
    /// Stored.
    Acked(Option<Offset>),
    /// Perhaps stored by a client that has ended.
    Doubtful(RDKafkaErrorCode),
    /// Not acked, and it will not be sent any more.
    Failed(Error),
}

/// What a client reports of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Acked(Option<Offset>),
    /// Certainly not stored.
    Unstored(RDKafkaErrorCode),
    /// Perhaps stored.
    Unknown(RDKafkaErrorCode),
}

/// A record's place, as one number that the client carries with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: usize,
    pub(super) index: usize,
}

const INDEX_BITS: u32 = 24;

impl Place {
    pub(super) fn to_number(self) -> usize {
        self.slot << INDEX_BITS | self.index
    }

    pub(super) fn of_number(number: usize) -> Self {
        Self { slot: number >> INDEX_BITS, index: number & ((1 << INDEX_BITS) - 1) }
    }
}

/// One batch.
struct Flight<B> {
    /// Gone once it is settled, and not there yet while its records are being sent.
    batch: Option<B>,
    is_settled: bool,
    entries: Vec<Entry>,
    /// Entries without an outcome.
    open: usize,
    /// Entries in a client's hands.
    out: usize,
    /// Errors of earlier records of the same key, by index: what is acked behind one is not reported as acked.
    behind: HashMap<usize, Error>,
}

/// A batch all of whose records have their outcome.
pub(super) struct Finished<B> {
    pub(super) batch: B,
    pub(super) entries: Vec<Entry>,
    behind: HashMap<usize, Error>,
}

/// Every batch that is not settled, and those that were settled with records still in a client's hands.
pub(super) struct Table<B> {
    flights: Vec<Option<Flight<B>>>,
    /// Slots of unsettled batches in the order of their arrival.
    order: VecDeque<usize>,
    /// Vectors of settled batches, for the next ones.
    spare: Vec<Vec<Entry>>,
    waiting: usize,
}

const SPARE_MAX: usize = 16;

impl<B> Default for Table<B> {
    fn default() -> Self {
        Self { flights: Vec::new(), order: VecDeque::new(), spare: Vec::new(), waiting: 0 }
    }
}

impl<B: Load> Table<B> {
    /// Makes room for a batch of so many records, all of them handed to a client; gives its slot.
    pub(super) fn begin(&mut self, records: usize) -> usize {
        let mut entries = self.spare.pop().unwrap_or_default();
        entries.clear();
        entries.resize(records, Entry::Sent);
        let flight =
            Flight { batch: None, is_settled: false, entries, open: records, out: records, behind: HashMap::new() };
        let slot = self.flights.iter().position(Option::is_none).unwrap_or(self.flights.len());
        if slot == self.flights.len() {
            self.flights.push(None);
        }
        self.flights[slot] = Some(flight);
        self.order.push_back(slot);
        slot
    }

    /// Gives the slot its batch, once its records were sent. Those of `unsent` were not.
    pub(super) fn attach(&mut self, slot: usize, batch: B, unsent: impl IntoIterator<Item = usize>) {
        let Some(flight) = self.flights.get_mut(slot).and_then(Option::as_mut) else { return };
        for index in unsent {
            if matches!(flight.entries[index], Entry::Sent) {
                flight.entries[index] = Entry::Waiting;
                flight.out -= 1;
                self.waiting += 1;
            }
        }
        flight.batch = Some(batch);
    }

    /// Takes a client's report.
    pub(super) fn report(&mut self, place: Place, report: Report) {
        let Some(flight) = self.flights.get_mut(place.slot).and_then(Option::as_mut) else { return };
        flight.out -= 1;
        let entry = &mut flight.entries[place.index];
        if matches!(entry, Entry::Sent) && !flight.is_settled {
            *entry = match report {
                Report::Acked(offset) => {
                    flight.open -= 1;
                    Entry::Acked(offset)
                }
                // An earlier record of its key was given up meanwhile, so it must not be sent again.
                Report::Unstored(_) if flight.behind.contains_key(&place.index) => {
                    flight.open -= 1;
                    Entry::Failed(behind_failed(&flight.behind[&place.index]))
                }
                Report::Unstored(_) => {
                    self.waiting += 1;
                    Entry::Waiting
                }
                Report::Unknown(code) => Entry::Doubtful(code),
            };
        }
        self.free(place.slot);
    }

    /// The oldest unsettled batch, if all its records have their outcome.
    ///
    /// A later one waits for it: what the publisher gives up in this batch must not be followed by an ack in that one.
    pub(super) fn finish_next(&mut self) -> Option<Finished<B>> {
        let slot = *self.order.front()?;
        let flight = self.flights.get_mut(slot)?.as_mut().filter(|flight| flight.open == 0)?;
        let batch = flight.batch.take()?;
        self.order.pop_front();
        flight.is_settled = true;
        let finished = Finished {
            batch,
            entries: std::mem::take(&mut flight.entries),
            behind: std::mem::take(&mut flight.behind),
        };
        // What is still out is found by its index later.
        if flight.out > 0 {
            flight.entries.clone_from(&finished.entries);
        }
        self.free(slot);
        Some(finished)
    }

    /// Every batch that can be settled, oldest first.
    pub(super) fn finish(&mut self) -> Vec<Finished<B>> {
        std::iter::from_fn(|| self.finish_next()).collect()
    }

    /// A vector that a settled batch does not need any more.
    pub(super) fn take_back(&mut self, entries: Vec<Entry>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(entries);
        }
    }

    fn free(&mut self, slot: usize) {
        if self.flights[slot].as_ref().is_some_and(|flight| flight.is_settled && flight.out == 0) {
            self.flights[slot] = None;
        }
    }

    /// Whether nothing is unsettled.
    pub(super) fn is_settled(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether a record waits to be sent.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Takes every report that will not come any more as unknown: the client has ended.
    pub(super) fn client_has_ended(&mut self) {
        for slot in 0..self.flights.len() {
            let Some(flight) = &mut self.flights[slot] else { continue };
            if !flight.is_settled {
                for entry in flight.entries.iter_mut().filter(|entry| matches!(entry, Entry::Sent)) {
                    *entry = Entry::Doubtful(RDKafkaErrorCode::PurgeInflight);
                }
            }
            flight.out = 0;
            self.free(slot);
        }
    }

    /// Slots of unsettled batches, oldest first.
    pub(super) fn in_order(&self) -> Vec<usize> {
        self.order.iter().copied().collect()
    }

    /// The batch in this slot, unless its records are being sent at the moment.
    pub(super) fn batch(&self, slot: usize) -> Option<&B> {
        self.flights.get(slot)?.as_ref()?.batch.as_ref()
    }

    /// Offers the waiting records of a batch to `send`, which gives back those that it could not send; those of held keys
    /// are passed over. Gives whether all were taken.
    pub(super) fn send_waiting(
        &mut self,
        slot: usize,
        send: impl FnOnce(&B, &[usize]) -> Vec<usize>,
        is_held: impl Fn(&[u8]) -> bool,
    ) -> bool {
        let Some(flight) = self.flights.get_mut(slot).and_then(Option::as_mut) else { return true };
        let Some(batch) = &flight.batch else { return true };
        let mut wanted = Vec::new();
        let entries = &flight.entries;
        batch.each(|index, _, key| {
            if matches!(entries[index], Entry::Waiting) && !is_held(key) {
                wanted.push(index);
            }
        });
        let unsent = send(batch, &wanted);
        for index in &wanted {
            flight.entries[*index] = Entry::Sent;
        }
        for index in &unsent {
            flight.entries[*index] = Entry::Waiting;
        }
        let sent = wanted.len() - unsent.len();
        flight.out += sent;
        self.waiting -= sent;
        unsent.is_empty()
    }

    /// Gives records their outcome where `decide` gives one, oldest first, and breaks their keys: what waits behind such
    /// a record fails, and what is out or doubtful behind it is not reported as acked.
    ///
    /// `decide` sees the slot, the index and the entry.
    pub(super) fn decide(&mut self, mut decide: impl FnMut(usize, usize, &Entry) -> Option<Entry>) {
        let mut broken: HashMap<Vec<u8>, Error> = HashMap::new();
        for slot in self.in_order() {
            let Some(flight) = &mut self.flights[slot] else { continue };
            let Some(batch) = &flight.batch else { continue };
            let (entries, behind) = (&mut flight.entries, &mut flight.behind);
            let (mut closed, mut started) = (0, 0);
            batch.each(|index, _, key| {
                let entry = &mut entries[index];
                if matches!(entry, Entry::Acked(_) | Entry::Failed(_)) {
                    if let (Entry::Acked(_), Some(error)) = (&*entry, broken.get(key)) {
                        behind.entry(index).or_insert_with(|| error.clone());
                    }
                    return;
                }
                let was_waiting = matches!(entry, Entry::Waiting);
                let decided = match (decide(slot, index, entry), broken.get(key)) {
                    // What was not sent is certainly not stored, whatever else would be said of it.
                    (_, Some(first)) if was_waiting => Some(Entry::Failed(behind_failed(first))),
                    (Some(Entry::Acked(_)), Some(first)) => Some(Entry::Failed(behind_failed(first).indeterminate())),
                    (decided, _) => decided,
                };
                match decided {
                    Some(decided) => {
                        if let Entry::Failed(error) = &decided {
                            broken.entry(key.to_vec()).or_insert_with(|| error.clone());
                        }
                        closed += 1;
                        started += usize::from(was_waiting);
                        *entry = decided;
                    }
                    None => {
                        if let Some(first) = broken.get(key) {
                            behind.entry(index).or_insert_with(|| first.clone());
                        }
                    }
                }
            });
            flight.open -= closed;
            self.waiting -= started;
        }
    }

    /// Calls with the partition and key of each doubtful record, oldest first, and its place.
    pub(super) fn each_doubtful(&self, mut see: impl FnMut(Place, Partition, &[u8])) {
        for slot in self.in_order() {
            let Some(flight) = &self.flights[slot] else { continue };
            let Some(batch) = &flight.batch else { continue };
            batch.each(|index, partition, key| {
                if matches!(flight.entries[index], Entry::Doubtful(_)) {
                    see(Place { slot, index }, partition, key);
                }
            });
        }
    }
}

impl<B: Load> Finished<B> {
    /// The outcomes, in the order of the records.
    pub(super) fn outcomes(&self, durability: Durability) -> Vec<Result<Ack>> {
        let mut outcomes = Vec::with_capacity(self.entries.len());
        self.batch.each(|index, partition, _| {
            outcomes.push(match &self.entries[index] {
                Entry::Acked(offset) => match self.behind.get(&index) {
                    Some(first) => Err(behind_failed(first).indeterminate()),
                    None => Ok(Ack { partition, offset: *offset, duplicate: false, durability }),
                },
                Entry::Failed(error) => Err(error.clone()),
                // Not finished: none of these is reached.
                Entry::Waiting | Entry::Sent => Err(error::of_code(RDKafkaErrorCode::Fail).indeterminate()),
                Entry::Doubtful(code) => Err(error::of_code(*code).indeterminate()),
            });
        });
        outcomes
    }
}

/// The error of a record behind one of its key that was not acked.
pub(super) fn behind_failed(first: &Error) -> Error {
    if first.reason() == "BehindFailed" && first.is_definite() {
        return first.clone();
    }
    Error::new(ErrorKind::Unavailable, "BehindFailed")
        .cause(format!("an earlier envelope of its key was not acked: {first}"))
        .next("settle the earlier one first, then publish again in order")
}

#[cfg(test)]
mod tests {
    use super::*;
    use busline_core::Medium;

    /// Keys of a batch; the partition is always 0.
    struct Keys(Vec<&'static str>);

    impl Load for Keys {
        fn each(&self, mut see: impl FnMut(usize, Partition, &[u8])) {
            self.0.iter().enumerate().for_each(|(index, key)| see(index, Partition(0), key.as_bytes()));
        }
    }

    fn table(batches: &[&[&'static str]]) -> Table<Keys> {
        let mut table = Table::default();
        for keys in batches {
            let slot = table.begin(keys.len());
            table.attach(slot, Keys(keys.to_vec()), []);
        }
        table
    }

    fn report(table: &mut Table<Keys>, slot: usize, index: usize, report: Report) {
        table.report(Place { slot, index }, report);
    }

    fn acked(offset: u64) -> Report {
        Report::Acked(Some(Offset(offset)))
    }

    /// `offset`, `failed` or `indeterminate` for each record.
    fn outcomes(finished: &Finished<Keys>) -> Vec<String> {
        let of = |outcome: Result<Ack>| match outcome {
            Ok(ack) => ack.offset.map_or("none".into(), |offset| offset.to_string()),
            Err(error) if error.is_definite() => format!("failed {}", error.reason()),
            Err(error) => format!("indeterminate {}", error.reason()),
        };
        finished.outcomes(Durability::one(Medium::Written)).into_iter().map(of).collect()
    }

    fn deadline() -> Error {
        Error::new(ErrorKind::Timeout, "Deadline")
    }

    #[test]
    fn a_batch_is_finished_with_its_last_report() {
        let mut table = table(&[&["a", "b"]]);
        report(&mut table, 0, 1, Report::Acked(None));
        assert!(table.finish_next().is_none());
        report(&mut table, 0, 0, acked(7));
        let finished = table.finish_next().expect("both are in");
        assert_eq!(outcomes(&finished), ["7", "none"]);
        assert!(table.is_settled() && table.finish_next().is_none());
        assert_eq!(table.begin(1), 0, "the slot is free again");
    }

    #[test]
    fn batches_are_settled_in_the_order_of_their_arrival() {
        let mut table = table(&[&["a"], &["a"]]);
        report(&mut table, 1, 0, acked(1));
        assert!(table.finish_next().is_none(), "the publisher may still give the first one up");
        report(&mut table, 0, 0, acked(0));
        assert_eq!(table.finish().iter().map(outcomes).collect::<Vec<_>>(), [["0"], ["1"]]);
    }

    #[test]
    fn reports_may_come_before_the_batch() {
        let mut table: Table<Keys> = Table::default();
        let slot = table.begin(2);
        report(&mut table, slot, 0, acked(1));
        report(&mut table, slot, 1, acked(2));
        assert!(table.finish_next().is_none(), "its sender still has it");
        table.attach(slot, Keys(vec!["a", "b"]), []);
        assert_eq!(outcomes(&table.finish_next().expect("all are in")), ["1", "2"]);
    }

    #[test]
    fn what_is_certainly_not_stored_is_sent_again_in_order() {
        let mut table = table(&[&["a", "b"], &["a"]]);
        for (slot, index) in [(1, 0), (0, 1), (0, 0)] {
            report(&mut table, slot, index, Report::Unstored(RDKafkaErrorCode::PurgeQueue));
        }
        assert!(table.has_waiting());
        let mut sent = Vec::new();
        for slot in table.in_order() {
            let all = table.send_waiting(
                slot,
                |_, wanted| {
                    sent.extend(wanted.iter().map(|index| (slot, *index)));
                    Vec::new()
                },
                |_| false,
            );
            assert!(all);
        }
        assert_eq!(sent, [(0, 0), (0, 1), (1, 0)]);
        assert!(!table.has_waiting());
    }

    #[test]
    fn a_doubtful_record_holds_its_key_only() {
        let mut table = table(&[&["a", "b", "a"]]);
        report(&mut table, 0, 0, Report::Unknown(RDKafkaErrorCode::BrokerTransportFailure));
        for index in [1, 2] {
            report(&mut table, 0, index, Report::Unstored(RDKafkaErrorCode::PurgeQueue));
        }
        let mut sent = Vec::new();
        let send = |_: &Keys, wanted: &[usize]| {
            sent.extend_from_slice(wanted);
            Vec::new()
        };
        table.send_waiting(0, send, |key| key == b"a");
        assert_eq!(sent, [1]);
        report(&mut table, 0, 1, acked(5));
        // The deadline: what may be stored is indeterminate, what waits behind it has failed.
        table.decide(|_, _, entry| match entry {
            Entry::Doubtful(_) => Some(Entry::Failed(deadline().indeterminate())),
            _ => None,
        });
        let finished = table.finish_next().expect("decided");
        assert_eq!(outcomes(&finished), ["indeterminate Deadline", "5", "failed BehindFailed"]);
    }

    #[test]
    fn nothing_behind_a_failed_record_is_acked_in_any_batch() {
        let mut table = table(&[&["a"], &["a", "b"], &["a"]]);
        report(&mut table, 1, 0, acked(1));
        table.decide(|slot, _, entry| match (slot, entry) {
            (0, Entry::Sent) => Some(Entry::Failed(deadline().indeterminate())),
            _ => None,
        });
        assert_eq!(outcomes(&table.finish_next().expect("decided")), ["indeterminate Deadline"]);
        report(&mut table, 1, 1, acked(2));
        assert_eq!(outcomes(&table.finish_next().expect("all are in")), ["indeterminate BehindFailed", "2"]);
        report(&mut table, 2, 0, acked(3));
        assert_eq!(outcomes(&table.finish_next().expect("all are in")), ["indeterminate BehindFailed"]);
        assert!(table.flights[0].is_some(), "its record is still in the client's hands");
        report(&mut table, 0, 0, acked(0));
        assert!(table.flights[0].is_none());
    }

    #[test]
    fn what_comes_back_behind_a_record_that_was_given_up_is_not_sent_again() {
        let mut table = table(&[&["a", "a"]]);
        table.decide(|_, index, _| (index == 0).then(|| Entry::Failed(deadline().indeterminate())));
        report(&mut table, 0, 1, Report::Unstored(RDKafkaErrorCode::PurgeQueue));
        assert!(!table.has_waiting());
        assert_eq!(outcomes(&table.finish_next().expect("decided")), ["indeterminate Deadline", "failed BehindFailed"]);
    }

    #[test]
    fn a_client_that_ended_leaves_doubt() {
        let mut table = table(&[&["a"]]);
        table.client_has_ended();
        let mut doubtful = Vec::new();
        table.each_doubtful(|place, _, key| doubtful.push((place, key.to_vec())));
        assert_eq!(doubtful, [(Place { slot: 0, index: 0 }, b"a".to_vec())]);
        // Found in the log.
        table.decide(|_, _, _| Some(Entry::Acked(Some(Offset(9)))));
        assert_eq!(outcomes(&table.finish_next().expect("found")), ["9"]);
    }

    #[test]
    fn a_place_is_one_number() {
        for place in [Place { slot: 0, index: 0 }, Place { slot: 77, index: (1 << 24) - 1 }] {
            assert_eq!(Place::of_number(place.to_number()), place);
        }
    }
}
