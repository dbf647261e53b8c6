//! Which record of which batch has which outcome. No client, no clock, no lock.

use std::collections::VecDeque;

use busline_core::Partition;

use super::flight::{Broken, Entry, Finished, Flight, Load, Report};

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
        let flight = Flight::new(records, self.spare.pop().unwrap_or_default());
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
        if let Some(flight) = self.flights.get_mut(slot).and_then(Option::as_mut) {
            self.waiting += flight.attach(batch, unsent);
        }
    }

    /// Takes a client's report.
    pub(super) fn report(&mut self, place: Place, report: Report) {
        let Some(flight) = self.flights.get_mut(place.slot).and_then(Option::as_mut) else { return };
        self.waiting += usize::from(flight.report(place.index, report));
        self.free(place.slot);
    }

    /// The oldest unsettled batch, if all its records have their outcome.
    ///
    /// A later one waits for it: what the publisher gives up in this batch must not be followed by an ack in that one.
    pub(super) fn finish_next(&mut self) -> Option<Finished<B>> {
        let slot = *self.order.front()?;
        let finished = self.flights.get_mut(slot)?.as_mut()?.finish()?;
        self.order.pop_front();
        self.free(slot);
        Some(finished)
    }

    /// Whether the oldest unsettled batch can be settled.
    pub(super) fn has_finished(&self) -> bool {
        let oldest = self.order.front().and_then(|slot| self.flights[*slot].as_ref());
        oldest.is_some_and(Flight::is_finished)
    }

    /// Whether a record of an unsettled batch has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.unsettled().any(Flight::has_failed)
    }

    /// Keys with a failed record in a batch that is not settled: the publisher has not heard of it yet, so what comes of
    /// them now stands behind it.
    pub(super) fn broken(&self) -> Broken {
        let mut broken = Broken::new();
        self.unsettled().for_each(|flight| flight.add_broken(&mut broken));
        broken
    }

    fn unsettled(&self) -> impl Iterator<Item = &Flight<B>> {
        self.order.iter().filter_map(|slot| self.flights[*slot].as_ref())
    }

    /// A vector that a settled batch does not need any more.
    pub(super) fn take_back(&mut self, entries: Vec<Entry>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(entries);
        }
    }

    fn free(&mut self, slot: usize) {
        if self.flights[slot].as_ref().is_some_and(Flight::is_over) {
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
            if let Some(flight) = &mut self.flights[slot] {
                flight.client_has_ended();
                self.free(slot);
            }
        }
    }

    /// Slots of unsettled batches, oldest first.
    pub(super) fn in_order(&self) -> Vec<usize> {
        self.order.iter().copied().collect()
    }

    /// The batch in this slot, unless its records are being sent at the moment.
    pub(super) fn batch(&self, slot: usize) -> Option<&B> {
        self.flights.get(slot)?.as_ref()?.batch()
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
        let (sent, took_all) = flight.send_waiting(send, is_held);
        self.waiting -= sent;
        took_all
    }

    /// Gives records their outcome where `decide` gives one, oldest first, and breaks their keys in all batches behind.
    ///
    /// `decide` sees the slot, the index and the entry.
    pub(super) fn decide(&mut self, mut decide: impl FnMut(usize, usize, &Entry) -> Option<Entry>) {
        let mut broken = Broken::new();
        for slot in &self.order {
            if let Some(flight) = &mut self.flights[*slot] {
                self.waiting -= flight.decide(&mut broken, |index, entry| decide(*slot, index, entry));
            }
        }
    }

    /// Calls with the partition and key of each doubtful record, oldest first, and its place.
    pub(super) fn each_doubtful(&self, mut see: impl FnMut(Place, Partition, &[u8])) {
        for slot in &self.order {
            if let Some(flight) = &self.flights[*slot] {
                flight.each_doubtful(|index, partition, key| see(Place { slot: *slot, index }, partition, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use busline_core::{Ack, Durability, Error, ErrorKind, Medium, Offset, Result};
    use rdkafka::error::RDKafkaErrorCode;

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
        let finished: Vec<_> = std::iter::from_fn(|| table.finish_next()).collect();
        assert_eq!(finished.iter().map(outcomes).collect::<Vec<_>>(), [["0"], ["1"]]);
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
    fn what_arrives_behind_a_failed_record_fails_until_that_is_settled() {
        let mut table = table(&[&["a", "b"]]);
        table.decide(|_, index, _| (index == 0).then(|| Entry::Failed(deadline())));
        assert!(table.broken().contains_key(&b"a"[..]) && table.has_failed());
        let slot = table.begin(2);
        table.attach(slot, Keys(vec!["a", "c"]), [0]);
        table.decide(|_, _, _| None);
        assert!(!table.has_waiting());
        report(&mut table, slot, 1, acked(1));
        assert!(!table.has_finished(), "the first one has a record in the client's hands");
        report(&mut table, 0, 1, acked(0));
        assert!(table.has_finished());
        assert_eq!(outcomes(&table.finish_next().expect("all are in")), ["failed Deadline", "0"]);
        assert!(table.broken().contains_key(&b"a"[..]), "by the one behind it");
        assert_eq!(outcomes(&table.finish_next().expect("all are in")), ["failed BehindFailed", "1"]);
        assert!(table.broken().is_empty() && !table.has_failed());
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
