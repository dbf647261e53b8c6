//! The native clients that the raw strategies publish by: one message, one ack, nothing else.

use anyhow::{Context, Result, bail};

#[cfg(feature = "kafka")]
use super::kafka;
#[cfg(feature = "nats")]
use super::nats;
use crate::place::Stage;
use crate::twin::Made;
use crate::workload::Workload;

/// A native client, connected.
pub(super) enum Client {
    #[cfg(feature = "nats")]
    Nats(Box<nats::Client>),
    #[cfg(feature = "kafka")]
    Kafka(kafka::Client),
}

/// An ack that is to come.
pub(super) enum Ack {
    #[cfg(feature = "nats")]
    Nats(async_nats::jetstream::context::PublishAckFuture),
    #[cfg(feature = "kafka")]
    Kafka(rdkafka::producer::future_producer::DeliveryFuture),
}

impl Client {
    /// Connects to the servers of this bus.
    ///
    /// # Errors
    /// Those of the client; a backend whose client is not in this build.
    #[cfg_attr(
        not(all(feature = "nats", feature = "kafka")),
        expect(unused_variables, reason = "NATS is told how much may be in flight, Kafka which topics")
    )]
    pub(super) async fn connect(backend: &str, stage: &Stage, topics: &[String], workload: &Workload) -> Result<Self> {
        match backend {
            #[cfg(feature = "nats")]
            "nats" => nats::Client::connect(&stage.url, workload).await.map(|client| Self::Nats(Box::new(client))),
            #[cfg(feature = "kafka")]
            "kafka" => kafka::Client::connect(&stage.url, topics).map(Self::Kafka),
            _ => bail!("no raw strategy publishes to {backend} in this build"),
        }
    }

    /// Sends a message to its topic and partition.
    ///
    /// # Errors
    /// What the client refuses; the message is then not sent.
    pub(super) async fn send(&self, topics: &[String], made: Made) -> Result<Ack> {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(client) => client.send(topics, made).await.map(Ack::Nats),
            #[cfg(feature = "kafka")]
            Self::Kafka(client) => client.send(topics, &made).map(Ack::Kafka),
        }
    }

    /// Ends the connection.
    ///
    /// # Errors
    /// Those of the client.
    pub(super) async fn close(self) -> Result<()> {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(client) => client.close().await,
            #[cfg(feature = "kafka")]
            Self::Kafka(client) => {
                client.close();
                Ok(())
            }
        }
    }
}

impl Ack {
    /// Waits for it.
    ///
    /// # Errors
    /// A message that was not stored, or of which nothing was heard.
    pub(super) async fn stored(self) -> Result<()> {
        match self {
            #[cfg(feature = "nats")]
            Self::Nats(ack) => ack.await.map(drop).context("the ack of a message"),
            #[cfg(feature = "kafka")]
            Self::Kafka(ack) => {
                ack.await.context("the producer ended")?.map(drop).map_err(|(error, _)| error).context("a message")
            }
        }
    }
}
