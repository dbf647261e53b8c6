//! The driver: everything but sinks and sources goes straight through.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{
    Bounds, BoxFuture, Capabilities, Driver, GroupName, Lag, Member, Offset, Partition, ReadRequest, Record, Result,
    Sink, SinkRequest, Source, SourceRequest, TopicInfo, TopicName, TopicSpec,
};

use tokio::time::Instant;

use super::control::{Control, Faults, Shape};
use super::life::Side;
use super::sink::FaultySink;
use super::source::FaultySource;

/// Wraps a driver so that a test can spoil what its sinks do, by [`Faults`].
///
/// Without orders it is the driver underneath: it passes the whole suite.
pub struct Faulty {
    inner: Arc<dyn Driver>,
    control: Arc<Control>,
}

impl Faulty {
    /// Wraps `inner`, with the limits of `shape`, and gives the remote control.
    pub fn wrap(inner: Arc<dyn Driver>, shape: Shape) -> (Arc<dyn Driver>, Faults) {
        let (faults, control) = Faults::new(shape);
        (Arc::new(Self { inner, control }), faults)
    }
}

impl Faulty {
    /// Trims the partition of this request to its last record.
    async fn trim_to_last(&self, topic: &TopicName, request: ReadRequest) -> Result<()> {
        let (mut from, mut last) = (request.from, None);
        loop {
            let page = self.inner.read(topic, ReadRequest { from, ..request }).await?;
            let Some(newest) = page.last().map(|record| record.offset) else { break };
            (from, last) = (newest.next(), Some(newest));
        }
        if let Some(last) = last {
            self.inner.trim(topic, request.partition, last).await?;
        }
        Ok(())
    }
}

impl Driver for Faulty {
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
        Box::pin(async move {
            self.control.life.pass_own(topic, "trim", Side::Before).await;
            let start = self.inner.trim(topic, partition, below).await;
            self.control.life.pass_own(topic, "trim", Side::After).await;
            start
        })
    }

    fn sink(&self, request: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>> {
        Box::pin(async {
            let inner = self.inner.sink(request).await?;
            let sink: Arc<dyn Sink> = Arc::new(FaultySink::new(inner, Arc::clone(&self.control)));
            Ok(sink)
        })
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        Box::pin(async {
            let inner = self.inner.source(request).await?;
            let source: Arc<dyn Source> = Arc::new(FaultySource::new(inner, Arc::clone(&self.control)));
            Ok(source)
        })
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        Box::pin(async move {
            self.control.life.pass_own(topic, "read", Side::Before).await;
            let mut records = self.inner.read(topic, request).await?;
            self.control.life.pass_own(topic, "read", Side::After).await;
            if !records.is_empty() && self.control.trims_behind(topic) {
                self.trim_to_last(topic, request).await?;
            }
            self.control.commits.spoil_read(&mut records);
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

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}
