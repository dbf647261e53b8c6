//! The reading end: one member of a group.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::driver::Shared;
use super::store::Store;
use crate::driver::{
    Assignment, BoxFuture, Commit, ReadRequest, Source, SourceEvent, SourceRequest, Start, source_closed,
};
use crate::error::{Error, Result};
use crate::topic::{Offset, Partition, not_owner, topic_not_found};

#[derive(Debug)]
pub(super) struct MemorySource {
    shared: Arc<Shared>,
    request: SourceRequest,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    closed: bool,
    reading: BTreeMap<Partition, Reading>,
    /// The partition after which the next look for records begins, so that each gets its turn.
    last: Partition,
}

#[derive(Debug)]
struct Reading {
    generation: u64,
    next: Offset,
    paused: bool,
    revoking: bool,
}

impl MemorySource {
    pub(super) fn join(shared: Arc<Shared>, request: SourceRequest) -> Result<Self> {
        shared.store()?.group(&request.group, &request.topic.name)?.join(&request.member);
        shared.changed.notify_waiters();
        Ok(Self { shared, request, held: Mutex::default() })
    }

    /// What there is to say at the moment.
    fn look(&self, records_max: usize, bytes_max: usize) -> Result<Option<SourceEvent>> {
        let mut store = self.shared.store()?;
        let mut held = self.held();
        if held.closed {
            return Err(source_closed());
        }
        let topic = &self.request.topic;
        if store.info(&topic.name)?.incarnation != topic.incarnation {
            return Err(topic_not_found(&topic.name));
        }
        let change = self.change(&mut store, &mut held)?;
        if change.is_some() || records_max == 0 {
            return Ok(change);
        }
        self.records(&store, &mut held, records_max, bytes_max)
    }

    fn change(&self, store: &mut Store, held: &mut Held) -> Result<Option<SourceEvent>> {
        let (topic, group) = (&self.request.topic.name, &self.request.group);
        let (take, give) = store.group(group, topic)?.changes(&self.request.member);
        let told = |partition: &Partition| held.reading.get(partition).is_none_or(|reading| reading.revoking);
        let give: Vec<Partition> = give.into_iter().filter(|partition| !told(partition)).collect();
        if !give.is_empty() {
            for partition in &give {
                if let Some(reading) = held.reading.get_mut(partition) {
                    reading.revoking = true;
                }
            }
            return Ok(Some(SourceEvent::Revoking(give)));
        }
        let mut assigned = Vec::new();
        for partition in take {
            let start = self.start(store, partition)?;
            let (generation, committed) = store.group(group, topic)?.take(&self.request.member, partition, start);
            held.reading.insert(partition, Reading { generation, next: committed, paused: false, revoking: false });
            assigned.push(Assignment { partition, generation, committed });
        }
        Ok((!assigned.is_empty()).then_some(SourceEvent::Assigned(assigned)))
    }

    /// Where this partition begins for a group without a committed offset.
    fn start(&self, store: &Store, partition: Partition) -> Result<Offset> {
        let topic = &self.request.topic.name;
        let bounds = store.bounds(topic, partition)?;
        Ok(match &self.request.start {
            Start::Earliest => bounds.start,
            Start::Latest => bounds.end,
            Start::Offsets(offsets) => {
                offsets.iter().find(|(named, _)| *named == partition).map_or(bounds.start, |(_, offset)| *offset)
            }
            Start::Time(time) => store.offset_at(topic, partition, *time)?,
        })
    }

    fn records(
        &self,
        store: &Store,
        held: &mut Held,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Option<SourceEvent>> {
        let last = held.last;
        let mut order: Vec<Partition> = held.reading.keys().copied().collect();
        let after = order.partition_point(|partition| *partition <= last);
        order.rotate_left(after);
        for partition in order {
            let Some(reading) = held.reading.get_mut(&partition) else { continue };
            if reading.paused || reading.revoking {
                continue;
            }
            let request = ReadRequest { partition, from: reading.next, to: Offset(u64::MAX), records_max, bytes_max };
            let start = store.bounds(&self.request.topic.name, partition)?.start;
            if start > reading.next {
                let from = std::mem::replace(&mut reading.next, start);
                return Ok(Some(SourceEvent::Gap { partition, from, to: start }));
            }
            let records = store.read(&self.request.topic.name, &request)?;
            let Some(newest) = records.last() else { continue };
            reading.next = newest.offset.next();
            let generation = reading.generation;
            held.last = partition;
            return Ok(Some(SourceEvent::Records { generation, records }));
        }
        Ok(None)
    }

    fn set_paused(&self, partitions: &[(Partition, u64)], paused: bool) {
        let mut held = self.held();
        for (partition, generation) in partitions {
            if let Some(reading) = held.reading.get_mut(partition).filter(|held| held.generation == *generation) {
                reading.paused = paused;
            }
        }
        drop(held);
        self.shared.changed.notify_waiters();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn group<T>(&self, ask: impl FnOnce(&mut super::groups::Group) -> T) -> Result<T> {
        Ok(ask(self.shared.store()?.group(&self.request.group, &self.request.topic.name)?))
    }

    fn leave(&self) {
        let mut held = self.held();
        if std::mem::replace(&mut held.closed, true) {
            return;
        }
        held.reading.clear();
        drop(held);
        // A topic that is gone has no group to leave.
        drop(self.group(|group| group.leave(&self.request.member)));
        self.shared.changed.notify_waiters();
    }
}

impl Source for MemorySource {
    fn next(&self, records_max: usize, bytes_max: usize) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async move {
            loop {
                let mut changed = pin!(self.shared.changed.notified());
                // Whatever changes after this line wakes the wait below.
                changed.as_mut().enable();
                if let Some(event) = self.look(records_max, bytes_max)? {
                    return Ok(event);
                }
                changed.await;
            }
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, Vec<Result<()>>> {
        let outcomes = commits.iter().map(|commit| self.group(|group| group.commit(commit)).flatten()).collect();
        Box::pin(async move { outcomes })
    }

    fn pause(&self, partitions: &[(Partition, u64)]) {
        self.set_paused(partitions, true);
    }

    fn resume(&self, partitions: &[(Partition, u64)]) {
        self.set_paused(partitions, false);
    }

    fn seek(&self, partition: Partition, generation: u64, offset: Offset) -> BoxFuture<'_, Result<()>> {
        let mut held = self.held();
        let reading = held.reading.get_mut(&partition).filter(|held| held.generation == generation && !held.revoking);
        let owned = reading.map(|reading| reading.next = offset).ok_or_else(|| not_owner(partition));
        drop(held);
        self.shared.changed.notify_waiters();
        Box::pin(async move { owned })
    }

    fn holds_until(&self) -> Option<Instant> {
        None
    }

    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>> {
        // Before others may take them, and only under these generations: this member may take one again at once.
        let is_it = |partition: &Partition, reading: &Reading| partitions.contains(&(*partition, reading.generation));
        self.held().reading.retain(|partition, reading| !is_it(partition, reading));
        let released = self.group(|group| {
            partitions.iter().for_each(|(partition, generation)| group.release(*partition, *generation));
        });
        self.shared.changed.notify_waiters();
        Box::pin(async move { released })
    }

    fn trouble(&self) -> Option<Error> {
        None
    }

    fn close(&self, _deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.leave();
        Box::pin(async { Ok(()) })
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.leave();
    }
}
