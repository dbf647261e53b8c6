//! Raw rdkafka for the strategies: one idempotent producer that gives a future for each message.

use std::time::Duration;

use anyhow::{Context, Result};
use busline::KafkaConfig;
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::util::AsyncRuntime;
use tokio::runtime::Handle;

use super::raw::ACK_MAX;
use crate::twin::Made;
use crate::twin::kafka::{headers, producer, warm};

/// A producer with the settings of the bus's, but that it gives up on a message when the bus would.
pub(super) struct Client(FutureProducer<DefaultClientContext, Tokio>);

impl Client {
    pub(super) fn connect(url: &str, topics: &[String]) -> Result<Self> {
        let client: FutureProducer<DefaultClientContext, Tokio> = producer(&KafkaConfig::parse(url)?, topics.len())
            .set("message.timeout.ms", ACK_MAX.as_millis().to_string())
            .create()
            .context("the producer")?;
        warm(client.client(), topics)?;
        Ok(Self(client))
    }

    pub(super) fn send(&self, topics: &[String], made: &Made) -> Result<DeliveryFuture> {
        let record = FutureRecord::to(&topics[made.topic])
            .partition(made.partition as i32)
            .key(made.key.as_str())
            .payload(&made.body[..]);
        let record = if made.headers.is_empty() { record } else { record.headers(headers(made)) };
        self.0.send_result(record).map_err(|(error, _)| error).context("publish a message")
    }

    pub(super) fn close(self) {
        // All outcomes are known: nothing is left to wait for.
        drop(self.0.flush(ACK_MAX));
    }
}

/// The runtime that the client's futures may ask for time.
struct Tokio;

impl AsyncRuntime for Tokio {
    type Delay = tokio::time::Sleep;

    fn spawn<T: Future<Output = ()> + Send + 'static>(task: T) {
        drop(Handle::current().spawn(task));
    }

    fn delay_for(duration: Duration) -> Self::Delay {
        tokio::time::sleep(duration)
    }
}
