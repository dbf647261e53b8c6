//! A backend behind a layer that sees or changes what goes through it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::capabilities::Capabilities;
use crate::driver::{
    BoxFuture, Commit, Driver, Lag, Member, ReadRequest, Sink, SinkRequest, Source, SourceEvent, SourceRequest,
};
use crate::error::{Error, Result};
use crate::record::Record;
use crate::topic::{Bounds, GroupName, Offset, Partition, TopicInfo, TopicName, TopicSpec};

/// What a layer does to the calls that records go through; it asks the backend underneath itself. What it does nothing to
/// goes straight through.
pub trait Layer: Send + Sync + fmt::Debug {
    /// As [`Driver::sink`].
    fn sink<'a>(&'a self, inner: &'a dyn Driver, request: SinkRequest) -> BoxFuture<'a, Result<Arc<dyn Sink>>> {
        inner.sink(request)
    }

    /// As [`Driver::source`].
    fn source<'a>(&'a self, inner: &'a dyn Driver, request: SourceRequest) -> BoxFuture<'a, Result<Arc<dyn Source>>> {
        inner.source(request)
    }

    /// As [`Driver::read`].
    fn read<'a>(
        &'a self,
        inner: &'a dyn Driver,
        topic: &'a TopicName,
        request: ReadRequest,
    ) -> BoxFuture<'a, Result<Vec<Record>>> {
        inner.read(topic, request)
    }
}

/// What a layer does to one source: to what a member of a group reads, commits and gives up. As with [`Layer`], it asks the
/// source underneath itself, and what it does nothing to goes straight through.
pub trait SourceLayer: Send + Sync + fmt::Debug + Sized + 'static {
    /// As [`Source::next`].
    fn next<'a>(&'a self, inner: &'a dyn Source, records: usize, bytes: usize) -> BoxFuture<'a, Result<SourceEvent>>;

    /// As [`Source::commit`].
    fn commit<'a>(&'a self, inner: &'a dyn Source, commits: Vec<Commit>) -> BoxFuture<'a, Vec<Result<()>>> {
        inner.commit(commits)
    }

    /// As [`Source::release`].
    fn release<'a>(&'a self, inner: &'a dyn Source, partitions: Vec<(Partition, u64)>) -> BoxFuture<'a, Result<()>> {
        inner.release(partitions)
    }

    /// As [`Source::close`].
    fn close<'a>(&'a self, inner: &'a dyn Source, deadline: Instant) -> BoxFuture<'a, Result<()>> {
        inner.close(deadline)
    }

    /// This source behind this layer.
    fn over(self, inner: Arc<dyn Source>) -> Arc<dyn Source> {
        Arc::new(Layered { inner, layer: self })
    }
}

/// A backend behind a layer, and a backend itself: what the layer has no word in goes straight through. Likewise a source.
#[derive(Debug)]
pub struct Layered<L, I: ?Sized = dyn Driver> {
    inner: Arc<I>,
    layer: L,
}

impl<L: Layer> Layered<L> {
    /// Puts this layer over this backend.
    pub fn new(inner: Arc<dyn Driver>, layer: L) -> Self {
        Self { inner, layer }
    }
}

impl<L: Layer> Driver for Layered<L> {
    fn sink(&self, request: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>> {
        self.layer.sink(&*self.inner, request)
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        self.layer.source(&*self.inner, request)
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        self.layer.read(&*self.inner, topic, request)
    }

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

    fn bounds<'a>(&'a self, topic: &'a TopicName, partition: Partition) -> BoxFuture<'a, Result<Bounds>> {
        self.inner.bounds(topic, partition)
    }

    fn offset_at<'a>(
        &'a self,
        topic: &'a TopicName,
        partition: Partition,
        time: Timestamp,
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

impl<L: SourceLayer> Source for Layered<L, dyn Source> {
    fn next(&self, records_max: usize, bytes_max: usize) -> BoxFuture<'_, Result<SourceEvent>> {
        self.layer.next(&*self.inner, records_max, bytes_max)
    }

    fn commit(&self, commits: Vec<Commit>) -> BoxFuture<'_, Vec<Result<()>>> {
        self.layer.commit(&*self.inner, commits)
    }

    fn release(&self, partitions: Vec<(Partition, u64)>) -> BoxFuture<'_, Result<()>> {
        self.layer.release(&*self.inner, partitions)
    }

    fn close(&self, deadline: Instant) -> BoxFuture<'_, Result<()>> {
        self.layer.close(&*self.inner, deadline)
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

    fn trouble(&self) -> Option<Error> {
        self.inner.trouble()
    }
}
