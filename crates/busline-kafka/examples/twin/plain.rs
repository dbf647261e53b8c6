//! Publishing and consuming by plain clients with the settings of the driver's.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use busline_core::{Envelope, Partition, decode};
use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};

use crate::events::{self, Made};
use crate::run::{Broker, Run, Watch};

pub(crate) type Outcome = Result<Run, Box<dyn Error>>;

/// The publisher's default window.
const WINDOW: &str = "8192";
const FULL: Duration = Duration::from_micros(50);

/// Counts the acked, and wakes who waits for each one.
struct Counter {
    acked: Arc<AtomicUsize>,
    wakes: Option<Thread>,
}

impl ClientContext for Counter {}

impl ProducerContext<NoCustomPartitioner> for Counter {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.acked.fetch_add(usize::from(result.is_ok()), Ordering::Release);
        if let Some(thread) = &self.wakes {
            thread.unpark();
        }
    }
}

/// A producer that polls by itself and only counts.
struct Counting {
    producer: ThreadedProducer<Counter>,
    acked: Arc<AtomicUsize>,
    topic: String,
    sent: usize,
}

impl Counting {
    fn open(bootstrap: &str, topic: &str, wakes: Option<Thread>) -> Result<Self, Box<dyn Error>> {
        let acked = Arc::new(AtomicUsize::new(0));
        let context = Counter { acked: Arc::clone(&acked), wakes };
        let producer = settings(bootstrap).set("queue.buffering.max.messages", WINDOW).create_with_context(context)?;
        let mut counting = Self { producer, acked, topic: topic.to_owned(), sent: 0 };
        // The client has its producer id and its metadata before time is taken.
        counting.send(Partition(0), b"first", b"first")?;
        counting.wait();
        Ok(counting)
    }

    fn send(&mut self, partition: Partition, key: &[u8], body: &[u8]) -> Result<(), KafkaError> {
        loop {
            let record: BaseRecord<'_, [u8], [u8]> =
                BaseRecord::to(&self.topic).partition(partition.0 as i32).key(key).payload(body);
            match self.producer.send(record) {
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => thread::park_timeout(FULL),
                sent => {
                    self.sent += 1;
                    return sent.map_err(|(error, _)| error);
                }
            }
        }
    }

    fn wait(&self) {
        while self.acked.load(Ordering::Acquire) < self.sent {
            thread::park_timeout(FULL);
        }
    }
}

pub(crate) fn settings(bootstrap: &str) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("linger.ms", "0")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000");
    settings
}

/// Each envelope is encoded in the loop.
pub(crate) fn publish(bootstrap: &str, broker: Broker, topic: &str, envelopes: Vec<Envelope>) -> Outcome {
    let mut counting = Counting::open(bootstrap, topic, None)?;
    let (events, source, mut body) = (envelopes.len(), events::source(topic), Vec::new());
    let watch = Watch::start(broker);
    for envelope in envelopes {
        let partition = events::encode(&envelope, &source, &mut body)?;
        counting.send(partition, envelope.aggregate_id.as_bytes(), &body)?;
    }
    counting.wait();
    Ok(watch.stop(events))
}

/// The bodies are made before.
pub(crate) fn publish_made(bootstrap: &str, broker: Broker, topic: &str, made: &[Made]) -> Outcome {
    let mut counting = Counting::open(bootstrap, topic, None)?;
    let watch = Watch::start(broker);
    for made in made {
        counting.send(made.partition, made.key.as_bytes(), &made.body)?;
    }
    counting.wait();
    Ok(watch.stop(made.len()))
}

/// One at a time; its report wakes the caller.
pub(crate) fn publish_sync(bootstrap: &str, broker: Broker, topic: &str, envelopes: Vec<Envelope>) -> Outcome {
    let mut counting = Counting::open(bootstrap, topic, Some(thread::current()))?;
    let (events, source, mut body) = (envelopes.len(), events::source(topic), Vec::new());
    let mut watch = Watch::start(broker);
    for envelope in envelopes {
        let sent = Instant::now();
        let partition = events::encode(&envelope, &source, &mut body)?;
        counting.send(partition, envelope.aggregate_id.as_bytes(), &body)?;
        while counting.acked.load(Ordering::Acquire) < counting.sent {
            thread::park();
        }
        watch.took(sent.elapsed());
    }
    Ok(watch.stop(events))
}

/// From the first record to the last, each one decoded.
pub(crate) fn consume(bootstrap: &str, broker: Broker, topic: &str, events: usize) -> Outcome {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", format!("{topic}..plain"))
        .set("group.protocol", "consumer")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "100")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "20")
        .create()?;
    consumer.subscribe(&[topic])?;
    let (mut read, mut watch) = (0, None);
    while read < events {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        watch.get_or_insert_with(|| Watch::start(broker));
        let body = Bytes::copy_from_slice(message.payload().unwrap_or_default());
        let envelope = decode(&body, String::new)?;
        assert!(!envelope.aggregate_id.is_empty(), "an envelope of the bus");
        read += 1;
    }
    Ok(watch.map_or_else(|| Watch::start(broker).stop(events), |watch| watch.stop(events)))
}
