//! A driver in front of another one: everything goes straight through but sinks, sources and reads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use busline::{
    Bounds, BoxFuture, Capabilities, Driver, GroupName, Lag, Member, Offset, Partition, ReadRequest, Record, Result,
    Sink, SinkRequest, Source, SourceRequest, TopicInfo, TopicName, TopicSpec,
};
use tokio::time::Instant;

/// What a wrapper does to what passes.
pub(crate) trait Wrap: Send + Sync + fmt::Debug {
    /// Puts something in front of a sink.
    fn sink(&self, inner: Arc<dyn Sink>) -> Arc<dyn Sink>;

    /// Puts something in front of a source.
    fn source(&self, inner: Arc<dyn Source>) -> Arc<dyn Source>;

    /// Changes what was read without a group.
    fn read(&self, records: &mut Vec<Record>);
}

/// The driver in front.
#[derive(Debug)]
pub(crate) struct WrappedDriver<W> {
    pub(crate) inner: Arc<dyn Driver>,
    pub(crate) wrap: W,
}

impl<W: Wrap> Driver for WrappedDriver<W> {
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
        Box::pin(async { Ok(self.wrap.sink(self.inner.sink(request).await?)) })
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        Box::pin(async { Ok(self.wrap.source(self.inner.source(request).await?)) })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            let mut records = self.inner.read(topic, request).await?;
            self.wrap.read(&mut records);
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
