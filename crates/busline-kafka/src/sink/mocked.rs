//! A bus whose publishers write to the C library's own mock of a cluster, which answers as a test wants.

use std::sync::Arc;
use std::time::Duration;

use busline_core::{
    BoxFuture, Bus, Driver, Durability, Layer, Layered, Medium, MemoryDriver, Offset, Positions, Result, Sink,
    SinkRequest, TopicSpec, blocking,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset as KafkaOffset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::{KafkaSink, SinkTopic};
use crate::clients::Clients;
use crate::config::KafkaConfig;

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
        let mut config = KafkaConfig::new([self.bootstrap()]);
        // What is published together is to go in one request: the mock takes the successors of a request that it refused.
        config.properties.insert("linger.ms".into(), "50".into());
        let clients = Arc::new(blocking(move || Clients::new(config)).await.expect("clients"));
        let name = TOPIC.parse().expect("a name");
        let spec = TopicSpec { partitions, ..TopicSpec::default() };
        let others = MemoryDriver::new();
        // With the id of the memory, since the mock answers no question for ids.
        let info = others.create_topic(&name, &spec).await.expect("a topic");
        let durability = Durability::one(Medium::Written);
        let topic = SinkTopic { info, durability, message_bytes_max: 1_048_588, requests_max: 1, positions };
        Bus::new(Arc::new(Layered::new(Arc::new(others), Publishing { clients, topic })))
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

/// Publishes to the mock; the driver underneath answers for everything else.
#[derive(Debug)]
struct Publishing {
    clients: Arc<Clients>,
    topic: SinkTopic,
}

impl Layer for Publishing {
    fn sink<'a>(&'a self, _: &'a dyn Driver, _: SinkRequest) -> BoxFuture<'a, Result<Arc<dyn Sink>>> {
        let (clients, topic) = (Arc::clone(&self.clients), self.topic.clone());
        let anchors = vec![Offset(0); topic.info.spec.partitions as usize];
        Box::pin(async move {
            let sink = blocking(move || KafkaSink::open(clients, topic, anchors)).await?;
            Ok(Arc::new(sink) as Arc<dyn Sink>)
        })
    }
}
