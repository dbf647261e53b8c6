//! One batch: where each of its records stands, and its outcomes at the end.

use std::collections::HashMap;

use busline_core::{Ack, Durability, Error, ErrorKind, Offset, Partition, Result};
use rdkafka::error::RDKafkaErrorCode;

use crate::error;

/// What a flight needs to know of a batch.
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

/// A batch from its sending to its last report.
pub(super) struct Flight<B> {
    /// Gone once it is settled, and not there yet while its records are being sent.
    batch: Option<B>,
    is_settled: bool,
    entries: Vec<Entry>,
    /// Entries without an outcome.
    open: usize,
    /// Entries in a client's hands.
    out: usize,
    /// Whether an entry has failed, which breaks its key.
    has_failed: bool,
    /// Errors of earlier records of the same key, by index: what is acked behind one is not reported as acked.
    behind: HashMap<usize, Error>,
}

/// A batch all of whose records have their outcome.
pub(super) struct Finished<B> {
    pub(super) batch: B,
    pub(super) entries: Vec<Entry>,
    behind: HashMap<usize, Error>,
}

/// The first error of each key that has one.
pub(super) type Broken = HashMap<Vec<u8>, Error>;

impl<B: Load> Flight<B> {
    /// A batch of so many records, all of them handed to a client. The vector is used again.
    pub(super) fn new(records: usize, mut entries: Vec<Entry>) -> Self {
        entries.clear();
        entries.resize(records, Entry::Sent);
        Self {
            batch: None,
            is_settled: false,
            entries,
            open: records,
            out: records,
            has_failed: false,
            behind: HashMap::new(),
        }
    }

    /// Takes its batch, once its records were sent. Those of `unsent` were not; gives how many of them wait now.
    pub(super) fn attach(&mut self, batch: B, unsent: impl IntoIterator<Item = usize>) -> usize {
        self.batch = Some(batch);
        let mut waiting = 0;
        for index in unsent {
            if matches!(self.entries[index], Entry::Sent) {
                self.entries[index] = Entry::Waiting;
                waiting += 1;
            }
        }
        self.out -= waiting;
        waiting
    }

    /// The batch, unless its records are being sent at the moment.
    pub(super) fn batch(&self) -> Option<&B> {
        self.batch.as_ref()
    }

    /// Takes a client's report; gives whether the record waits now.
    pub(super) fn report(&mut self, index: usize, report: Report) -> bool {
        self.out -= 1;
        let entry = &mut self.entries[index];
        if !matches!(entry, Entry::Sent) || self.is_settled {
            return false;
        }
        *entry = match report {
            Report::Acked(offset) => {
                self.open -= 1;
                Entry::Acked(offset)
            }
            // An earlier record of its key was given up meanwhile, so it must not be sent again.
            Report::Unstored(_) if self.behind.contains_key(&index) => {
                self.open -= 1;
                self.has_failed = true;
                Entry::Failed(behind_failed(&self.behind[&index]))
            }
            Report::Unstored(_) => Entry::Waiting,
            Report::Unknown(code) => Entry::Doubtful(code),
        };
        matches!(entry, Entry::Waiting)
    }

    /// Whether all its records have their outcome.
    pub(super) fn is_finished(&self) -> bool {
        self.open == 0 && self.batch.is_some()
    }

    /// Settles it, if all its records have their outcome.
    pub(super) fn finish(&mut self) -> Option<Finished<B>> {
        if !self.is_finished() {
            return None;
        }
        let batch = self.batch.take()?;
        self.is_settled = true;
        let (entries, behind) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.behind));
        // What is still out is found by its index later.
        if self.out > 0 {
            self.entries.clone_from(&entries);
        }
        Some(Finished { batch, entries, behind })
    }

    /// Whether it is settled and no client has anything of it.
    pub(super) fn is_over(&self) -> bool {
        self.is_settled && self.out == 0
    }

    /// Takes every report that will not come any more as unknown.
    pub(super) fn client_has_ended(&mut self) {
        if !self.is_settled {
            for entry in self.entries.iter_mut().filter(|entry| matches!(entry, Entry::Sent)) {
                *entry = Entry::Doubtful(RDKafkaErrorCode::PurgeInflight);
            }
        }
        self.out = 0;
    }

    /// Offers the waiting records to `send`, which gives back those that it could not send; those of held keys are passed
    /// over. Gives how many were sent, and whether all were taken.
    pub(super) fn send_waiting(
        &mut self,
        send: impl FnOnce(&B, &[usize]) -> Vec<usize>,
        is_held: impl Fn(&[u8]) -> bool,
    ) -> (usize, bool) {
        let Some(batch) = &self.batch else { return (0, true) };
        let mut wanted = Vec::new();
        let entries = &self.entries;
        batch.each(|index, _, key| {
            if matches!(entries[index], Entry::Waiting) && !is_held(key) {
                wanted.push(index);
            }
        });
        let unsent = send(batch, &wanted);
        for index in &wanted {
            self.entries[*index] = Entry::Sent;
        }
        for index in &unsent {
            self.entries[*index] = Entry::Waiting;
        }
        let sent = wanted.len() - unsent.len();
        self.out += sent;
        (sent, unsent.is_empty())
    }

    /// Gives records their outcome where `decide` gives one for an index and its entry, and breaks their keys: what waits
    /// behind such a record fails, and what is out or doubtful behind it is not reported as acked. Gives how many wait no
    /// more.
    pub(super) fn decide(
        &mut self,
        broken: &mut Broken,
        mut decide: impl FnMut(usize, &Entry) -> Option<Entry>,
    ) -> usize {
        let Some(batch) = &self.batch else { return 0 };
        let (entries, behind) = (&mut self.entries, &mut self.behind);
        let (mut closed, mut started, mut has_failed) = (0, 0, false);
        batch.each(|index, _, key| {
            let entry = &mut entries[index];
            match entry {
                Entry::Acked(_) => {
                    if let Some(error) = broken.get(key) {
                        behind.entry(index).or_insert_with(|| error.clone());
                    }
                    return;
                }
                Entry::Failed(error) => {
                    broken.entry(key.to_vec()).or_insert_with(|| error.clone());
                    return;
                }
                Entry::Waiting | Entry::Sent | Entry::Doubtful(_) => {}
            }
            let was_waiting = matches!(entry, Entry::Waiting);
            let decided = match (decide(index, entry), broken.get(key)) {
                // What was not sent is certainly not stored, whatever else would be said of it.
                (_, Some(first)) if was_waiting => Some(Entry::Failed(behind_failed(first))),
                (Some(Entry::Acked(_)), Some(first)) => Some(Entry::Failed(behind_failed(first).indeterminate())),
                (decided, _) => decided,
            };
            match decided {
                Some(decided) => {
                    if let Entry::Failed(error) = &decided {
                        has_failed = true;
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
        self.open -= closed;
        self.has_failed |= has_failed;
        started
    }

    /// Whether a record of it has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Adds the keys of its failed records.
    pub(super) fn add_broken(&self, broken: &mut Broken) {
        let Some(batch) = self.batch.as_ref().filter(|_| self.has_failed) else { return };
        batch.each(|index, _, key| {
            if let Entry::Failed(error) = &self.entries[index] {
                broken.entry(key.to_vec()).or_insert_with(|| error.clone());
            }
        });
    }

    /// Calls with the index, partition and key of each doubtful record, in order.
    pub(super) fn each_doubtful(&self, mut see: impl FnMut(usize, Partition, &[u8])) {
        let Some(batch) = &self.batch else { return };
        batch.each(|index, partition, key| {
            if matches!(self.entries[index], Entry::Doubtful(_)) {
                see(index, partition, key);
            }
        });
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
