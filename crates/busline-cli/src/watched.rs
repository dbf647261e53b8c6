//! A layer over the driver that sees what a member's source says: assignments, losses, commits, the end.
//!
//! The subscription engine keeps these to itself; `sub --group` tells them, records them, and ends after a count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use busline::{
    Ack, Batch, BoxFuture, Commit, Delivery, Diagnosis, Driver, Error, ErrorKind, Headers, Layer, Offset, Partition,
    Record, RecordRef, Result, Sink, SinkOffer, SinkRequest, Source, SourceEvent, SourceLayer, SourceRequest,
    TopicName, parked_record,
};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::group_history::GroupHistory;

/// Watches the source of a backend, and the sink of its parking topic.
#[derive(Debug)]
pub(crate) struct Watched(pub(crate) Arc<Watch>);

/// What was seen of the source, and how many records it may still hand over.
#[derive(Debug)]
pub(crate) struct Watch {
    topic: TopicName,
    history: GroupHistory,
    /// More may be handed over.
    room: Notify,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Records that may still be handed over; `None` without a limit.
    left: Option<u64>,
    held: BTreeMap<Partition, Held>,
    notes: Vec<String>,
    /// Why the source has ended.
    ended: Option<Error>,
    source: Option<Arc<dyn Source>>,
    /// Handlers that run.
    running: usize,
    /// Records that this member has parked.
    parked: u64,
    /// When a handler last began or ended.
    last_step: Option<Instant>,
}

#[derive(Debug, Default)]
struct Held {
    generation: u64,
    /// Handed over and not handled.
    unfinished: u64,
}

/// Notes kept until they are taken; further ones are dropped.
const NOTES_WAITING_MAX: usize = 64;

/// A step in the run of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Begun,
    Handled,
    Failed,
    TimedOut,
    Cancelled,
}

impl Watch {
    /// Watches a source that hands over at most this many records, not counting those that it loses unfinished.
    pub(crate) fn new(topic: TopicName, history: GroupHistory, records_max: Option<u64>) -> Self {
        let seen = Mutex::new(Seen { left: records_max, ..Seen::default() });
        Self { topic, history, room: Notify::new(), seen }
    }

    /// Notes a step of a handler.
    pub(crate) fn step(&self, delivery: &Delivery, step: Step) -> Result<()> {
        self.history.step(delivery, step).inspect_err(|error| self.end(error))?;
        let mut seen = self.seen();
        seen.last_step = Some(Instant::now());
        if step == Step::Begun {
            seen.running += 1;
        } else {
            seen.running -= 1;
        }
        if step == Step::Handled
            && let Some(held) = seen.held.get_mut(&delivery.partition)
        {
            held.unfinished = held.unfinished.saturating_sub(1);
        }
        Ok(())
    }

    /// Whether no handler runs, and none has for so long.
    pub(crate) fn rests_for(&self, time: Duration) -> bool {
        let seen = self.seen();
        seen.running == 0 && seen.last_step.is_none_or(|last| last.elapsed() >= time)
    }

    /// What is worth saying since the last call.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().notes)
    }

    /// Records that this member has parked so far.
    pub(crate) fn parked_count(&self) -> u64 {
        self.seen().parked
    }

    /// Why the source has ended, if it has.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.seen().ended.clone()
    }

    /// What keeps the source from moving at the moment.
    pub(crate) fn trouble(&self) -> Option<Error> {
        let source = self.seen().source.clone();
        source.and_then(|source| source.trouble())
    }

    /// Waits until records may be handed over; gives how many.
    async fn room(&self) -> usize {
        loop {
            let more = self.room.notified();
            match self.seen().left {
                None => return usize::MAX,
                Some(0) => {}
                Some(left) => return usize::try_from(left).unwrap_or(usize::MAX),
            }
            more.await;
        }
    }

    fn event(&self, event: &SourceEvent) -> Result<()> {
        match event {
            SourceEvent::Records { generation, records } => self.hand_over(*generation, records),
            SourceEvent::Assigned(assignments) => {
                for assignment in assignments {
                    let held = Held { generation: assignment.generation, unfinished: 0 };
                    self.seen().held.insert(assignment.partition, held);
                    self.history.assigned(assignment.partition, assignment.generation)?;
                }
            }
            SourceEvent::Revoking(_) => {}
            SourceEvent::Lost(partitions) => {
                for partition in partitions {
                    self.note(format!("{}/{partition} went to another member, with what was unfinished", self.topic));
                    self.give_up(*partition, None)?;
                }
            }
            SourceEvent::Gap { partition, from, to } => {
                let last = Offset(to.0.saturating_sub(1));
                self.note(if last == *from {
                    format!("{}/{partition}: offset {from} is missing", self.topic)
                } else {
                    format!("{}/{partition}: offsets {from} to {last} are missing", self.topic)
                });
            }
        }
        Ok(())
    }

    fn hand_over(&self, generation: u64, records: &[Record]) {
        let (mut seen, count) = (self.seen(), records.len() as u64);
        let held = records.first().and_then(|record| seen.held.get_mut(&record.partition));
        // Those of an older assignment are dropped by whoever gets them.
        let Some(held) = held.filter(|held| held.generation == generation) else { return };
        held.unfinished += count;
        seen.left = seen.left.map(|left| left.saturating_sub(count));
    }

    /// A partition is not held any more, under this generation or any: what is unfinished comes again elsewhere.
    fn give_up(&self, partition: Partition, generation: Option<u64>) -> Result<()> {
        let mut seen = self.seen();
        let is_it = |held: &Held| generation.is_none_or(|generation| held.generation == generation);
        if !seen.held.get(&partition).is_some_and(is_it) {
            return Ok(());
        }
        let Some(held) = seen.held.remove(&partition) else { return Ok(()) };
        seen.left = seen.left.map(|left| left + held.unfinished);
        drop(seen);
        self.room.notify_one();
        self.history.revoked(partition, held.generation)
    }

    fn give_up_all(&self) -> Result<()> {
        let held: Vec<Partition> = self.seen().held.keys().copied().collect();
        held.into_iter().try_for_each(|partition| self.give_up(partition, None))
    }

    fn committed(&self, commit: &Commit, outcome: &Result<()>) -> Result<()> {
        self.history.committed(commit, outcome)?;
        match outcome {
            Err(error) if error.kind() == ErrorKind::Fenced => {
                self.note(format!("commit {}/{}: {error}", self.topic, commit.partition));
                self.give_up(commit.partition, Some(commit.generation))
            }
            Err(error) => {
                self.note(format!("commit {}/{}: {error}", self.topic, commit.partition));
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// A record is acked in the parking topic: no line comes for it.
    fn parked(&self, record: &Record, diagnosis: &Diagnosis, at: (&TopicName, &Ack)) -> Result<()> {
        self.history.parked(record, diagnosis, Some(at))?;
        let mut seen = self.seen();
        if let Some(held) = seen.held.get_mut(&record.partition) {
            held.unfinished = held.unfinished.saturating_sub(1);
        }
        seen.left = seen.left.map(|left| left + 1);
        seen.parked += 1;
        drop(seen);
        self.room.notify_one();
        Ok(())
    }

    fn note(&self, note: String) {
        let mut seen = self.seen();
        if seen.notes.len() < NOTES_WAITING_MAX {
            seen.notes.push(note);
        }
    }

    /// Remembers what the command has to end with.
    fn end(&self, error: &Error) {
        self.seen().ended.get_or_insert_with(|| error.clone());
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sink of a parking topic: the only one that a member has.
#[derive(Debug)]
struct WatchedSink {
    inner: Arc<dyn Sink>,
    topic: TopicName,
    watch: Arc<Watch>,
}

impl Sink for WatchedSink {
    fn offer(&self) -> SinkOffer {
        self.inner.offer()
    }

    fn publish(&self, batch: Batch) {
        let parked: Vec<_> =
            batch.records().map(|record| record_of(&record).as_ref().and_then(parked_record)).collect();
        let (watch, topic) = (Arc::clone(&self.watch), self.topic.clone());
        for (record, diagnosis) in parked.iter().flatten() {
            if let Err(error) = watch.history.parking(record, diagnosis) {
                watch.end(&error);
            }
        }
        // Told before progress can move.
        self.inner.publish(batch.map_outcomes(move |outcomes| {
            for (parked, outcome) in parked.iter().zip(&outcomes) {
                let Some((record, diagnosis)) = parked else { continue };
                let told = match outcome {
                    Ok(ack) => watch.parked(record, diagnosis, (&topic, ack)),
                    Err(_) => watch.history.parked(record, diagnosis, None),
                };
                if let Err(error) = told {
                    watch.end(&error);
                }
            }
            outcomes
        }));
    }

    fn trouble(&self) -> Option<Error> {
        self.inner.trouble()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.inner.close(deadline)
    }
}

fn record_of(record: &RecordRef<'_>) -> Option<Record> {
    Some(Record {
        partition: record.partition,
        offset: Offset(0),
        time: Timestamp::UNIX_EPOCH,
        key: Bytes::copy_from_slice(record.key),
        headers: Headers::decode(Bytes::copy_from_slice(record.header_block)).ok()?,
        body: Bytes::copy_from_slice(record.body),
    })
}

#[derive(Debug)]
struct WatchedSource(Arc<Watch>);

impl SourceLayer for WatchedSource {
    fn next<'a>(&'a self, inner: &'a dyn Source, records: usize, bytes: usize) -> BoxFuture<'a, Result<SourceEvent>> {
        Box::pin(async move {
            let room = self.0.room().await;
            let next = inner.next(records.min(room), bytes).await;
            let next = next.and_then(|event| self.0.event(&event).map(|()| event));
            if let Err(error) = &next
                && error.kind() != ErrorKind::Closed
            {
                self.0.end(error);
            }
            next
        })
    }

    fn commit<'a>(&'a self, inner: &'a dyn Source, commits: Vec<Commit>) -> BoxFuture<'a, Vec<Result<()>>> {
        Box::pin(async move {
            if let Err(error) = commits.iter().try_for_each(|commit| self.0.history.committing(commit)) {
                self.0.end(&error);
            }
            let outcomes = inner.commit(commits.clone()).await;
            for (commit, outcome) in commits.iter().zip(&outcomes) {
                if let Err(error) = self.0.committed(commit, outcome) {
                    self.0.end(&error);
                }
            }
            outcomes
        })
    }

    fn release<'a>(&'a self, inner: &'a dyn Source, partitions: Vec<(Partition, u64)>) -> BoxFuture<'a, Result<()>> {
        let given_up =
            partitions.iter().try_for_each(|(partition, generation)| self.0.give_up(*partition, Some(*generation)));
        if let Err(error) = given_up {
            self.0.end(&error);
        }
        inner.release(partitions)
    }

    fn close<'a>(&'a self, inner: &'a dyn Source, deadline: Instant) -> BoxFuture<'a, Result<()>> {
        if let Err(error) = self.0.give_up_all() {
            self.0.end(&error);
        }
        self.0.seen().source = None;
        inner.close(deadline)
    }
}

impl Layer for Watched {
    fn sink<'a>(&'a self, inner: &'a dyn Driver, request: SinkRequest) -> BoxFuture<'a, Result<Arc<dyn Sink>>> {
        Box::pin(async move {
            let topic = request.topic.name.clone();
            let inner = inner.sink(request).await?;
            Ok(Arc::new(WatchedSink { inner, topic, watch: Arc::clone(&self.0) }) as Arc<dyn Sink>)
        })
    }

    fn source<'a>(&'a self, inner: &'a dyn Driver, request: SourceRequest) -> BoxFuture<'a, Result<Arc<dyn Source>>> {
        Box::pin(async move {
            self.0.history.joining(&request.member);
            let inner = inner.source(request).await?;
            self.0.seen().source = Some(Arc::clone(&inner));
            Ok(WatchedSource(Arc::clone(&self.0)).over(inner))
        })
    }
}
