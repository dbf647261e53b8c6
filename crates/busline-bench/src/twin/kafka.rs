//! The twin of the Kafka driver: raw rdkafka, one loop, one idempotent producer whose own thread hears the acks.
//!
//! It sends the bytes that the bus sends to the partitions of topics made by the driver, with the settings of the
//! driver's producer; as many acks are awaited at once as the bus's windows hold together. It gives up on nothing,
//! reports no outcome to anybody and settles no batches: what the bus does beyond this is what the comparison is about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use busline::{Bus, KafkaConfig, KafkaDriver, TopicSpec};
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};

use super::came_to::{Bodies, TwinRun};
use super::made::Made;
use super::on_server::{Window, stored_by};
use crate::connect::CLOSE_MAX;
use crate::latency::Latencies;
use crate::place::Stage;
use crate::workload::Workload;

/// Longest wait for an ack: that of the bus.
const ACK_MAX: Duration = Duration::from_secs(30);

/// Stores the workload's events on topics of its own, has them judged as those of the bus are, and deletes the topics.
///
/// # Errors
/// An ack that does not come; anything lost, doubled or reordered.
pub(crate) async fn run(stage: &Stage, workload: &Workload, bodies: Bodies) -> Result<TwinRun> {
    let config = KafkaConfig::parse(&stage.url)?;
    let bus = Bus::new(Arc::new(KafkaDriver::open(config.clone()).await?));
    let stored = stored_by(&bus, stage, workload, bodies, || Acks::new(&config, &stage.topics, workload)).await;
    bus.close(CLOSE_MAX).await?;
    stored
}

/// A client with the brokers and the properties of this URL.
pub(crate) fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", config.servers.join(","));
    for (name, value) in &config.properties {
        client.set(name, value);
    }
    client
}

/// A producer for so many topics with the settings of the bus's: it keeps the order, gives up on nothing and may hold a
/// whole burst. Half as many requests as partitions are on their way, as with the bus, for all its topics together.
pub(crate) fn producer(config: &KafkaConfig, topics: usize) -> ClientConfig {
    let partitions = topics * TopicSpec::default().partitions as usize;
    let mut client = client(config);
    if !config.properties.contains_key("linger.ms") {
        client.set("linger.ms", "0");
    }
    client
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("max.in.flight.requests.per.connection", (partitions / 2).clamp(1, 5).to_string())
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", "10000000")
        .set("queue.buffering.max.kbytes", "2097151");
    client
}

/// Waits until the client can be expected to send at once, as the bus's own does when it is opened: by itself a client asks
/// for its producer id half a second after it was made, and with its first metadata at once. What it is told of a topic that
/// it was not asked to send to it forgets, and would look for the topic's leaders up to a second later; where it has asked
/// them something, it keeps who they are.
pub(crate) fn warm<C: ClientContext>(client: &Client<C>, topics: &[String]) -> Result<()> {
    for topic in topics.iter().take(1).chain(topics) {
        client.fetch_metadata(Some(topic), ACK_MAX).context("the metadata of a topic")?;
    }
    for topic in topics {
        client.fetch_watermarks(topic, 0, ACK_MAX).context("the first partition of a topic")?;
    }
    Ok(())
}

/// The headers of a message as the client has them.
pub(crate) fn headers(made: &Made) -> OwnedHeaders {
    let list = OwnedHeaders::new_with_capacity(made.headers.iter().len());
    let all = made.headers.iter();
    all.fold(list, |list, header| list.insert(Header { key: &header.name, value: Some(&header.value[..]) }))
}

/// Counts acks, and wakes the loop that waits for them.
struct Heard {
    acked: AtomicU64,
    failed: AtomicU64,
    loops: Thread,
}

struct Hearing(Arc<Heard>);

impl ClientContext for Hearing {}

impl ProducerContext<NoCustomPartitioner> for Hearing {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.0.acked } else { &self.0.failed };
        count.fetch_add(1, Ordering::Release);
        self.0.loops.unpark();
    }
}

struct Acks<'t> {
    producer: ThreadedProducer<Hearing>,
    heard: Arc<Heard>,
    topics: &'t [String],
    size: u64,
    sent: u64,
    is_sync: bool,
    latencies: Latencies,
}

impl<'t> Acks<'t> {
    fn new(config: &KafkaConfig, topics: &'t [String], workload: &Workload) -> Result<Self> {
        let heard = Arc::new(Heard { acked: AtomicU64::new(0), failed: AtomicU64::new(0), loops: thread::current() });
        let is_sync = workload.mode.waits_for_each();
        let size = if is_sync { 1 } else { (workload.window_envelopes * workload.topics) as u64 };
        let producer: ThreadedProducer<Hearing> = producer(config, topics.len())
            .create_with_context(Hearing(Arc::clone(&heard)))
            .context("the twin's producer")?;
        warm(producer.client(), topics)?;
        Ok(Self { producer, heard, topics, size, sent: 0, is_sync, latencies: Latencies::default() })
    }

    /// Waits until no more than `left` acks are missing.
    fn wait_until(&self, left: u64) -> Result<()> {
        let end = Instant::now() + ACK_MAX;
        while self.sent - self.heard.acked.load(Ordering::Acquire) > left {
            ensure!(self.heard.failed.load(Ordering::Acquire) == 0, "a message of the twin failed");
            ensure!(Instant::now() < end, "an ack of the twin did not come within {ACK_MAX:?}");
            thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    }

    fn send(&mut self, made: &Made) -> Result<()> {
        let Made { topic, partition, key, body, .. } = made;
        let message: BaseRecord<'_, str, [u8]> =
            BaseRecord::to(&self.topics[*topic]).partition(*partition as i32).key(key.as_str()).payload(&body[..]);
        let mut message = Some(if made.headers.is_empty() { message } else { message.headers(headers(made)) });
        while let Some(next) = message.take() {
            match self.producer.send(next) {
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    thread::park_timeout(Duration::from_micros(50));
                    message = Some(again);
                }
                sent => sent.map_err(|(error, _)| error).context("the twin's publish")?,
            }
        }
        self.sent += 1;
        Ok(())
    }
}

impl Window for Acks<'_> {
    async fn send_all(&mut self, made: impl Iterator<Item = Made>) -> Result<u64> {
        let before = self.sent;
        for made in made {
            self.wait_until(self.size - 1)?;
            let called = Instant::now();
            self.send(&made)?;
            if self.is_sync {
                self.wait_until(0)?;
                self.latencies.record(called.elapsed(), 1);
            }
        }
        Ok(self.sent - before)
    }

    async fn wait_for_all(&mut self) -> Result<()> {
        self.wait_until(0)
    }

    fn latencies(self) -> Latencies {
        // All is acked: nothing is left to wait for.
        drop(self.producer.flush(ACK_MAX));
        self.latencies
    }
}
