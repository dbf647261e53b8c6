//! Publishing and consuming by plain clients with the settings of the driver's.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use busline_core::{Record, decode};
use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};

use crate::run::{Run, Watch};

/// The publisher's default window.
const WINDOW: &str = "8192";
const FULL: Duration = Duration::from_micros(50);

/// Counts the acked.
struct Counter(Arc<AtomicUsize>);

impl ClientContext for Counter {}

impl ProducerContext<NoCustomPartitioner> for Counter {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(usize::from(result.is_ok()), Ordering::Release);
    }
}

/// These records again and again.
pub(crate) fn publish(bootstrap: &str, topic: &str, records: &[Record], events: usize) -> Result<Run, Box<dyn Error>> {
    let acked = Arc::new(AtomicUsize::new(0));
    let producer: ThreadedProducer<Counter> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("enable.gapless.guarantee", "true")
        .set("acks", "all")
        .set("message.timeout.ms", "0")
        .set("linger.ms", "0")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "10000")
        .set("queue.buffering.max.messages", WINDOW)
        .create_with_context(Counter(Arc::clone(&acked)))?;
    for record in records.iter().take(1) {
        // The client has its producer id and its metadata before time is taken.
        send(&producer, topic, record)?;
    }
    wait(&acked, 1);
    let watch = Watch::start();
    for record in records.iter().cycle().take(events) {
        send(&producer, topic, record)?;
    }
    wait(&acked, events + 1);
    Ok(watch.stop(events))
}

fn send(producer: &ThreadedProducer<Counter>, topic: &str, record: &Record) -> Result<(), KafkaError> {
    loop {
        let mut message: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(topic).partition(record.partition.0 as i32).key(&record.key[..]).payload(&record.body[..]);
        if !record.headers.is_empty() {
            let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, header| {
                headers.insert(Header { key: &header.name, value: Some(&header.value[..]) })
            });
            message = message.headers(headers);
        }
        match producer.send(message) {
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => thread::park_timeout(FULL),
            sent => return sent.map_err(|(error, _)| error),
        }
    }
}

fn wait(acked: &AtomicUsize, count: usize) {
    while acked.load(Ordering::Acquire) < count {
        thread::park_timeout(FULL);
    }
}

/// From the first record to the last, each one decoded.
pub(crate) fn consume(bootstrap: &str, topic: &str, events: usize) -> Result<Run, Box<dyn Error>> {
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
        watch.get_or_insert_with(Watch::start);
        let body = Bytes::copy_from_slice(message.payload().unwrap_or_default());
        let envelope = decode(&body, String::new)?;
        assert!(!envelope.aggregate_id.is_empty(), "an envelope of the bus");
        read += 1;
    }
    Ok(watch.map_or_else(|| Watch::start().stop(events), |watch| watch.stop(events)))
}
