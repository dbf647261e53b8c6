//! A bus whose publishers write to the C library's own mock of a cluster, which answers as a test wants.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{
    Bounds, BoxFuture, Bus, Capabilities, Driver, Durability, GroupName, Lag, Medium, Member, MemoryDriver, Offset,
    Partition, Positions, ReadRequest, Record, Result, Sink, SinkRequest, Source, SourceRequest, TopicInfo, TopicName,
    TopicSpec,
};
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::Instant;

use super::{KafkaSink, SinkTopic};
use crate::clients::{Clients, blocking};
use crate::config::KafkaConfig;
use crate::native;

pub(super) const TOPIC: &str = "outcomes";

/// A cluster of one broker with one topic of one partition.
pub(super) struct Mocked {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Mocked {
    pub(super) fn start() -> Self {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(TOPIC, 1, 1).expect("a topic");
        Self { cluster }
    }

    /// The next requests with records are answered with these errors, one each.
    pub(super) fn refuse(&self, codes: &[RDKafkaRespErr]) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, codes);
    }

    /// Requests with records are answered as usual.
    pub(super) fn refuse_no_more(&self) {
        self.cluster.clear_request_errors(RDKafkaApiKey::Produce);
    }

    /// A bus that publishes here. Its topic has one partition, and `partitions` for its publishers.
    pub(super) async fn bus(&self, partitions: u32, positions: Positions) -> Bus {
        let config = KafkaConfig::new([self.bootstrap()]);
        let clients = blocking(move || Clients::new(config)).await.expect("clients");
        let asked = clients.native().expect("a client");
        let found = blocking(move || native::describe_topics(&asked, &[TOPIC], Duration::from_secs(5))).await;
        let incarnation = found.ok().and_then(|mut found| found.pop()?.ok()).map(|found| found.id).unwrap_or_default();
        let spec = TopicSpec { partitions, ..TopicSpec::default() };
        let topic = TopicInfo { name: TOPIC.parse().expect("a name"), spec, incarnation };
        let driver = MockedDriver { inner: MemoryDriver::new(), clients: Arc::new(clients), topic, positions };
        Bus::new(Arc::new(driver))
    }

    pub(super) fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}

/// The bodies that stand in the log, in order. Blocks.
pub(super) fn stored(bootstrap: &str) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .expect("a consumer");
    let wait = Duration::from_secs(10);
    let (first, end) = consumer.fetch_watermarks(TOPIC, 0, wait).expect("the end of the log");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, KafkaOffset::Offset(first)).expect("a partition");
    consumer.assign(&list).expect("assigned");
    let mut stored = Vec::new();
    while (stored.len() as i64) < end - first {
        let message = consumer.poll(wait).expect("in time").expect("no error");
        stored.push(message.payload().unwrap_or_default().to_vec());
    }
    stored
}

#[derive(Debug)]
struct MockedDriver {
    /// What answers for everything but publishing.
    inner: MemoryDriver,
    clients: Arc<Clients>,
    topic: TopicInfo,
    positions: Positions,
}

impl Driver for MockedDriver {
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

    fn topic<'a>(&'a self, _: &'a TopicName) -> BoxFuture<'a, Result<TopicInfo>> {
        Box::pin(std::future::ready(Ok(self.topic.clone())))
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

    fn sink(&self, _: SinkRequest) -> BoxFuture<'_, Result<Arc<dyn Sink>>> {
        let topic = SinkTopic {
            info: self.topic.clone(),
            durability: Durability::one(Medium::Written),
            message_bytes_max: 1_048_588,
            positions: self.positions,
        };
        let clients = Arc::clone(&self.clients);
        let anchors = vec![Offset(0); self.topic.spec.partitions as usize];
        Box::pin(async move {
            let sink = blocking(move || KafkaSink::open(clients, topic, anchors)).await?;
            Ok(Arc::new(sink) as Arc<dyn Sink>)
        })
    }

    fn source(&self, request: SourceRequest) -> BoxFuture<'_, Result<Arc<dyn Source>>> {
        self.inner.source(request)
    }

    fn read<'a>(&'a self, topic: &'a TopicName, request: ReadRequest) -> BoxFuture<'a, Result<Vec<Record>>> {
        self.inner.read(topic, request)
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
        let clients = Arc::clone(&self.clients);
        Box::pin(blocking(move || {
            clients.close(deadline.into_std());
            Ok(())
        }))
    }
}
