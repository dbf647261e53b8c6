//! Buses whose stores or deliveries break one envelope in a thousand; everything else goes straight through.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busline::{
    Bounds, BoxFuture, Bus, Capabilities, Commit, Driver, Error, GroupName, Lag, Member, MemoryDriver, Offset,
    Partition, ReadRequest, Record, Result, Sink, SinkRequest, Source, SourceEvent, SourceRequest, TopicInfo,
    TopicName, TopicSpec,
};
use busline_bench::Connect;
use tokio::time::Instant;

use super::fault::{Breaker, Fault};

/// Where envelopes are broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In what is found stored.
    Store,
    /// On the way to a group.
    Delivery,
}

/// Opens a broken bus in memory for each run.
#[derive(Debug)]
pub(crate) struct BrokenBuses {
    pub(crate) place: Place,
    pub(crate) fault: Option<Fault>,
}

impl Connect for BrokenBuses {
    fn connect<'a>(&'a self, _url: &'a str) -> BoxFuture<'a, Result<Bus>> {
        Box::pin(async {
            let at = |place| Arc::new(Spot::new(self.fault.filter(|_| self.place == place)));
            let inner: Arc<dyn Driver> = Arc::new(MemoryDriver::new());
            let driver = BrokenDriver { inner, store: at(Place::Store), delivery: at(Place::Delivery) };
            Ok(Bus::new(Arc::new(driver)))
        })
    }
}

/// A spot that records pass.
#[derive(Debug)]
struct Spot(Option<Mutex<Breaker>>);

impl Spot {
    fn new(fault: Option<Fault>) -> Self {
        Self(fault.map(|fault| Mutex::new(Breaker::new(fault))))
    }

    fn pass(&self, records: &mut Vec<Record>) {
        if let Some(breaker) = &self.0 {
            breaker.lock().unwrap_or_else(PoisonError::into_inner).pass(records);
        }
    }
}

#[derive(Debug)]
struct BrokenDriver {
    inner: Arc<dyn Driver>,
    store: Arc<Spot>,
    delivery: Arc<Spot>,
}

impl Driver for BrokenDriver {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn patience(&self) -> Duration {
        self.inner.patience()
    }

    fn create_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        self.inner.create_topic(name, spec)
    }

    fn update_topic<'a>(&'a self, name: &'a TopicName, spec: &'a TopicSpec) -> BoxFuture<'a, Result<TopicInfo>> {
        self.inner.update_topic(name, spec)
    }

    fn topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<TopicInfo>> {
        self.inner.topic(name)
    }

    fn topics(&self) -> BoxFuture<'_, Result<Vec<TopicInfo>>> {
        self.inner.topics()
    }

    fn delete_topic<'a>(&'a self, name: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        self.inner.delete_topic(name)
    }

    fn trim<'a>(&'a self, topic: &'a TopicName, partition: Partition, below: Offset) -> BoxFuture<'a, Result<Offset>> {
        self.inner.trim(topic, partition, below)
    }

    fn sink(&self, request: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>> {
        self.inner.sink(request)
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        Box::pin(async {
            let inner = self.inner.source(request).await?;
            let source: Arc<dyn Source> = Arc::new(BrokenSource { inner, breaker: Arc::clone(&self.delivery) });
            Ok(source)
        })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let mut records = self.inner.read(topic, request).await?;
            self.store.pass(&mut records);
            Ok(records)
        })
    }

    fn bounds<'a>(&'a self, topic: &'a TopicName, partition: Partition) -> BoxFuture<'a, Result<Bounds>> {
        self.inner.bounds(topic, partition)
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: jiff::Timestamp,
    ) -> BoxFuture<'a, Result<Offset>> {
        self.inner.offset_at(topic, partition, time)
    }

    fn committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
    ) -> BoxFuture<'a, Result<Vec<Option<Offset>>>> {
        self.inner.committed(group, topic)
    }

    fn lag<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Lag>>> {
        self.inner.lag(group, topic)
    }

    fn move_committed<'a>(
        &'a self,
        group: &'a GroupName,
        topic: &'a TopicName,
        to: &'a [(Partition, Offset)],
    ) -> BoxFuture<'a, Result<()>> {
        self.inner.move_committed(group, topic, to)
    }

    fn delete_group<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<()>> {
        self.inner.delete_group(group, topic)
    }

    fn groups(&self) -> BoxFuture<'_, Result<Vec<(GroupName, TopicName)>>> {
        self.inner.groups()
    }

    fn members<'a>(&'a self, group: &'a GroupName, topic: &'a TopicName) -> BoxFuture<'a, Result<Vec<Member>>> {
        self.inner.members(group, topic)
    }

    fn probe(&self) -> BoxFuture<'_, Result<()>> {
        self.inner.probe()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.inner.close(deadline)
    }
}

#[derive(Debug)]
struct BrokenSource {
    inner: Arc<dyn Source>,
    breaker: Arc<Spot>,
}

impl Source for BrokenSource {
    fn next(&self, records_max: usize, bytes_max: usize) -> BoxFuture<'_, Result<SourceEvent>> {
        Box::pin(async move {
            loop {
                let mut event = self.inner.next(records_max, bytes_max).await?;
                let SourceEvent::Records { records, .. } = &mut event else { return Ok(event) };
                self.breaker.pass(records);
                if !records.is_empty() {
                    return Ok(event);
                }
            }
        })
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, Vec<Result<()>>> {
        self.inner.commit(commits)
    }

    fn pause(&self, partitions: &[(Partition, u64)]) {
        self.inner.pause(partitions);
    }

    fn resume(&self, partitions: &[(Partition, u64)]) {
        self.inner.resume(partitions);
    }

    fn seek(&self, partition: Partition, generation: u64, offset: Offset) -> BoxFuture<'_, Result<()>> {
        self.inner.seek(partition, generation, offset)
    }

    fn holds_until(&self) -> Option<Instant> {
        self.inner.holds_until()
    }

    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>> {
        self.inner.release(partitions)
    }

    fn trouble(&self) -> Option<Error> {
        self.inner.trouble()
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.inner.close(deadline)
    }
}
