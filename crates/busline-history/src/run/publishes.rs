use std::collections::HashMap;
use std::ops::Range;

use super::processes::Processes;
use crate::entry::{Accept, Acked, Batch, BatchMode, Entry, ItemEnd, Op, Process, Publication, Publish};
use crate::history::History;
use crate::position::{Partition, Position};

/// All publish calls of a run, the items of batches among them.
#[derive(Debug, Default)]
pub(crate) struct Publishes<'a> {
    calls: Vec<Call<'a>>,
    last_of: HashMap<&'a str, usize>,
    atomic: Vec<AtomicBatch<'a>>,
    batches: HashMap<(Process, &'a str), Range<usize>>,
    surplus: Vec<Surplus<'a>>,
}

/// One publish call: an invoke, its acceptance and its outcome.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) publication: &'a Publication,
    pub(crate) process: Process,
    pub(crate) invoked: u64,
    pub(crate) accepted: Option<u64>,
    pub(crate) end: Option<(u64, End<'a>)>,
    earlier: Option<usize>,
}

/// What promises an order: process, publisher, topic, key.
pub(crate) type Line<'a> = (Process, &'a str, &'a str, &'a str);

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End<'a> {
    Acked(&'a Acked),
    Failed,
    Indeterminate,
}

/// What is known of a call after the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Acked,
    Failed,
    Indeterminate,
    /// No outcome, and its process lived on.
    Open,
}

/// The calls of one atomic batch.
#[derive(Debug)]
pub(crate) struct AtomicBatch<'a> {
    pub(crate) name: &'a str,
    pub(crate) calls: Range<usize>,
}

/// An outcome for which no call was open.
#[derive(Debug)]
pub(crate) struct Surplus<'a> {
    pub(crate) id: &'a str,
    pub(crate) at: u64,
}

impl<'a> Call<'a> {
    pub(crate) fn acked(&self) -> Option<&'a Acked> {
        match self.end {
            Some((_, End::Acked(acked))) => Some(acked),
            _ => None,
        }
    }

    /// Position given by the ack.
    pub(crate) fn position(&self) -> Option<Position<'a>> {
        let acked = self.acked()?;
        Some(Partition { topic: &self.publication.topic, number: acked.partition }.at(acked.offset?))
    }

    /// From when its deadline counts: acceptance, or the call where acceptance was not recorded.
    pub(crate) fn entered(&self) -> u64 {
        self.accepted.unwrap_or(self.invoked)
    }

    pub(crate) fn state(&self, processes: &Processes<'_>) -> State {
        match self.end {
            Some((_, End::Acked(_))) => State::Acked,
            Some((_, End::Failed)) => State::Failed,
            Some((_, End::Indeterminate)) => State::Indeterminate,
            None if processes.died(self.process).is_some() => State::Indeterminate,
            None => State::Open,
        }
    }

    /// Calls that promise an order among each other: one incarnation of a publisher, one topic, one key.
    pub(crate) fn line(&self) -> Line<'a> {
        let Publication { publisher, topic, key, .. } = self.publication;
        (self.process, publisher, topic, key)
    }
}

impl<'a> Publishes<'a> {
    pub(crate) fn gather(history: &'a History) -> Self {
        let mut publishes = Self::default();
        for entry in history.entries() {
            match &entry.op {
                Op::Publish(publish) => publishes.publish(entry, publish),
                Op::Accept(Accept::Ok(accepted)) => publishes.accept(entry, &accepted.id),
                Op::Batch(batch) => publishes.batch(entry, batch),
                _ => {}
            }
        }
        publishes
    }

    /// All calls in the order of their invokes.
    pub(crate) fn calls(&self) -> &[Call<'a>] {
        &self.calls
    }

    /// The calls that published an id, latest first.
    pub(crate) fn of(&self, id: &str) -> impl Iterator<Item = &Call<'a>> {
        let last = self.last_of.get(id).map(|at| &self.calls[*at]);
        std::iter::successors(last, |call| call.earlier.map(|at| &self.calls[at]))
    }

    pub(crate) fn is_attempted(&self, id: &str) -> bool {
        self.last_of.contains_key(id)
    }

    /// The ids that were published, each once, in no order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &'a str> {
        self.last_of.keys().copied()
    }

    pub(crate) fn atomic_batches(&self) -> &[AtomicBatch<'a>] {
        &self.atomic
    }

    pub(crate) fn surplus(&self) -> &[Surplus<'a>] {
        &self.surplus
    }

    fn publish(&mut self, entry: &'a Entry, publish: &'a Publish) {
        match publish {
            Publish::Invoke(publication) => self.invoke(entry, publication),
            Publish::Ok(acked) => self.finish(entry, &acked.id, End::Acked(acked)),
            Publish::Fail(not) => self.finish(entry, &not.id, End::Failed),
            Publish::Info(not) => self.finish(entry, &not.id, End::Indeterminate),
        }
    }

    fn batch(&mut self, entry: &'a Entry, batch: &'a Batch) {
        match batch {
            Batch::Invoke(call) => {
                let first = self.calls.len();
                for item in &call.items {
                    self.invoke(entry, item);
                }
                let calls = first..self.calls.len();
                self.batches.insert((entry.process(), &call.batch), calls.clone());
                if call.mode == BatchMode::Atomic {
                    self.atomic.push(AtomicBatch { name: &call.batch, calls });
                }
            }
            Batch::Ok(results) => {
                for result in &results.results {
                    match result {
                        ItemEnd::Ok(acked) => self.finish(entry, &acked.id, End::Acked(acked)),
                        ItemEnd::Fail(not) => self.finish(entry, &not.id, End::Failed),
                        ItemEnd::Info(not) => self.finish(entry, &not.id, End::Indeterminate),
                    }
                }
            }
            Batch::Fail(end) => self.finish_batch(entry, &end.batch, End::Failed),
            Batch::Info(end) => self.finish_batch(entry, &end.batch, End::Indeterminate),
        }
    }

    fn invoke(&mut self, entry: &Entry, publication: &'a Publication) {
        let earlier = self.last_of.insert(&publication.id, self.calls.len());
        self.calls.push(Call {
            publication,
            process: entry.process(),
            invoked: entry.mono_ns,
            accepted: None,
            end: None,
            earlier,
        });
    }

    fn accept(&mut self, entry: &Entry, id: &str) {
        if let Some(at) = self.find(id, |call| call.process == entry.process() && call.accepted.is_none()) {
            self.calls[at].accepted = Some(entry.mono_ns);
        }
    }

    fn finish(&mut self, entry: &Entry, id: &'a str, end: End<'a>) {
        match self.find(id, |call| call.process == entry.process() && call.end.is_none()) {
            Some(at) => self.calls[at].end = Some((entry.mono_ns, end)),
            None => self.surplus.push(Surplus { id, at: entry.mono_ns }),
        }
    }

    fn finish_batch(&mut self, entry: &'a Entry, batch: &'a str, end: End<'a>) {
        let calls = self.batches.get(&(entry.process(), batch)).cloned().unwrap_or_default();
        for at in calls {
            self.finish(entry, &self.calls[at].publication.id, end);
        }
    }

    /// The earliest call of the id that fits: outcomes of one id are told in the order of its calls.
    fn find(&self, id: &str, fits: impl Fn(&Call<'a>) -> bool) -> Option<usize> {
        let last = self.last_of.get(id).copied();
        std::iter::successors(last, |at| self.calls[*at].earlier).filter(|at| fits(&self.calls[*at])).last()
    }
}
