//! The three brokers that all tests of this process share, one at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use busline_brokers::kafka::{Cluster, Options};
use busline_core::{Driver, TopicName, TopicSpec};
use busline_kafka::{KafkaConfig, KafkaDriver};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::load::PARTITIONS;

const NODES: usize = 3;

/// Three brokers, all of them at work.
pub(crate) async fn cluster() -> MutexGuard<'static, Arc<Cluster>> {
    static CLUSTER: OnceCell<Mutex<Arc<Cluster>>> = OnceCell::const_new();
    let start = || async {
        let cluster = off_the_runtime(|| Cluster::start(&Options::default())).await.expect("three brokers start");
        Mutex::new(Arc::new(cluster))
    };
    CLUSTER.get_or_init(start).await.lock().await
}

/// Runs what blocks until another process has done its part.
pub(crate) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}

/// A new topic of three copies.
pub(crate) async fn create(cluster: &Cluster, topic: &str) {
    let driver = KafkaDriver::open(KafkaConfig::new(cluster.bootstrap().split(','))).await.expect("the brokers answer");
    let spec = TopicSpec { partitions: PARTITIONS, replicas: 3, ..TopicSpec::default() };
    driver.create_topic(&TopicName::new(topic).expect("legal"), &spec).await.expect("a new topic");
    driver.close(tokio::time::Instant::now() + Duration::from_secs(10)).await.expect("closes");
}

/// Waits until every copy of the topic is in sync again, so that the next fault is the only one.
pub(crate) async fn in_sync(cluster: &Cluster, topic: &str) {
    let (bootstrap, topic) = (cluster.bootstrap(), topic.to_owned());
    off_the_runtime(move || wait_in_sync(&bootstrap, &topic)).await;
}

/// The place in the cluster of the broker that leads the first partition.
pub(crate) async fn leader(cluster: &Cluster, topic: &str) -> usize {
    let (bootstrap, topic) = (cluster.bootstrap(), topic.to_owned());
    let leader = off_the_runtime(move || {
        let metadata = client(&bootstrap).fetch_metadata(Some(&topic), Duration::from_secs(20)).expect("metadata");
        metadata.topics()[0].partitions()[0].leader()
    });
    usize::try_from(leader.await - 1).expect("it has a leader")
}

fn wait_in_sync(bootstrap: &str, topic: &str) {
    let (client, start) = (client(bootstrap), Instant::now());
    loop {
        assert!(start.elapsed() < Duration::from_secs(120), "the copies do not catch up");
        let Ok(metadata) = client.fetch_metadata(Some(topic), Duration::from_secs(10)) else { continue };
        let partitions = metadata.topics()[0].partitions();
        if partitions.len() == PARTITIONS as usize && partitions.iter().all(|one| one.isr().len() == NODES) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn client(bootstrap: &str) -> BaseConsumer {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("a plain client")
}
