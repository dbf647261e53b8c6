//! Raw async-nats for the strategies: the client's own futures.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_nats::jetstream::Context as JetStream;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use busline::{Bus, NatsConfig, NatsDriver};

use super::raw::ACK_MAX;
use crate::connect::CLOSE_MAX;
use crate::twin::Made;
use crate::twin::nats::publish;
use crate::workload::Workload;

/// A connection, with all that its driver would set up.
pub(super) struct Client {
    jetstream: JetStream,
    /// Whose connection it is; closed at the end.
    driver: Arc<NatsDriver>,
}

impl Client {
    /// As many acks may be missing as the windows of the bus hold together.
    pub(super) async fn connect(url: &str, workload: &Workload) -> Result<Self> {
        let driver = Arc::new(NatsDriver::open(NatsConfig::from_url(url)?).await?);
        let size = workload.window_envelopes * workload.topics;
        let client = driver.as_nats().clone();
        let jetstream = ContextBuilder::new().max_ack_inflight(size).ack_timeout(ACK_MAX).build(client);
        Ok(Self { jetstream, driver })
    }

    pub(super) async fn send(&self, topics: &[String], made: Made) -> Result<PublishAckFuture> {
        publish(&self.jetstream, topics, made).await.context("publish a message")
    }

    pub(super) async fn close(self) -> Result<()> {
        Bus::new(self.driver).close(CLOSE_MAX).await?;
        Ok(())
    }
}
