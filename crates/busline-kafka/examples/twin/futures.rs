//! Publishing by the producer of the wrapper that gives a future for each record.

use std::collections::VecDeque;
use std::error::Error;

use busline_core::{Envelope, Partition};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::events::{self, Made};
use crate::plain::{Outcome, settings};
use crate::run::{Broker, Watch};

/// Futures that are awaited at a time.
const FUTURES: usize = 10_000;

async fn open(bootstrap: &str, topic: &str) -> Result<FutureProducer, Box<dyn Error>> {
    let producer: FutureProducer = settings(bootstrap).create()?;
    // The client has its producer id and its metadata before time is taken.
    send(&producer, topic, Partition(0), b"first", b"first")?.await?.map_err(|(error, _)| error)?;
    Ok(producer)
}

fn send(
    producer: &FutureProducer,
    topic: &str,
    partition: Partition,
    key: &[u8],
    body: &[u8],
) -> Result<DeliveryFuture, KafkaError> {
    let record = FutureRecord::to(topic).partition(partition.0 as i32).key(key).payload(body);
    producer.send_result(record).map_err(|(error, _)| error)
}

/// A queue of futures of which the oldest is awaited first.
struct Awaiting {
    producer: FutureProducer,
    waiting: VecDeque<DeliveryFuture>,
    topic: String,
}

impl Awaiting {
    async fn open(bootstrap: &str, topic: &str) -> Result<Self, Box<dyn Error>> {
        let producer = open(bootstrap, topic).await?;
        Ok(Self { producer, waiting: VecDeque::with_capacity(FUTURES), topic: topic.to_owned() })
    }

    async fn send(&mut self, partition: Partition, key: &[u8], body: &[u8]) -> Result<(), Box<dyn Error>> {
        if self.waiting.len() == FUTURES
            && let Some(oldest) = self.waiting.pop_front()
        {
            oldest.await?.map_err(|(error, _)| error)?;
        }
        self.waiting.push_back(send(&self.producer, &self.topic, partition, key, body)?);
        Ok(())
    }

    async fn wait(self) -> Result<(), Box<dyn Error>> {
        for future in self.waiting {
            future.await?.map_err(|(error, _)| error)?;
        }
        Ok(())
    }
}

/// Each envelope is encoded in the loop.
pub(crate) async fn publish(bootstrap: &str, broker: Broker, topic: &str, envelopes: Vec<Envelope>) -> Outcome {
    let mut awaiting = Awaiting::open(bootstrap, topic).await?;
    let (events, source, mut body) = (envelopes.len(), events::source(topic), Vec::new());
    let watch = Watch::start(broker);
    for envelope in envelopes {
        let partition = events::encode(&envelope, &source, &mut body)?;
        awaiting.send(partition, envelope.aggregate_id.as_bytes(), &body).await?;
    }
    awaiting.wait().await?;
    Ok(watch.stop(events))
}

/// The bodies are made before.
pub(crate) async fn publish_made(bootstrap: &str, broker: Broker, topic: &str, made: &[Made]) -> Outcome {
    let mut awaiting = Awaiting::open(bootstrap, topic).await?;
    let watch = Watch::start(broker);
    for made in made {
        awaiting.send(made.partition, made.key.as_bytes(), &made.body).await?;
    }
    awaiting.wait().await?;
    Ok(watch.stop(made.len()))
}

/// Each envelope is encoded by its own future, and whichever future is ready is taken.
pub(crate) async fn publish_unordered(
    bootstrap: &str,
    broker: Broker,
    topic: &str,
    envelopes: Vec<Envelope>,
) -> Outcome {
    let producer = &open(bootstrap, topic).await?;
    let (events, source) = (envelopes.len(), &events::source(topic));
    let watch = Watch::start(broker);
    let futures = stream::iter(envelopes).map(|envelope| async move {
        let mut body = Vec::new();
        let partition = events::encode(&envelope, source, &mut body)?;
        publish_one(producer, topic, partition, envelope.aggregate_id.as_bytes(), &body).await
    });
    futures.buffer_unordered(FUTURES).try_for_each(|()| std::future::ready(Ok(()))).await?;
    Ok(watch.stop(events))
}

/// The bodies are made before.
pub(crate) async fn publish_unordered_made(bootstrap: &str, broker: Broker, topic: &str, made: &[Made]) -> Outcome {
    let producer = &open(bootstrap, topic).await?;
    let watch = Watch::start(broker);
    let futures =
        stream::iter(made).map(|made| publish_one(producer, topic, made.partition, made.key.as_bytes(), &made.body));
    futures.buffer_unordered(FUTURES).try_for_each(|()| std::future::ready(Ok(()))).await?;
    Ok(watch.stop(made.len()))
}

/// One record by the wrapper's own `send`, which waits while its queue is full.
async fn publish_one(
    producer: &FutureProducer,
    topic: &str,
    partition: Partition,
    key: &[u8],
    body: &[u8],
) -> Result<(), Box<dyn Error>> {
    let record = FutureRecord::to(topic).partition(partition.0 as i32).key(key).payload(body);
    producer.send(record, Timeout::Never).await.map_err(|(error, _)| error)?;
    Ok(())
}
